#include "kernels/time_attention.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "attention_cuda.h"
#include "kernel_registry.h"
#include "launch_cuda.h"
#include "praxino/ops/norm.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using kernels::Bf16;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::TimeShape time_shape(const Tensor& q, const Tensor& k, const FrameWindow& window) {
  return {.batch = q.size(0),
          .places = q.size(2),
          .kv_heads = k.size(3),
          .group = q.size(3) / k.size(3),
          .frames = q.size(1),
          .width = q.size(4),
          .window = window.window,
          .sinks = window.sinks};
}

// B T N H K whose tokens lie evenly, with their heads together: as it is, where the kernel can read
// it so, such as a part of a wider projection; else a copy.
Tensor even_tokens(const Tensor& x) {
  const int64_t token = x.stride(2);
  const bool even = x.stride(4) == 1 && x.stride(3) == x.size(4) && token % 8 == 0 &&
                    x.stride(1) == token * x.size(2) &&
                    (x.size(0) == 1 || x.stride(0) == token * x.size(1) * x.size(2)) &&
                    kernels::aligned_16(x.const_data_ptr());
  return even ? x : x.contiguous();
}

const Bf16* elements(const Tensor& x) { return static_cast<const Bf16*>(x.const_data_ptr()); }
Bf16* mutable_elements(const Tensor& x) { return static_cast<Bf16*>(x.mutable_data_ptr()); }

// What the backward pass needs again. q, k, v, gain, cos, sin of queries, of keys.
kernels::TimeInputs time_inputs(const variable_list& in, const kernels::TimeShape& shape) {
  const auto norm = [&](size_t first) {
    return kernels::TimeNorm{.gain = in[first].const_data_ptr<float>(),
                             .cos = in[first + 1].const_data_ptr<float>(),
                             .sin = in[first + 2].const_data_ptr<float>()};
  };
  return {.q = elements(in[0]),
          .k = elements(in[1]),
          .v = elements(in[2]),
          .q_token = in[0].stride(2),
          .k_token = in[1].stride(2),
          .v_token = in[2].stride(2),
          .queries = norm(3),
          .keys = norm(6),
          .shape = shape};
}

struct TimeAttention : torch::autograd::Function<TimeAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& query_gain, const Tensor& query_cos, const Tensor& query_sin,
                        const Tensor& key_gain, const Tensor& key_cos, const Tensor& key_sin,
                        int64_t window, int64_t sinks) {
    const Launching launching(q);
    const variable_list in = {
        even_tokens(q),          even_tokens(k),         even_tokens(v),
        query_gain.contiguous(), query_cos.contiguous(), query_sin.contiguous(),
        key_gain.contiguous(),   key_cos.contiguous(),   key_sin.contiguous()};
    const kernels::TimeShape shape = time_shape(q, k, {.window = window, .sinks = sinks});
    const Tensor o = at::empty(q.sizes(), q.options());
    const kernels::TimeAttention p{
        .in = time_inputs(in, shape),
        .o = mutable_elements(o),
        .plan = time_plan(shape, kernels::kForwardTiles, kernels::device_shared_limit())};
    Launching::check(kernels::launch_time_attention(p, launching.stream()), "time_attention");
    ctx->save_for_backward(in);
    ctx->saved_data["window"] = window;
    ctx->saved_data["sinks"] = sinks;
    return o;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("time_attention");
    const variable_list in = ctx->get_saved_variables();
    const Tensor &q = in[0], &k = in[1], &query_gain = in[3];
    const Launching launching(q);
    const kernels::TimeShape shape = time_shape(
        q, k,
        {.window = ctx->saved_data["window"].toInt(), .sinks = ctx->saved_data["sinks"].toInt()});
    const kernels::TimePlan plan =
        time_plan(shape, kernels::kBackwardTiles, kernels::device_shared_limit());
    const Tensor grad = grads[0].contiguous();
    const Tensor grad_q = at::empty(q.sizes(), q.options()),
                 grad_k = at::empty(k.sizes(), k.options()),
                 grad_v = at::empty(k.sizes(), k.options());
    const at::TensorOptions floats = query_gain.options();
    const Tensor grad_query_gain = at::empty({shape.batch, shape.width}, floats),
                 grad_key_gain = at::empty({shape.batch, shape.width}, floats),
                 workspace = at::empty(
                     {kernels::chunk_workspace(kernels::time_units(shape, plan), 2)}, floats);
    const kernels::TimeAttentionBackward p{
        .in = time_inputs(in, shape),
        .grad = elements(grad),
        .grad_q = mutable_elements(grad_q),
        .grad_k = mutable_elements(grad_k),
        .grad_v = mutable_elements(grad_v),
        .grad_query_gain = grad_query_gain.mutable_data_ptr<float>(),
        .grad_key_gain = grad_key_gain.mutable_data_ptr<float>(),
        .workspace = workspace.mutable_data_ptr<float>(),
        .plan = plan};
    Launching::check(kernels::launch_time_attention_backward(p, launching.stream()),
                     "time_attention backward");
    const Tensor none;
    return {grad_q, grad_k, grad_v, grad_query_gain.sum(0), none, none, grad_key_gain.sum(0), none,
            none,   none,   none};
  }
};

bool takes_gradients(const Tensor& q, const Tensor& k, const Tensor& v, const QkNorm& norm) {
  return at::GradMode::is_enabled() &&
         (q.requires_grad() || k.requires_grad() || v.requires_grad() ||
          norm.query_gain.requires_grad() || norm.key_gain.requires_grad());
}

bool served(const Tensor& q, const Tensor& k, const Tensor& v, const QkNorm& norm,
            const FrameWindow& window) {
  if (!on_capable_gpu(q) || !on_capable_gpu(k) || q.dim() != 5 || k.dim() != 5) return false;
  for (const Tensor& x : {q, k, v}) {
    if (x.scalar_type() != at::kBFloat16 || x.device() != q.device()) return false;
  }
  if (k.sizes() != v.sizes() || k.size(3) == 0 || q.size(3) % k.size(3) != 0) return false;
  for (const int64_t dim : {0, 1, 2, 4}) {
    if (q.size(dim) != k.size(dim)) return false;
  }
  const kernels::TimeShape shape = time_shape(q, k, window);
  if (!kernels::in_range(shape)) return false;
  const int64_t positions = shape.frames * shape.places, half = shape.width / 2;
  for (const RopeTable& table : {norm.queries, norm.keys}) {
    for (const Tensor& angles : {table.cos, table.sin}) {
      if (!is_float(angles, {positions, half}, q) || angles.requires_grad()) return false;
    }
  }
  if (!is_float(norm.query_gain, {shape.width}, q) || !is_float(norm.key_gain, {shape.width}, q))
    return false;
  const Launching launching(q);  // the limit is the device's
  const auto& tiles =
      takes_gradients(q, k, v, norm) ? kernels::kBackwardTiles : kernels::kForwardTiles;
  return time_plan(shape, tiles, kernels::device_shared_limit()).warps > 0;
}

// The gains are inputs of a check, the tables are not.
QkNorm checked_norm(const std::vector<Tensor>& in) {
  const int64_t positions = in[0].size(1) * in[0].size(2), half = in[0].size(4) / 2;
  const auto angles = [&](double phase) {
    return wave({positions, half}, phase, in[0].options().dtype(at::kFloat));
  };
  return {in[3], in[4], {angles(5), angles(6)}, {angles(7), angles(8)}};
}

Tensor normed(const Tensor& x, const Tensor& gain, const RopeTable& table) {
  const Tensor rows = x.reshape({x.size(0), table.cos.size(0), x.size(3), x.size(4)});
  return formula::norm_rotate(rows, gain, table.cos, table.sin).view(x.sizes());
}

constexpr FrameWindow kCheckedWindow{.window = 5, .sinks = 2};

}  // namespace

std::optional<Tensor> time_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                     const QkNorm& norm, const FrameWindow& window) {
  if (!served(q, k, v, norm, window)) return std::nullopt;
  return TimeAttention::apply(q, k, v, norm.query_gain, norm.queries.cos, norm.queries.sin,
                              norm.key_gain, norm.keys.cos, norm.keys.sin, window.window,
                              window.sinks);
}

SelfCheck check_of_time_attention(at::TensorOptions o) {
  SelfCheck check{.kernel =
                      [](const std::vector<Tensor>& in) {
                        return cuda::time_attention(in[0], in[1], in[2], checked_norm(in),
                                                    kCheckedWindow)
                            .value();
                      },
                  .formula =
                      [](const std::vector<Tensor>& in) {
                        const QkNorm norm = checked_norm(in);
                        return ops::time_attention(normed(in[0], norm.query_gain, norm.queries),
                                                   normed(in[1], norm.key_gain, norm.keys), in[2],
                                                   kCheckedWindow);
                      },
                  .cases = {},
                  .tolerance = 3e-2};  // 8 bits, and sums of rounded values
  const at::TensorOptions f = o.dtype(at::kFloat);
  for (const int64_t width : {64, 128}) {
    const int64_t frames = width == 64 ? 18 : 7;
    check.cases.push_back(
        {wave({2, frames, 3, 4, width}, 0, o), wave({2, frames, 3, 2, width}, 1, o),
         wave({2, frames, 3, 2, width}, 2, o), wave({width}, 3, f), wave({width}, 4, f)});
  }
  return check;
}

std::optional<Tensor> checked::time_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                              const QkNorm& norm, const FrameWindow& window) {
  if (!usable(Kernel::time_attention, q, q.scalar_type())) return std::nullopt;
  return cuda::time_attention(q, k, v, norm, window);
}

}  // namespace praxino::ops::cuda
