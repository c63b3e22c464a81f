// Dataset::fps: which rate a data set has.

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "praxino/base/error.h"
#include "praxino/data/dataset.h"

namespace praxino {
namespace {

constexpr double kSameRate = 0.01;    // files whose rates differ by less have one rate
constexpr double kMeantRate = 0.002;  // 30 and 29.97 for 30000/1001

// A number of a configuration file, to six decimals, exactly.
Rational from_decimal(double value) { return Rational::parse(fmt::format("{:.6f}", value)); }

// The rate of one file. Presentation times are rounded to ticks, so that the mean of a short file
// misses the rate that was meant: whole, half and NTSC rates inside that error are taken for it.
std::optional<Rational> rate_of(const FrameIndex& index) {
  const int64_t last = index.frame_count() - 1;
  if (last < 1) return std::nullopt;
  const Rational time = index.seconds(last);
  const Rational mean = Rational(last) / time;
  if (mean.denominator <= 1001) return mean;
  const double rate = mean.value();
  const std::array<Rational, 3> candidates = {Rational(std::llround(rate)),
                                              Rational(std::llround(rate * 1.001) * 1000, 1001),
                                              Rational(std::llround(rate * 2), 2)};
  const double error = std::clamp(index.time_base.value() / time.value(), 1e-5, 4e-4);
  for (const Rational& candidate : candidates) {
    if (std::abs(candidate.value() - rate) <= error * rate) return candidate;
  }
  return from_decimal(rate);
}

// The lowest and highest rate among the files.
struct RateRange {
  Rational low, high;
  const SourceFile* slowest = nullptr;
  const SourceFile* fastest = nullptr;
  bool common() const { return high.value() - low.value() <= kSameRate * low.value(); }
};

std::optional<RateRange> rates_of(const std::vector<SourceFile>& files) {
  std::optional<RateRange> range;
  for (const SourceFile& file : files) {
    const std::optional<Rational> rate = rate_of(*file.index);
    if (!rate) continue;
    if (!range) range = RateRange{*rate, *rate, &file, &file};
    if (*rate < range->low) {
      range->low = *rate;
      range->slowest = &file;
    }
    if (*rate > range->high) {
      range->high = *rate;
      range->fastest = &file;
    }
  }
  return range;
}

}  // namespace

Rational Dataset::fps(const DataConfig& data) const {
  const std::optional<RateRange> rates = rates_of(files_);
  const double given = data.fps > 0 ? data.fps : config_.fps;
  if (given > 0) {
    // The lowest of nearly equal rates: a clip then never shows a frame of the slower files twice.
    const bool meant =
        rates && rates->common() && std::abs(given - rates->low.value()) <= kMeantRate * given;
    if (meant) return rates->low;
    const Rational rate = from_decimal(given);
    if (rate <= Rational(0)) fail_usage("{} frames a second are too few for a clip", given);
    return rate;
  }
  if (!rates)
    fail("{}: no file has two frames, so there is no frame rate; set data.fps", folder_.string());
  if (!rates->common()) {
    fail(
        "{}: {} has {:.3f} frames a second and {} has {:.3f}; choose one rate for all with "
        "data.fps",
        folder_.string(), rates->slowest->name, rates->low.value(), rates->fastest->name,
        rates->high.value());
  }
  return rates->low;
}

}  // namespace praxino
