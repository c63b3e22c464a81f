#pragma once
// What `praxino bench ops` measures: the operations, their sizes, their work and their rivals.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "praxino/bench/ops.h"

namespace praxino::bench {

using Inputs = std::vector<at::Tensor>;
using Function = std::function<at::Tensor(const Inputs&)>;

struct Side {
  std::string name;
  Function run;
  /// Brings the inputs into the layout that `run` wants, before the clock starts; empty: as they
  /// are.
  std::function<Inputs(const Inputs&)> prepare = {};
  /// Brings the result back into the layout of the others, to be compared with them; empty: it is
  /// there, or has been `prepare`d for another and is not compared.
  std::function<at::Tensor(const at::Tensor&)> restore = {};
  /// Makes `run` for these very inputs, where tables of their addresses are needed, before the
  /// clock starts; empty: `run` is there.
  std::function<Function(const Inputs&)> bind = {};
  /// Runs before each call, off the clock; empty: nothing.
  std::function<void(const Inputs&)> before = {};
};

struct Case {
  std::string name;
  std::string shape;
  std::string op;                           // of ops::kernel_table
  std::optional<at::ScalarType> type = {};  // of elements, where it is not that of the options
  Work forward = {}, backward = {};
  std::function<Inputs(const at::TensorOptions&)> inputs;  // random, of the element type
  size_t gradients = 0;                                    // how many of the first get gradients
  std::vector<Side> sides = {};                            // ours, then LibTorch's formula, ...
  bool in_place = false;  // inputs are written: every side has its own
};

inline at::TensorOptions in_float(const at::TensorOptions& options) {
  return options.dtype(at::kFloat);
}
inline double element_bytes(at::ScalarType type) {
  return static_cast<double>(c10::elementSize(type));
}

/// For what the sizes are.
enum class Scale { kTest, kCpu, kGpu };

/// All cases, the most valuable first; on a GPU with the sides that only a GPU has.
std::vector<Case> all_cases(Scale scale, at::ScalarType type);

// The parts of all_cases.
std::vector<Case> attention_cases(Scale scale, at::ScalarType type);
std::vector<Case> row_cases(Scale scale, at::ScalarType type);
std::vector<Case> token_cases(Scale scale, at::ScalarType type);
std::vector<Case> loss_cases(Scale scale, at::ScalarType type);
std::vector<Case> optimizer_cases(Scale scale, at::ScalarType type);
std::vector<Case> attention_step_cases(Scale scale, at::ScalarType type);

}  // namespace praxino::bench
