// The fused operations as autograd functions: CPU loops where the tensors are on the CPU, kernels
// where they are on a GPU that runs them, the formulas elsewhere.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>

#include "fused_cpu.h"
#include "fused_cuda.h"
#include "operands.h"
#include "praxino/ops/norm.h"

namespace praxino::ops {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

constexpr int64_t kMaxHeadWidth = 1024;

// A tensor without memory takes the same way, whatever device is planned: the kernels keep and make
// the same tensors.
bool fusable(const Tensor& x) {
  return x.dim() > 0 && (x.is_cpu() || x.is_meta()) && cuda::element_of(x.scalar_type());
}

// The loops trust sizes and types; what else there may be, such as broadcast operands, is the
// formula's. Rows of frames: B T N D with B T D.
bool fusable(const Tensor& rows, std::initializer_list<Tensor> of_frames) {
  if (!fusable(rows) || rows.dim() != 4) return false;
  const std::array<int64_t, 3> frames = {rows.size(0), rows.size(1), rows.size(3)};
  return std::ranges::all_of(
      of_frames, [&](const Tensor& operand) { return cuda::is_float(operand, frames, rows); });
}

bool joins(const Tensor& branch, const Tensor& x) {
  return x.scalar_type() == at::kFloat && fusable(branch) && branch.sizes() == x.sizes() &&
         branch.device() == x.device();
}

bool fusable(const Tensor& x, const Tensor& gain, const Tensor& cos, const Tensor& sin) {
  if (!fusable(x) || x.dim() != 4) return false;
  const int64_t width = x.size(3), half = width / 2;
  if (width == 0 || width % 2 != 0 || width > kMaxHeadWidth) return false;
  const auto is_table = [&](const Tensor& table) {
    return cuda::is_float(table, {x.size(1), half}, x) && !table.requires_grad();
  };
  return cuda::is_float(gain, {width}, x) && is_table(cos) && is_table(sin);
}

// Calls run(pointer of the element type that the loops know); nothing for a tensor without memory.
template <class Run>
void with_elements(const Tensor& tensor, Run run) {
  if (tensor.is_meta()) return;
  if (tensor.scalar_type() == at::kBFloat16) {
    run(static_cast<cpu::Bf16*>(tensor.mutable_data_ptr()));
  } else {
    run(tensor.mutable_data_ptr<float>());
  }
}

template <class T>
T* elements(const Tensor& tensor) {
  return tensor.is_meta() ? nullptr : static_cast<T*>(tensor.mutable_data_ptr());
}

// Ranges of about 16k elements each: smaller ones are not worth a thread.
int64_t grain(int64_t elements_per_unit) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, elements_per_unit));
}

template <class Run>
void for_each_frame(int64_t frames, int64_t frame_size, Run run) {
  at::parallel_for(0, frames, grain(frame_size), [&](int64_t begin, int64_t end) {
    for (int64_t frame = begin; frame < end; ++frame) run(frame);
  });
}

struct NormGradients {
  Tensor x, scale, shift;
};

// `direct`, where it is defined: a gradient that reaches x beside its norm.
NormGradients norm_gradients(const Tensor& x, const Tensor& scale, const Tensor& inverse,
                             const Tensor& grad, const Tensor& direct = {}) {
  const NormGradients results{at::empty_like(x), at::empty_like(scale), at::empty_like(scale)};
  const int64_t frames = x.size(0) * x.size(1), tokens = x.size(2), width = x.size(3);
  const int64_t frame_size = tokens * width;
  const cpu::NormModulateBackward p{.x = elements<float>(x),
                                    .scale = elements<float>(scale),
                                    .inverse = elements<float>(inverse),
                                    .grad_x = elements<float>(results.x),
                                    .grad_scale = elements<float>(results.scale),
                                    .grad_shift = elements<float>(results.shift),
                                    .width = width,
                                    .tokens = tokens};
  const float* more = direct.defined() ? elements<float>(direct) : nullptr;
  with_elements(grad, [&](auto* g) {
    for_each_frame(frames, frame_size, [&](int64_t frame) {
      cpu::norm_modulate_backward(p, g, frame, frame + 1);
      if (more != nullptr) cpu::add(more, p.grad_x, frame * frame_size, (frame + 1) * frame_size);
    });
  });
  return results;
}

struct GateGradients {
  Tensor gate, branch;
};

GateGradients gate_gradients(const Tensor& gate, const Tensor& branch, const Tensor& grad) {
  const GateGradients results{at::empty_like(gate), at::empty_like(branch)};
  const int64_t frames = branch.size(0) * branch.size(1), tokens = branch.size(2),
                width = branch.size(3);
  const cpu::GateAddBackward p{.grad = elements<float>(grad),
                               .gate = elements<float>(gate),
                               .grad_gate = elements<float>(results.gate),
                               .width = width,
                               .tokens = tokens};
  with_elements(results.branch, [&](auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    for_each_frame(frames, tokens * width, [&](int64_t frame) {
      cpu::gate_add_backward(p, elements<T>(branch), out, frame, frame + 1);
    });
  });
  return results;
}

struct NormModulate : Function<NormModulate> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& scale_in,
                        const Tensor& shift, int64_t dtype) {
    const Tensor x = x_in.contiguous(), scale = scale_in.contiguous(), shifts = shift.contiguous();
    const int64_t frames = x.size(0) * x.size(1), tokens = x.size(2), width = x.size(3);
    const Tensor y = at::empty(x.sizes(), x.options().dtype(static_cast<at::ScalarType>(dtype)));
    const Tensor inverse = at::empty({frames * tokens}, x.options());
    const cpu::NormModulate p{.x = elements<float>(x),
                              .scale = elements<float>(scale),
                              .shift = elements<float>(shifts),
                              .inverse = elements<float>(inverse),
                              .width = width,
                              .tokens = tokens};
    with_elements(y, [&](auto* out) {
      at::parallel_for(0, frames, grain(tokens * width),
                       [&](int64_t b, int64_t e) { cpu::norm_modulate(p, out, b, e); });
    });
    ctx->save_for_backward({x, scale, inverse});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("norm_modulate");
    const variable_list saved = ctx->get_saved_variables();
    const NormGradients of = norm_gradients(saved[0], saved[1], saved[2], grads[0].contiguous());
    return {of.x, of.scale, of.shift, Tensor()};
  }
};

struct GateAdd : Function<GateAdd> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& gate_in,
                        const Tensor& branch_in) {
    const Tensor x = x_in.contiguous(), gate = gate_in.contiguous(),
                 branch = branch_in.contiguous();
    const int64_t frames = x.size(0) * x.size(1), tokens = x.size(2), width = x.size(3);
    const Tensor y = at::empty_like(x);
    const cpu::GateAdd p{.x = elements<float>(x),
                         .gate = elements<float>(gate),
                         .y = elements<float>(y),
                         .width = width,
                         .tokens = tokens};
    with_elements(branch, [&](auto* in) {
      at::parallel_for(0, frames, grain(tokens * width),
                       [&](int64_t b, int64_t e) { cpu::gate_add(p, in, b, e); });
    });
    ctx->save_for_backward({gate, branch});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("gate_add");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor grad = grads[0].contiguous();
    const GateGradients of = gate_gradients(saved[0], saved[1], grad);
    return {grad, of.gate, of.branch};
  }
};

// The loops of both, a frame at a time, so that the sum is still in a cache when its norm is taken.
struct GateAddNorm : Function<GateAddNorm> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& gate_in,
                               const Tensor& branch_in, const Tensor& scale_in,
                               const Tensor& shift_in, int64_t dtype) {
    const Tensor x = x_in.contiguous(), gate = gate_in.contiguous(),
                 branch = branch_in.contiguous(), scale = scale_in.contiguous(),
                 shift = shift_in.contiguous();
    const int64_t frames = x.size(0) * x.size(1), tokens = x.size(2), width = x.size(3);
    const Tensor sum = at::empty_like(x),
                 norm = at::empty(x.sizes(), x.options().dtype(static_cast<at::ScalarType>(dtype)));
    const Tensor inverse = at::empty({frames * tokens}, x.options());
    const cpu::GateAdd to_sum{.x = elements<float>(x),
                              .gate = elements<float>(gate),
                              .y = elements<float>(sum),
                              .width = width,
                              .tokens = tokens};
    const cpu::NormModulate to_norm{.x = to_sum.y,
                                    .scale = elements<float>(scale),
                                    .shift = elements<float>(shift),
                                    .inverse = elements<float>(inverse),
                                    .width = width,
                                    .tokens = tokens};
    with_elements(branch, [&](auto* in) {
      with_elements(norm, [&](auto* out) {
        for_each_frame(frames, tokens * width, [&](int64_t frame) {
          cpu::gate_add(to_sum, in, frame, frame + 1);
          cpu::norm_modulate(to_norm, out, frame, frame + 1);
        });
      });
    });
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({sum, gate, branch, scale, inverse});
    return {sum, norm};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("gate_add_norm");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor of_sum = dense(grads[0]), of_norm = dense(grads[1]);
    if (!of_sum.defined() && !of_norm.defined()) return variable_list(6);
    NormGradients of{.x = of_sum, .scale = {}, .shift = {}};  // where only the sum was used
    if (of_norm.defined()) of = norm_gradients(saved[0], saved[3], saved[4], of_norm, of_sum);
    const GateGradients gated = gate_gradients(saved[1], saved[2], of.x);
    return {of.x, gated.gate, gated.branch, of.scale, of.shift, Tensor()};
  }
};

struct SwiGlu : Function<SwiGlu> {
  static Tensor forward(AutogradContext* ctx, const Tensor& ab_in) {
    const Tensor ab = ab_in.contiguous();
    std::vector<int64_t> shape = ab.sizes().vec();
    shape.back() /= 2;
    const Tensor y = at::empty(shape, ab.options());
    const int64_t half = shape.back(), rows = y.numel() / half;
    with_elements(y, [&](auto* out) {
      using T = std::remove_pointer_t<decltype(out)>;
      at::parallel_for(0, rows, grain(half), [&](int64_t b, int64_t e) {
        cpu::swiglu(elements<T>(ab), out, half, b, e);
      });
    });
    ctx->save_for_backward({ab});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("swiglu");
    const Tensor ab = ctx->get_saved_variables()[0];
    const Tensor grad = grads[0].contiguous(), grad_ab = at::empty_like(ab);
    const int64_t half = grad.size(-1), rows = grad.numel() / half;
    with_elements(grad_ab, [&](auto* out) {
      using T = std::remove_pointer_t<decltype(out)>;
      at::parallel_for(0, rows, grain(half), [&](int64_t b, int64_t e) {
        cpu::swiglu_backward(elements<T>(ab), elements<T>(grad), out, half, b, e);
      });
    });
    return {grad_ab};
  }
};

struct NormRotate : Function<NormRotate> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& gain_in,
                        const Tensor& cos_in, const Tensor& sin_in) {
    const Tensor x = x_in.contiguous(), gain = gain_in.contiguous(), cos = cos_in.contiguous(),
                 sin = sin_in.contiguous();
    const Tensor y = at::empty_like(x);
    const Tensor inverse = at::empty({x.numel() / x.size(3)}, gain.options());
    const cpu::NormRotate p = parameters(x, gain, cos, sin, inverse);
    with_elements(y, [&](auto* out) {
      using T = std::remove_pointer_t<decltype(out)>;
      at::parallel_for(
          0, x.size(0), grain(p.positions * p.heads * p.head_width),
          [&](int64_t b, int64_t e) { cpu::norm_rotate(p, elements<T>(x), out, b, e); });
    });
    ctx->save_for_backward({x, gain, cos, sin, inverse});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("norm_rotate");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &gain = saved[1];
    const Tensor grad = grads[0].contiguous(), grad_x = at::empty_like(x);
    const Tensor grad_gain = at::empty({x.size(0), x.size(3)}, gain.options());
    const cpu::NormRotate p = parameters(x, gain, saved[2], saved[3], saved[4]);
    with_elements(grad_x, [&](auto* out) {
      using T = std::remove_pointer_t<decltype(out)>;
      at::parallel_for(0, x.size(0), grain(p.positions * p.heads * p.head_width),
                       [&](int64_t b, int64_t e) {
                         cpu::norm_rotate_backward(p, elements<T>(x), elements<T>(grad), out,
                                                   elements<float>(grad_gain), b, e);
                       });
    });
    return {grad_x, grad_gain.sum(0), Tensor(), Tensor()};
  }
  static cpu::NormRotate parameters(const Tensor& x, const Tensor& gain, const Tensor& cos,
                                    const Tensor& sin, const Tensor& inverse) {
    return {.gain = elements<float>(gain),
            .cos = elements<float>(cos),
            .sin = elements<float>(sin),
            .inverse = elements<float>(inverse),
            .positions = x.size(1),
            .heads = x.size(2),
            .head_width = x.size(3)};
  }
};

}  // namespace

Tensor norm_modulate(const Tensor& x, const Tensor& scale, const Tensor& shift,
                     at::ScalarType dtype) {
  if (x.scalar_type() == at::kFloat && cuda::element_of(dtype) && fusable(x, {scale, shift}))
    return NormModulate::apply(x, scale, shift, static_cast<int64_t>(dtype));
  if constexpr (cuda::kBuilt) {
    if (const auto y = cuda::checked::norm_modulate(x, scale, shift, dtype)) return *y;
  }
  return formula::norm_modulate(x, scale, shift, dtype);
}

Tensor gate_add(const Tensor& x, const Tensor& gate, const Tensor& branch) {
  if (fusable(x, {gate}) && joins(branch, x)) return GateAdd::apply(x, gate, branch);
  if constexpr (cuda::kBuilt) {
    if (const auto y = cuda::checked::gate_add(x, gate, branch)) return *y;
  }
  return formula::gate_add(x, gate, branch);
}

GatedSum gate_add_norm(const Tensor& x, const Tensor& gate, const Tensor& branch,
                       const Modulation& modulation, at::ScalarType dtype) {
  const auto& [scale, shift] = modulation;
  if (fusable(x, {gate, scale, shift}) && joins(branch, x) && cuda::element_of(dtype)) {
    const variable_list both =
        GateAddNorm::apply(x, gate, branch, scale, shift, static_cast<int64_t>(dtype));
    return {both[0], both[1]};
  }
  if constexpr (cuda::kBuilt) {
    if (auto both = cuda::checked::gate_add_norm(x, gate, branch, modulation, dtype)) return *both;
  }
  const Tensor sum = gate_add(x, gate, branch);
  return {sum, norm_modulate(sum, scale, shift, dtype)};
}

Tensor swiglu(const Tensor& ab) {
  if (fusable(ab) && ab.size(-1) > 0 && ab.size(-1) % 2 == 0) return SwiGlu::apply(ab);
  if constexpr (cuda::kBuilt) {
    if (const auto y = cuda::checked::swiglu(ab)) return *y;
  }
  return formula::swiglu(ab);
}

Tensor norm_rotate(const Tensor& x, const Tensor& gain, const Tensor& cos, const Tensor& sin) {
  if (fusable(x, gain, cos, sin)) return NormRotate::apply(x, gain, cos, sin);
  if constexpr (cuda::kBuilt) {
    if (const auto y = cuda::checked::norm_rotate(x, gain, cos, sin)) return *y;
  }
  return formula::norm_rotate(x, gain, cos, sin);
}

}  // namespace praxino::ops
