#include "praxino/optim/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "optim/adamw.h"
#include "optim/device_step.h"
#include "optim/gradients.h"
#include "optim/muon.h"

namespace praxino {
namespace {

/// Who takes a parameter.
enum class Treatment { kMuon, kDecayed, kPlain };

Treatment treatment(const OptimConfig& config, ParameterRole role) {
  if (role == ParameterRole::kVector) return Treatment::kPlain;
  if (role == ParameterRole::kProjection) return Treatment::kDecayed;
  return config.kind == "muon" ? Treatment::kMuon : Treatment::kDecayed;
}

std::vector<Parameter> select(const OptimConfig& config, const Parameters& parameters,
                              Treatment wanted) {
  std::vector<Parameter> selected;
  for (const Parameter& parameter : parameters.all()) {
    if (!parameter.value.requires_grad()) continue;  // frozen
    if (treatment(config, parameter.role) == wanted) selected.push_back(parameter);
  }
  return selected;
}

AdamW::Options adamw_options(const OptimConfig& config, double weight_decay) {
  return {.peak_rate = config.kind == "muon" ? config.adamw_lr : config.lr,
          .betas = config.betas,
          .weight_decay = weight_decay};
}

class MuonWithAdamW final : public Optimizer {
 public:
  MuonWithAdamW(const OptimConfig& config, const Parameters& parameters,
                const OptimizerRanks& ranks, Ema* averages)
      : config_(config),
        all_(&parameters),
        sum_(ranks.sum),
        averages_(averages),
        muon_({.peak_rate = config.lr,
               .momentum = config.momentum,
               .weight_decay = config.weight_decay},
              select(config, parameters, Treatment::kMuon), ranks.tensor),
        decayed_(adamw_options(config, config.weight_decay),
                 select(config, parameters, Treatment::kDecayed)),
        plain_(adamw_options(config, 0), select(config, parameters, Treatment::kPlain)) {
    for (const auto* group : {&muon_.parameters(), &decayed_.parameters(), &plain_.parameters()}) {
      parameters_.insert(parameters_.end(), group->begin(), group->end());
    }
    TORCH_CHECK(!parameters_.empty(), "make_optimizer: no parameter requires a gradient");
    steps_ = at::zeros({}, parameters_.front().detach().options());
  }

  using Optimizer::step;

  void set_rate(double rate) override {
    rate_ = rate;
    if (on_device_) rate_on_device_.fill_(rate);
  }

  bool recordable() const override { return on_device_ != nullptr && !sum_; }

  StepStats step(const at::Tensor& loss) override {
    const at::NoGradGuard no_grad;
    const std::vector<at::Tensor> gradients = gather_gradients(parameters_);
    if (!on_device_ && ops::ParameterUpdate::serves(parameters_.front())) {
      on_device_ = std::make_unique<DeviceStep>(config_, muon_, decayed_, plain_, averages_);
      rate_on_device_ = at::full_like(steps_, rate_);
    }
    StepStats stats = on_device_
                          ? on_device_->step(gradients, {loss, steps_, rate_on_device_}, sum_)
                          : step_by_formulas(gradients, loss, rate_);
    stats.learning_rate = config_.lr * rate_;
    clear_gradients(parameters_);
    return stats;
  }

  std::vector<std::pair<std::string, at::Tensor>> state() const override {
    std::vector<std::pair<std::string, at::Tensor>> state;
    muon_.append_state(state);
    decayed_.append_state(state);
    plain_.append_state(state);
    state.emplace_back("steps", steps_);
    return state;
  }

 private:
  StepStats step_by_formulas(const std::vector<at::Tensor>& gradients, const at::Tensor& loss,
                             double rate) {
    const GradientCheck check = check_gradients(gradients, loss, config_.clip, sum_);
    steps_.add_(check.finite);
    size_t begin = 0;
    const auto take = [&](const std::vector<at::Tensor>& group) {
      const auto first = gradients.begin() + static_cast<std::ptrdiff_t>(begin);
      begin += group.size();
      return std::vector<at::Tensor>(first, first + static_cast<std::ptrdiff_t>(group.size()));
    };
    muon_.step(take(muon_.parameters()), check, rate);
    decayed_.step(take(decayed_.parameters()), check, steps_, rate);
    plain_.step(take(plain_.parameters()), check, steps_, rate);
    refresh_copies(*all_);
    if (averages_ != nullptr) averages_->update(check.skipped);
    return {.gradient_norm = check.norm, .skipped = check.skipped};
  }

  OptimConfig config_;
  const Parameters* all_;
  SumOverRanks sum_;
  Ema* averages_;  // null: none
  double rate_ = 1;
  at::Tensor rate_on_device_;  // where kernels serve
  Muon muon_;
  AdamW decayed_;
  AdamW plain_;
  std::vector<at::Tensor> parameters_;     // muon's, then decayed's, then plain's
  at::Tensor steps_;                       // taken, not skipped
  std::unique_ptr<DeviceStep> on_device_;  // where kernels serve
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimConfig& config, const Parameters& parameters,
                                          const OptimizerRanks& ranks, Ema* averages) {
  return std::make_unique<MuonWithAdamW>(config, parameters, ranks, averages);
}

}  // namespace praxino
