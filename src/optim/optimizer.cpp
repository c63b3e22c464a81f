#include "praxino/optim/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "optim/adamw.h"
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
  MuonWithAdamW(const OptimConfig& config, const Parameters& parameters, SumOverRanks sum)
      : config_(config),
        sum_(std::move(sum)),
        muon_({.peak_rate = config.lr,
               .momentum = config.momentum,
               .weight_decay = config.weight_decay},
              select(config, parameters, Treatment::kMuon)),
        decayed_(adamw_options(config, config.weight_decay),
                 select(config, parameters, Treatment::kDecayed)),
        plain_(adamw_options(config, 0), select(config, parameters, Treatment::kPlain)) {
    for (const auto* group : {&muon_.parameters(), &decayed_.parameters(), &plain_.parameters()}) {
      parameters_.insert(parameters_.end(), group->begin(), group->end());
    }
    TORCH_CHECK(!parameters_.empty(), "make_optimizer: no parameter requires a gradient");
    steps_ = at::zeros({}, parameters_.front().detach().options());
  }

  StepStats step(const at::Tensor& loss, double rate) override {
    const at::NoGradGuard no_grad;
    const std::vector<at::Tensor> gradients = gather_gradients(parameters_);
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
    clear_gradients(parameters_);
    return {
        .gradient_norm = check.norm, .skipped = check.skipped, .learning_rate = config_.lr * rate};
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
  OptimConfig config_;
  SumOverRanks sum_;
  Muon muon_;
  AdamW decayed_;
  AdamW plain_;
  std::vector<at::Tensor> parameters_;  // muon's, then decayed's, then plain's
  at::Tensor steps_;                    // taken, not skipped
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimConfig& config, const Parameters& parameters,
                                          SumOverRanks sum) {
  return std::make_unique<MuonWithAdamW>(config, parameters, std::move(sum));
}

}  // namespace praxino
