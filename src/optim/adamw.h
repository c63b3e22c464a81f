#pragma once
// AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019), one fused
// kernel.

#include <ATen/core/Tensor.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "optim/gradients.h"
#include "praxino/layers/parameters.h"
#include "praxino/ops/parameter_update.h"

namespace praxino {

/// The parameters that share rate and decay, with their moments.
class AdamW {
 public:
  static constexpr double kEpsilon = 1e-8;
  struct Options {
    double peak_rate = 1e-3;
    std::array<double, 2> betas = {0.9, 0.99};
    double weight_decay = 0;
  };
  AdamW(Options options, const std::vector<Parameter>& parameters);
  const std::vector<at::Tensor>& parameters() const { return parameters_; }
  /// `gradients` as parameters(); they are clipped in place. `steps`: the number of this step, from
  /// 1 (float32, on the device).
  void step(const std::vector<at::Tensor>& gradients, const GradientCheck& check,
            const at::Tensor& steps, double rate) const;
  /// As the kernels take them: weights, moments, copies, rate and decay.
  std::vector<ops::UpdatedParameter> updated() const;
  void append_state(std::vector<std::pair<std::string, at::Tensor>>& state) const;

 private:
  Options options_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_;
  std::vector<std::shared_ptr<WeightCopy>> copies_;  // null: no matrix
  std::vector<at::Tensor> first_;                    // exp_avg
  std::vector<at::Tensor> second_;                   // exp_avg_sq
};

}  // namespace praxino
