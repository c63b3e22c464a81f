#pragma once
// `praxino bench ops`: every operation beside what LibTorch, cuDNN and FlashAttention-2 make of it,
// on the same tensors in the same process. How times are taken and what the figures mean:
// docs/benchmarks/ops.md.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace praxino::bench {

struct OpsOptions {
  at::Device device = at::Device(at::kCPU);
  std::string device_name = {};         // for the report
  at::ScalarType type = at::kBFloat16;  // of elements, where a case leaves the choice
  std::string only = {};                // cases whose name contains this; empty: all
  bool ours_alone = false;              // without LibTorch's, FA2's and cuDNN's sides
  bool small = false;                   // sizes for a test: milliseconds, figures without meaning
  int64_t repetitions = 30;             // of each measurement
  double seconds = 0.15;                // of each: fewer repetitions beyond that, but at least 6
  double warm_up_seconds = 0.05;        // before each measurement
  double pause_seconds = 0.2;           // before each case
  /// Cases whose call of ours takes less are measured once more, as replays of a CUDA graph that
  /// holds many calls; 0: none.
  double replay_below_seconds = 1e-4;
  double minutes = 0;  // no case begins after that; 0: no limit
};

/// Of one measurement: seconds.
struct Times {
  double median = 0;
  double low = 0;   // the quantile of 20 %
  double high = 0;  // of 80 %
  int64_t repetitions = 0;
};

/// What the machine does at best, measured in the same call.
struct Ceilings {
  double cold_copy = 0;     // bytes a second, read and written, right after a pause
  double copy = 0;          // the same after all cases, the better of both
  double cold_product = 0;  // FLOP a second of a square matrix product
  double product = 0;
};

/// One side of one case.
struct SideResult {
  std::string name = {};    // praxino, LibTorch, FA2, ...
  std::string by = {};      // praxino: "kernel (hopper)", "loops", "formula"
  std::string failed = {};  // why there are no times
  /// Of the result, relative to the largest value of LibTorch's, or of the first rival's where
  /// LibTorch has no part; of whole numbers the share that differs. NaN: not compared, because the
  /// side computes something else.
  double error = std::numeric_limits<double>::quiet_NaN();
  Times forward = {};
  Times backward = {};  // no repetitions: there is none
  Times replayed = {};  // forward, of one call among many; no repetitions: not measured so
};

/// The least that an algorithm must move and compute.
struct Work {
  double bytes = 0;
  double flop = 0;
};

struct CaseResult {
  std::string name = {};   // swiglu_2816
  std::string op = {};     // of ops::kernel_table
  std::string shape = {};  // "B8 T32 N256 D2816 BFloat16"
  Work forward = {};
  Work backward = {};
  std::vector<SideResult> sides = {};
};

struct OpsReport {
  std::string device = {};
  std::string libraries = {};
  Ceilings ceilings = {};
  std::vector<CaseResult> cases = {};
  std::vector<std::string> left_out = {};  // for lack of time
};

/// Measures case by case; `progress` hears of each before it begins. Throws praxino::Error (usage)
/// where `only` names no case. Takes the device for itself: run nothing beside it.
OpsReport measure_ops(const OpsOptions& options,
                      const std::function<void(const std::string&)>& progress = {});

/// The share of the floor: the time of the work at the ceilings over the time taken.
double share_of_floor(const Work& work, const Times& times, const Ceilings& ceilings);

std::string ops_table(const OpsReport& report);
std::string ops_json(const OpsReport& report);

}  // namespace praxino::bench
