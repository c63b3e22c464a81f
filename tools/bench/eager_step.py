#!/usr/bin/env python3
"""The training step of configs/quickstart.yaml in eager PyTorch: praxino's baseline.

Same shapes, same operations (frame-causal attention with a mask, RMSNorm, rotary positions,
SwiGLU, adaptive modulation, Muon with five Newton-Schulz iterations, fused AdamW, EMA), random
data in memory.

  PYTHONPATH=.deps/python python3 tools/bench/eager_step.py [--fp32] [--steps N] [--threads N]

From Python, LibTorch's wheel needs typing_extensions, sympy, networkx, jinja2, filelock, fsspec.
"""
import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

B, T, N, PATCH, D, DEPTH, H, REGISTERS = 8, 8, 48, 192, 256, 6, 4, 2
K = D // H
HIDDEN = (int(D * 4 * 2 / 3) + 15) // 16 * 16


def rope_tables(positions, split, base=100.0):
    angles = []
    for axis, pairs in enumerate(split):
        if pairs:
            frequency = base ** (-torch.arange(pairs) / pairs)
            angles.append(positions[:, axis : axis + 1] * frequency)
    angles = torch.cat(angles, 1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    x1, x2 = x.chunk(2, -1)
    return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], -1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.modulation = nn.Linear(D, 6 * D)
        self.query, self.key, self.value, self.output = (
            nn.Linear(D, D, bias=False) for _ in range(4)
        )
        self.query_gain = nn.Parameter(torch.ones(K))
        self.key_gain = nn.Parameter(torch.ones(K))
        self.up = nn.Linear(D, 2 * HIDDEN, bias=False)
        self.down = nn.Linear(HIDDEN, D, bias=False)

    def forward(self, x, condition, tables, mask):
        m = self.modulation(condition).unsqueeze(2).chunk(6, -1)
        h = F.rms_norm(x, (D,)) * (1 + m[0]) + m[1]
        heads = lambda y: y.view(B, -1, H, K).transpose(1, 2)
        q, k, v = heads(self.query(h)), heads(self.key(h)), heads(self.value(h))
        q = rotate(F.rms_norm(q.float(), (K,)) * self.query_gain, *tables)
        k = rotate(F.rms_norm(k.float(), (K,)) * self.key_gain, *tables)
        y = F.scaled_dot_product_attention(q, k, v.float(), attn_mask=mask)
        x = x + (1 + m[2]) * self.output(y.transpose(1, 2).reshape(B, T, -1, D))
        h = F.rms_norm(x, (D,)) * (1 + m[3]) + m[4]
        a, b = self.up(h).chunk(2, -1)
        return x + (1 + m[5]) * self.down(F.silu(a) * b)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.input, self.head = nn.Linear(PATCH, D), nn.Linear(D, PATCH)
        self.places = nn.Parameter(torch.randn(N, D) * 0.02)
        self.registers = nn.Parameter(torch.randn(REGISTERS, D) * 0.02)
        self.signal = nn.Sequential(nn.Linear(64, D), nn.SiLU(), nn.Linear(D, D))
        self.actions = nn.Sequential(nn.Linear(35, D), nn.SiLU(), nn.Linear(D, D))
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.head_modulation = nn.Linear(D, 2 * D)
        side = K // 6
        place = torch.stack([torch.arange(N) // 8, torch.arange(N) % 8], 1).float()
        place = torch.cat([place.mean(0, True).expand(REGISTERS, 2), place])
        time_index = torch.arange(T).repeat_interleave(N + REGISTERS).float().unsqueeze(1)
        positions = torch.cat([time_index, place.repeat(T, 1)], 1)
        self.tables = rope_tables(positions, (K // 2 - 2 * side, side, side))
        frame = torch.arange(T).repeat_interleave(N + REGISTERS)
        self.mask = frame.unsqueeze(1) >= frame.unsqueeze(0)

    def forward(self, z, signal_features, actions):
        condition = F.silu(self.signal(signal_features) + self.actions(actions))
        x = torch.cat([self.registers.expand(B, T, -1, -1), self.input(z) + self.places], 2).float()
        for block in self.blocks:
            x = block(x, condition, self.tables, self.mask)
        scale, shift = self.head_modulation(condition).unsqueeze(2).chunk(2, -1)
        return self.head(F.rms_norm(x[:, :, REGISTERS:], (D,)) * (1 + scale) + shift)


def newton_schulz(g):
    x = g.bfloat16()
    tall = x.size(0) > x.size(1)
    x = x.t() if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.t() if tall else x).float()


class Muon:
    def __init__(self, parameters, lr=0.02, momentum=0.95):
        self.parameters, self.lr, self.momentum = list(parameters), lr, momentum
        self.buffers = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self):
        for p, m in zip(self.parameters, self.buffers):
            m.lerp_(p.grad, 1 - self.momentum)
            update = newton_schulz(p.grad.lerp(m, self.momentum))
            p.add_(update, alpha=-self.lr * max(1, p.size(0) / p.size(1)) ** 0.5)
            p.grad = None


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--fp32", action="store_true")
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--threads", type=int, default=0)
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = Model()
    matrices = [
        p for n, p in model.blocks.named_parameters() if p.ndim == 2 and "modulation" not in n
    ]
    chosen = {id(p) for p in matrices}
    muon = Muon(matrices)
    others = [p for p in model.parameters() if id(p) not in chosen]
    adamw = torch.optim.AdamW(others, lr=2e-3, fused=True)
    average = [p.detach().clone() for p in model.parameters()]
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        clean = torch.randn(B, T, N, PATCH)
        tau = torch.rand(B, T, 1, 1)
        z = (1 - tau) * torch.randn_like(clean) + tau * clean
        with torch.autocast("cpu", torch.bfloat16, enabled=not options.fp32):
            prediction = model(z, torch.randn(B, T, 64), torch.randn(B, T, 35))
        error = (prediction.float() - clean).square().mean((2, 3))
        loss = (error * (0.9 * tau[..., 0, 0] + 0.1)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        muon.step()
        adamw.step()
        adamw.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(model.parameters()), 0.01)
        seconds.append(time.perf_counter() - start)
    steady = seconds[3:]
    count = sum(p.numel() for p in model.parameters())
    print(
        f"{count / 1e6:.2f} M parameters, {'fp32' if options.fp32 else 'bf16'}, "
        f"{torch.get_num_threads()} threads: median {statistics.median(steady):.3f} s a step, "
        f"min {min(steady):.3f}, max {max(steady):.3f}"
    )


if __name__ == "__main__":
    main()
