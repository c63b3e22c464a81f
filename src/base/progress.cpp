#include "praxino/base/progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/live_line.h"
#include "base/progress_line.h"
#include "praxino/base/log.h"

namespace praxino {
namespace {

std::string format_rate(double rate) {
  if (rate >= 100) return fmt::format("{:.0f}/s", rate);
  if (rate >= 1) return fmt::format("{:.1f}/s", rate);
  return fmt::format("{:.1f} s each", 1 / rate);
}

}  // namespace

double monotonic_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

std::string format_duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const auto total = static_cast<int64_t>(std::lround(seconds));
  if (total < 60) return fmt::format("{} s", total);
  if (total < 3600) return fmt::format("{}:{:02}", total / 60, total % 60);
  return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

std::string progress_line(const ProgressState& state) {
  std::string line = fmt::format("{}  {}", state.what, state.done);
  const bool finished = state.total > 0 && state.done >= state.total;
  if (state.total > 0) {
    const int64_t percent = static_cast<int64_t>(100.0 * static_cast<double>(state.done) /
                                                 static_cast<double>(state.total));
    line += fmt::format("/{}  {}%", state.total, percent);
  }
  if (state.rate > 0) line += "  " + format_rate(state.rate);
  if (finished) {
    line += "  in " + format_duration(state.elapsed);
  } else if (state.total > 0 && state.rate > 0) {
    const auto left = static_cast<double>(state.total - state.done);
    line += "  ETA " + format_duration(left / state.rate);
  }
  if (!state.detail.empty()) line += fmt::format("  {}", state.detail);
  return line;
}

std::string fit_columns(std::string_view text, int columns) {
  size_t bytes = 0;
  for (int used = 0; bytes < text.size(); ++bytes) {
    const bool starts_character = (static_cast<unsigned char>(text[bytes]) & 0xc0) != 0x80;
    if (starts_character && ++used > columns) break;
  }
  return std::string(text.substr(0, bytes));
}

Progress::Progress(std::string what, int64_t total, int64_t done)
    : what_(std::move(what)),
      total_(total),
      terminal_(stderr_is_terminal()),
      started_(monotonic_seconds()),
      drawn_(terminal_ ? -1e9 : started_),
      counted_(done),
      counted_at_(started_) {}

Progress::~Progress() {
  if (terminal_ && drew_) clear_live_line();
}

void Progress::update(int64_t done, std::string_view detail) {
  if (log::level() > log::Level::kInfo) return;
  const double now = monotonic_seconds();
  const double interval = terminal_ ? 0.1 : std::max(10.0, (now - started_) / 20);
  const bool last = total_ > 0 && done >= total_ && (terminal_ || drew_);
  if (last || now - drawn_ >= interval) draw(done, detail, now);
}

void Progress::draw(int64_t done, std::string_view detail, double now) {
  if (done > counted_ && now > counted_at_) {
    // Recent units weigh more: the first ones are slow (warm-up), and clocks and neighbours change.
    const double seconds = now - counted_at_;
    const double latest = static_cast<double>(done - counted_) / seconds;
    const double memory = std::max(5.0, (now - started_) / 4);
    const double keep = rate_ > 0 ? std::exp(-seconds / memory) : 0;
    rate_ = keep * rate_ + (1 - keep) * latest;
    counted_ = done;
    counted_at_ = now;
  }
  const std::string line = progress_line({.what = what_,
                                          .done = done,
                                          .total = total_,
                                          .rate = rate_,
                                          .elapsed = now - started_,
                                          .detail = detail});
  if (terminal_) {
    show_live_line(fit_columns(log::escape(line), stderr_columns() - 1));
  } else {
    log::write(log::Level::kInfo, line);
  }
  drawn_ = now;
  drew_ = true;
}

}  // namespace praxino
