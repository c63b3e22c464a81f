#!/usr/bin/env python3
"""Draws the curves of a run: tools/curves.py RUN_DIR OUT.svg

Reads RUN_DIR/log.jsonl (docs/formats.md). Three panels over the step: the training loss (each step,
and its average over a fiftieth of the run; peaks are cut off), how far the held-out PSNR is above
that of copying, and how much the actions matter, with 95 % intervals. Needs nothing but Python 3.
"""
import json
import math
import sys
from pathlib import Path

WIDTH, HEIGHT, GAP, LEFT, TOP = 300, 200, 70, 60, 40
INK, GRID, COLORS = "#52525b", "#e4e4e7", ["#2563eb", "#ea580c", "#16a34a"]


def read_log(run_dir):
    lines = []
    for text in (Path(run_dir) / "log.jsonl").read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            pass  # torn by a crash
    return lines


def series(lines, metric):
    return [(line["step"], line[metric]) for line in lines if line.get(metric) is not None]


def averaged(points, window):
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
    return [(step, (sums[i + 1] - sums[max(0, i + 1 - window)]) / (i + 1 - max(0, i + 1 - window)))
            for i, (step, _) in enumerate(points)]


def ticks(low, high):
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 5)
    first = math.ceil(low / step)
    return [round(i * step, 10) for i in range(first, math.floor(high / step) + 1)]


class Panel:
    """One diagram: values from low to high over steps from 0 to the last."""

    def __init__(self, number, title, last_step, points, low=None, high=None):
        self.x0, self.last = LEFT + number * (WIDTH + GAP), last_step
        values = [value for _, value in points]
        low = min(values) if low is None else low
        high = max(values) if high is None else high
        margin = 0.05 * (high - low) or 1
        self.low, self.high = low - margin, high + margin
        self.parts, self.labels = [], 0
        self.text(self.x0, TOP - 22, title, 'font-weight="bold"')
        for value in ticks(self.low, self.high):
            self.parts.append(f'<path d="M{self.x0} {self.y(value):.1f}h{WIDTH}" stroke="{GRID}"/>')
            self.text(self.x0 - 6, self.y(value) + 4, f"{value:g}", 'text-anchor="end"')
        for value in ticks(0, self.last):
            self.text(self.x(value), TOP + HEIGHT + 18, f"{value:g}", 'text-anchor="middle"')

    def x(self, step):
        return self.x0 + WIDTH * step / self.last

    def y(self, value):
        inside = min(max(value, self.low), self.high)
        return TOP + HEIGHT * (1 - (inside - self.low) / (self.high - self.low))

    def text(self, x, y, words, style=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{words}</text>')

    def path(self, points):
        return "M" + "L".join(f"{self.x(step):.1f} {self.y(value):.1f}" for step, value in points)

    def line(self, points, color, label="", style='stroke-width="1.5"'):
        self.parts.append(f'<path d="{self.path(points)}" fill="none" stroke="{color}" {style}/>')
        if len(points) <= 30:
            self.parts += [f'<circle cx="{self.x(step):.1f}" cy="{self.y(value):.1f}" r="2.5" '
                           f'fill="{color}"/>' for step, value in points]
        if label:
            self.text(self.x0 + 110 * self.labels, TOP - 6, label, f'fill="{color}"')
            self.labels += 1

    def band(self, low, high, color):
        area = self.path(low + high[::-1])
        self.parts.append(f'<path d="{area}Z" fill="{color}" opacity="0.15"/>')


def main(run_dir, out):
    lines = read_log(run_dir)
    loss = series(lines, "train/loss")
    if not loss:
        sys.exit(f"{run_dir}/log.jsonl: no step with a finite train/loss, so nothing to draw")
    last = max(step for step, _ in loss)
    smooth = averaged(loss, max(1, len(loss) // 50))
    panels = [Panel(0, "train/loss", last, loss, low=0, high=3 * smooth[len(smooth) // 2][1])]
    panels[0].line(loss, COLORS[0], style='stroke-width="0.5" opacity="0.25"')
    panels[0].line(smooth, COLORS[0])

    def ends(metric):
        return series(lines, metric + "/low") + series(lines, metric + "/high")

    def with_band(panel, metric, color, label):
        panel.band(series(lines, metric + "/low"), series(lines, metric + "/high"), color)
        panel.line(series(lines, metric), color, label)

    gain = "eval/psnr_gain_over_copy"
    if series(lines, gain):
        panels.append(Panel(1, "dB over copying the last frame", last,
                            ends(gain) + ends(gain + "@1")))
        with_band(panels[-1], gain + "@1", COLORS[0], "next frame")
        with_band(panels[-1], gain, COLORS[1], "whole horizon")
    ratio = "eval/action_shuffle_ratio"
    if series(lines, ratio):
        panels.append(Panel(len(panels), ratio, last, ends(ratio) + [(1, 1)]))
        with_band(panels[-1], ratio, COLORS[2], "")
    body = "\n".join(part for panel in panels for part in panel.parts)
    Path(out).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + len(panels) * (WIDTH + GAP)}" '
        f'height="{TOP + HEIGHT + 40}" font-family="sans-serif" font-size="12" fill="{INK}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n')


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
