#pragma once
// A kernel is believed on a device only after it has agreed there with its formula: result and
// every gradient, on small fixed inputs, at the start of a run or at its first use. One that
// disagrees is replaced by the formula, with a warning.

#include <ATen/core/Tensor.h>

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace praxino::ops {

using Operation = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

struct SelfCheck {
  Operation kernel, formula;
  // Inputs of both. Those of a floating-point type get gradients, which are compared where the
  // formula has them.
  std::vector<std::vector<at::Tensor>> cases;
  double tolerance = 0;  // largest error, relative to the largest value of the formula
};

/// What a check found.
struct Finding {
  double error = 0;        // the largest, of results and gradients, relative to the largest value
  std::string difference;  // the first, "the gradient of input 1 is off by 0.3"; empty: none
  double seconds = 0;      // that it took
  bool agrees() const { return difference.empty(); }
};

/// An exception of the kernel is a difference. Whole numbers must be equal. Works whatever the
/// gradient mode.
Finding compare(const SelfCheck& check);

/// Fixed numbers in (-1, 1), no two phases alike: inputs for a check. Draws nothing at random.
at::Tensor wave(at::IntArrayRef sizes, double phase, const at::TensorOptions& options);
/// The same without its regularity: rows of a wave are alike, and what is made of their differences
/// is mostly rounding.
at::Tensor noise(at::IntArrayRef sizes, double phase, const at::TensorOptions& options);

/// Error where the device does not even add two numbers up: what a kernel has done to it ends every
/// later operation of the process, too. `what` and `family` as those of CheckWatch.
void require_alive(const at::Device& device, const std::string& what, const std::string& family);

/// One kernel's verdicts, one a device and element type. Thread-safe; cheap once known.
class Trust {
 public:
  /// `family`: its key in `kernels:`.
  Trust(const char* operation, const char* family) : operation_(operation), family_(family) {}
  /// `make` is called, and the check made, the first time for this device and type. Error as that
  /// of require_alive(); the process ends where the kernel hangs (check_watch.h).
  bool holds(const at::Device& device, at::ScalarType type,
             const std::function<SelfCheck(at::TensorOptions)>& make);
  /// Nothing before the check.
  std::optional<Finding> finding(const at::Device& device, at::ScalarType type) const;

 private:
  static constexpr size_t kDevices = 64;
  enum Verdict : int { kUnknown, kAgrees, kDisagrees };
  static size_t place(const at::Device& device, at::ScalarType type);
  const char *operation_, *family_;
  mutable std::mutex mutex_;
  std::array<std::atomic<int>, 2 * kDevices> verdicts_{};
  std::map<size_t, Finding> findings_;  // by place
};

}  // namespace praxino::ops
