#include "praxino/layers/checkpointing.h"

#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

namespace praxino {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Run = std::function<at::Tensor(const at::Tensor&, const at::Tensor&)>;

struct Held : torch::CustomClassHolder {
  explicit Held(Run r) : run(std::move(r)) {}
  Run run;
};

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  static at::Tensor forward(AutogradContext* ctx, const Run& run, const at::Tensor& x,
                            const at::Tensor& condition) {
    ctx->saved_data["run"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(run));
    ctx->save_for_backward({x, condition});
    const at::AutoGradMode off(false);
    return run(x, condition);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(ctx->saved_data["run"].toCapsule());
    variable_list inputs;
    for (const at::Tensor& saved : ctx->get_saved_variables()) {
      inputs.push_back(saved.detach().requires_grad_(saved.requires_grad()));
    }
    at::Tensor output;
    {
      const at::AutoGradMode on(true);
      output = held->run(inputs[0], inputs[1]);
    }
    torch::autograd::backward({output}, {grads[0]});  // parameters accumulate here
    return {at::Tensor(), inputs[0].grad(), inputs[1].grad()};
  }
};

}  // namespace

at::Tensor checkpointed(Run run, const at::Tensor& x, const at::Tensor& condition) {
  return Checkpoint::apply(run, x, condition);
}

}  // namespace praxino
