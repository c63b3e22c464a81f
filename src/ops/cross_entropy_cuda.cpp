#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fused_cuda.h"
#include "kernel_registry.h"
#include "kernels/cross_entropy.h"
#include "launch_cuda.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Losses of the rows; the gradient over the logits where it is wanted.
Tensor losses_of(const Tensor& logits, const Tensor& targets, const Tensor& weights, int64_t ignore,
                 bool gradient) {
  const Launching launching(logits);
  const Tensor losses = at::empty({logits.size(0)}, logits.options().dtype(at::kFloat));
  const kernels::CrossEntropy p{
      .logits = logits.mutable_data_ptr(),
      .targets = targets.const_data_ptr<int64_t>(),
      .weights = weights.defined() ? weights.const_data_ptr<float>() : nullptr,
      .losses = losses.mutable_data_ptr<float>(),
      .rows = logits.size(0),
      .classes = logits.size(1),
      .ignore = ignore,
      .element = *element_of(logits.scalar_type()),
      .gradient = gradient};
  Launching::check(kernels::launch_cross_entropy(p, launching.stream()), "cross_entropy");
  return losses;
}

struct CrossEntropy : torch::autograd::Function<CrossEntropy> {
  static Tensor forward(AutogradContext* ctx, const Tensor& logits, const Tensor& targets,
                        const std::optional<Tensor>& weights, int64_t ignore) {
    const Tensor losses =
        losses_of(logits, targets, weights.value_or(Tensor()), ignore, /*gradient=*/true);
    logits.unsafeGetTensorImpl()->bump_version();  // for whoever has kept them
    ctx->save_for_backward({logits});
    return losses;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("cross_entropy");
    const Tensor gradient = ctx->get_saved_variables()[0].detach();  // once: see below
    const Tensor factors = grads[0].contiguous();
    const Launching launching(gradient);
    const kernels::ScaleRows p{.rows_of = gradient.mutable_data_ptr(),
                               .factors = factors.const_data_ptr<float>(),
                               .rows = gradient.size(0),
                               .width = gradient.size(1),
                               .element = *element_of(gradient.scalar_type())};
    Launching::check(kernels::launch_scale_rows(p, launching.stream()), "cross_entropy backward");
    gradient.unsafeGetTensorImpl()->bump_version();  // a second time finds another version
    return {gradient, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

std::optional<Tensor> cross_entropy(const Tensor& logits_in, const Tensor& targets,
                                    const CrossEntropyOptions& options) {
  if (!on_capable_gpu(logits_in) || !element_of(logits_in.scalar_type())) return std::nullopt;
  const Tensor weights =
      options.weights.defined() ? options.weights.detach().contiguous() : Tensor();
  const bool served = logits_in.dim() == 2 && targets.scalar_type() == at::kLong &&
                      targets.sizes() == logits_in.sizes().slice(0, 1) &&
                      targets.device() == logits_in.device() && logits_in.size(1) <= INT32_MAX &&
                      (!weights.defined() || is_float(weights, targets.sizes(), logits_in));
  if (!served) return std::nullopt;
  const Tensor rows = targets.contiguous();
  if (!at::GradMode::is_enabled() || !logits_in.requires_grad())
    return losses_of(logits_in.contiguous(), rows, weights, options.ignore_target, false);
  // A leaf belongs to someone, and so does what a view of it shows.
  const bool owned = logits_in.is_leaf() || (logits_in.is_view() && logits_in._base().is_leaf());
  const Tensor dense = logits_in.contiguous();
  const Tensor logits = owned && dense.is_alias_of(logits_in) ? dense.clone() : dense;
  // Autograd asks an undefined tensor for its device.
  return CrossEntropy::apply(logits, rows,
                             weights.defined() ? std::optional(weights) : std::nullopt,
                             options.ignore_target);
}

std::optional<Tensor> checked::cross_entropy(const Tensor& logits, const Tensor& targets,
                                             const CrossEntropyOptions& options) {
  if (!usable(Kernel::cross_entropy, logits, logits.scalar_type())) return std::nullopt;
  return taken_or_told(Kernel::cross_entropy, logits, logits.scalar_type(),
                       cuda::cross_entropy(logits, targets, options));
}

SelfCheck check_of_cross_entropy(at::TensorOptions o) {
  // Whole numbers get no gradient; the last one is ignored.
  const auto targets = [](const Tensor& logits) {
    const Tensor of =
        at::arange(logits.size(0), logits.options().dtype(at::kLong)) * 31 % logits.size(1);
    of[-1] = -100;
    return of;
  };
  SelfCheck check{.kernel =
                      [targets](const std::vector<Tensor>& in) {
                        return cuda::cross_entropy(in[0] * 4, targets(in[0]), {}).value();
                      },
                  .formula =
                      [targets](const std::vector<Tensor>& in) {
                        return formula::cross_entropy(in[0] * 4, targets(in[0]), {});
                      },
                  .cases = {},
                  .tolerance = o.dtype() == at::kBFloat16 ? 3e-2 : 1e-4};
  for (const int64_t classes : {64, 2048, 999}) check.cases.push_back({wave({37, classes}, 0, o)});
  return check;
}

}  // namespace praxino::ops::cuda
