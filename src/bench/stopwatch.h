#pragma once
// Times of operations, on a device whose caches hold nothing of their operands.

#include <ATen/core/Tensor.h>

#include <functional>
#include <limits>
#include <vector>

#include "praxino/bench/ops.h"

namespace praxino::bench {

/// Quantiles of samples, the nearest one; there must be some.
Times times_of(std::vector<double> samples);

/// What is timed; `before` runs before each call, off the clock (empty: nothing does).
struct Timed {
  std::function<void()> run;
  std::function<void()> before = {};
};

/// How many calls: `repetitions`, but after `seconds` no more than `least`.
struct Sampling {
  int64_t repetitions = 7;
  int64_t least = 1;
  double seconds = std::numeric_limits<double>::infinity();
};

/// Measures on one device. Not thread-safe.
class Stopwatch {
 public:
  explicit Stopwatch(const OpsOptions& options);

  /// Seconds of each call. Before each one the caches are overwritten; on a GPU that also hides the
  /// time in which the host queues the call, so that it does not count.
  std::vector<double> sample(const Timed& timed, const Sampling& sampling);

  /// Runs for a while: clocks, caches of allocators and compiled plans settle.
  void warm_up(const Timed& timed, double seconds) const;

  /// Waits for the device.
  void finish() const;

  /// The copy of a large buffer, in bytes a second; and a product of square matrices, in FLOP a
  /// second: bfloat16 on a GPU, float32 on a CPU. The median of a few.
  double copy_rate();
  double product_rate();

 private:
  void overwrite_caches();
  double seconds_of(const Timed& timed);
  bool small_ = false;
  at::Device device_;
  at::Tensor caches_;   // larger than all of them
  int64_t passes_ = 1;  // over it before each call
  double written_ = 0;
};

}  // namespace praxino::bench
