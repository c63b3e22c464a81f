#pragma once
// A kernel is believed on a device only after it has agreed there with its formula: result and
// every gradient, on small fixed inputs, at its first use. One that disagrees is replaced by the
// formula, with a warning.

#include <ATen/core/Tensor.h>

#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace praxino::ops {

using Operation = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

struct SelfCheck {
  Operation kernel, formula;
  std::vector<std::vector<at::Tensor>> cases;  // inputs of both; all of them get gradients
  double tolerance = 0;  // largest error, relative to the largest value of the formula
};

/// The first difference in one phrase, "the gradient of input 1 is off by 0.3"; empty where there
/// is none. An exception of the kernel is a difference. Works whatever the gradient mode.
std::string difference(const SelfCheck& check);

/// Fixed numbers in (-1, 1), no two phases alike: inputs for a check. Draws nothing at random.
at::Tensor wave(at::IntArrayRef sizes, double phase, const at::TensorOptions& options);

/// One operation's verdicts, one a device and element type. Thread-safe; cheap once known.
class Trust {
 public:
  explicit Trust(const char* operation) : operation_(operation) {}
  /// `make` is called, and the check made, the first time for this device and type.
  bool holds(const at::Device& device, at::ScalarType type,
             const std::function<SelfCheck(at::TensorOptions)>& make);

 private:
  static constexpr int kDevices = 64;
  enum Verdict : int { kUnknown, kAgrees, kDisagrees };
  const char* operation_;
  std::mutex mutex_;
  std::array<std::atomic<int>, 2 * kDevices> verdicts_{};
};

}  // namespace praxino::ops
