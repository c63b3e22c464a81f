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
  Held(Run r, CheckpointHooks h) : run(std::move(r)), hooks(std::move(h)) {}
  void before(Pass pass) const {
    if (hooks.before) hooks.before(pass);
  }
  void after(Pass pass) const {
    if (hooks.after) hooks.after(pass);
  }
  Run run;
  CheckpointHooks hooks;
};
using HeldPtr = c10::intrusive_ptr<Held>;

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  static at::Tensor forward(AutogradContext* ctx, const HeldPtr& held, const at::Tensor& x,
                            const at::Tensor& condition) {
    ctx->saved_data["run"] = c10::IValue::make_capsule(held);
    ctx->save_for_backward({x, condition});
    const at::AutoGradMode off(false);
    held->before(Pass::kForward);
    at::Tensor output = held->run(x, condition);
    held->after(Pass::kForward);
    return output;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(ctx->saved_data["run"].toCapsule());
    variable_list inputs;
    for (const at::Tensor& saved : ctx->get_saved_variables()) {
      inputs.push_back(saved.detach().requires_grad_(saved.requires_grad()));
    }
    held->before(Pass::kBackward);
    at::Tensor output;
    {
      const at::AutoGradMode on(true);
      output = held->run(inputs[0], inputs[1]);
    }
    torch::autograd::backward({output}, {grads[0]});  // parameters accumulate here
    held->after(Pass::kBackward);
    return {at::Tensor(), inputs[0].grad(), inputs[1].grad()};
  }
};

}  // namespace

at::Tensor checkpointed(Run run, const at::Tensor& x, const at::Tensor& condition,
                        CheckpointHooks hooks) {
  return Checkpoint::apply(c10::make_intrusive<Held>(std::move(run), std::move(hooks)), x,
                           condition);
}

}  // namespace praxino
