#pragma once
// The update of an optimizer's parameters on a GPU: all of them in one launch and one pass over
// memory, with weights, moments and averages together. Clipping, the learning rate and the decision
// to skip a step stay on the device, so nothing waits for it. The CPU, and GPUs whose kernels are
// off or disagree, use the formulas of LibTorch in src/optim; results agree within rounding.
// Formulas: kernels/parameter_update.h and kernels/step_values.h.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace praxino::ops {

/// One parameter with its state: float32, contiguous, of equal sizes, on one GPU.
struct UpdatedParameter {
  at::Tensor weight = {};
  at::Tensor first = {};    // AdamW's first moment, Muon's momentum
  at::Tensor second = {};   // AdamW's second moment; undefined for Muon
  at::Tensor average = {};  // of the weight; undefined: none
  at::Tensor copy = {};     // of the weight, bfloat16 or float32, alike for all; undefined: none
  double rate = 0;          // learning rate, before the factor of the step
  double decay = 0;         // of the weight, relative to the rate
};

/// What all gradients of a step together decide.
struct StepRules {
  double clip = 0;  // of the norm; 0: none
  std::array<double, 2> betas = {0.9, 0.99};
  double average_decay = 0;  // of the averages' warm-up, as Ema's
};

/// What was decided: float32 scalars, views of one tensor on the device.
struct StepValues {
  at::Tensor all;  // as the kernels read it
  at::Tensor norm() const;
  at::Tensor skipped() const;         // 1 where norm or loss is not finite, else 0
  at::Tensor average_weight() const;  // of new weights in the averages
};

/// From the sums of squares of all updates: the step's values. `loss`, `rate` (the factor of the
/// learning rates) and the counters are float32 scalars on the device; counters grow by one where
/// the step is taken. `updates` may be undefined.
StepValues step_values(const at::Tensor& sums, const at::Tensor& loss, const at::Tensor& rate,
                       const at::Tensor& steps, const at::Tensor& updates, const StepRules& rules);

/// The tables of a list of parameters. Keeps the tensors; their memory must stay where it is: what
/// restores a state copies into it. Gradients are in the order of the parameters, contiguous, all
/// float32 or all bfloat16. Every call only queues work. Not thread-safe.
class ParameterUpdate {
 public:
  /// True where kernels may update a parameter like this one: its GPU runs them, their family is
  /// on, and they agree with their formulas there (checked now where that is not known), for
  /// gradients of the type.
  static bool serves(const at::Tensor& weight, at::ScalarType gradients = at::kFloat);
  explicit ParameterUpdate(std::vector<UpdatedParameter> parameters);
  ~ParameterUpdate();
  ParameterUpdate(ParameterUpdate&&) noexcept;
  ParameterUpdate& operator=(ParameterUpdate&&) noexcept;

  /// How many sums of squares squared_sums() writes.
  int64_t sums() const;
  void squared_sums(const std::vector<at::Tensor>& gradients, const at::Tensor& sums) const;
  void adamw(const std::vector<at::Tensor>& gradients, const StepValues& values,
             std::array<double, 2> betas, double epsilon) const;
  /// Muon's momentum; returns the directions of all parameters one after the other, float32.
  at::Tensor momentum(const std::vector<at::Tensor>& gradients, const StepValues& values,
                      double momentum) const;
  /// Muon's step along `directions` (laid out as momentum() returns them; float32 or bfloat16).
  void apply(const at::Tensor& directions, const StepValues& values, double scale) const;

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace praxino::ops
