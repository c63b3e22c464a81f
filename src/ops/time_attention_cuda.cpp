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
  const std::optional<int64_t> token = token_stride(x);
  const bool even =
      token && *token % 8 == 0 && *token <= INT32_MAX && kernels::aligned_16(x.const_data_ptr());
  return even ? x : aligned(x);
}

template <class T>
const T* elements(const Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}
template <class T>
T* mutable_elements(const Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}

// run(an element of the tensor's type).
template <class Run>
auto with_element(const Tensor& x, const Run& run) {
  return x.scalar_type() == at::kFloat ? run(float{}) : run(Bf16{});
}

// What the backward pass needs again: q, k, v; then gain, cos, sin of queries, of keys, or nothing.
template <class T>
kernels::TimeInputs<T> time_inputs(const variable_list& in, const kernels::TimeShape& shape) {
  const auto norm = [&](size_t first) -> kernels::TimeNorm {
    if (in.size() <= first) return {};
    return kernels::TimeNorm{.gain = in[first].const_data_ptr<float>(),
                             .cos = in[first + 1].const_data_ptr<float>(),
                             .sin = in[first + 2].const_data_ptr<float>()};
  };
  return {.q = elements<T>(in[0]),
          .k = elements<T>(in[1]),
          .v = elements<T>(in[2]),
          .q_token = token_stride(in[0]).value(),
          .k_token = token_stride(in[1]).value(),
          .v_token = token_stride(in[2]).value(),
          .queries = norm(3),
          .keys = norm(6),
          .shape = shape};
}

const kernels::TimeTiles& forward_tiles(const Tensor& q) {
  return q.scalar_type() == at::kFloat ? kernels::forward_tiles<float>()
                                       : kernels::forward_tiles<Bf16>();
}
const kernels::TimeTiles& backward_tiles(const Tensor& q) {
  return q.scalar_type() == at::kFloat ? kernels::backward_tiles<float>()
                                       : kernels::backward_tiles<Bf16>();
}

// Inputs as time_inputs() takes them: a list, because autograd asks an undefined tensor for its
// device.
struct TimeAttention : torch::autograd::Function<TimeAttention> {
  static Tensor forward(AutogradContext* ctx, at::TensorList inputs, int64_t window,
                        int64_t sinks) {
    const Tensor &q = inputs[0], &k = inputs[1];
    const Launching launching(q);
    variable_list in;
    for (size_t i = 0; i < inputs.size(); ++i)
      in.push_back(i < 3 ? even_tokens(inputs[i]) : aligned(inputs[i]));
    const kernels::TimeShape shape = time_shape(q, k, {.window = window, .sinks = sinks});
    const Tensor o = at::empty(q.sizes(), q.options());
    with_element(q, [&]<class T>(T) {
      const kernels::TimeAttention<T> p{
          .in = time_inputs<T>(in, shape),
          .o = mutable_elements<T>(o),
          .plan = time_plan(shape, forward_tiles(q), kernels::time_device())};
      Launching::check(kernels::launch_time_attention(p, launching.stream()), "time_attention");
    });
    ctx->save_for_backward(in);
    ctx->saved_data["window"] = window;
    ctx->saved_data["sinks"] = sinks;
    return o;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("time_attention");
    const variable_list in = ctx->get_saved_variables();
    const Tensor &q = in[0], &k = in[1];
    const Launching launching(q);
    const kernels::TimeShape shape = time_shape(
        q, k,
        {.window = ctx->saved_data["window"].toInt(), .sinks = ctx->saved_data["sinks"].toInt()});
    const kernels::TimePlan plan = time_plan(shape, backward_tiles(q), kernels::time_device());
    const Tensor grad = aligned(grads[0]);
    const Tensor grad_q = at::empty(q.sizes(), q.options()),
                 grad_k = at::empty(k.sizes(), k.options()),
                 grad_v = at::empty(k.sizes(), k.options());
    const bool normed = in.size() > 3;
    const auto floats = [&](int64_t count) {
      return normed ? at::empty({count}, q.options().dtype(at::kFloat)) : Tensor();
    };
    const Tensor grad_query_gain = floats(shape.width), grad_key_gain = floats(shape.width),
                 workspace = floats(kernels::chunk_workspace(kernels::time_sums(shape, plan), 2));
    with_element(q, [&]<class T>(T) {
      const kernels::TimeAttentionBackward<T> p{
          .in = time_inputs<T>(in, shape),
          .grad = elements<T>(grad),
          .grad_q = mutable_elements<T>(grad_q),
          .grad_k = mutable_elements<T>(grad_k),
          .grad_v = mutable_elements<T>(grad_v),
          .grad_query_gain = address_of<float>(grad_query_gain),
          .grad_key_gain = address_of<float>(grad_key_gain),
          .workspace = address_of<float>(workspace),
          .plan = plan};
      Launching::check(kernels::launch_time_attention_backward(p, launching.stream()),
                       "time_attention backward");
    });
    variable_list results = {grad_q, grad_k, grad_v};
    if (normed) results.insert(results.end(), {grad_query_gain, {}, {}, grad_key_gain, {}, {}});
    results.resize(results.size() + 2);  // the window, the sinks
    return results;
  }
};

bool served(const Tensor& q, const Tensor& k, const Tensor& v, const FrameWindow& window,
            bool gradients) {
  if (!on_capable_gpu(q) || !on_capable_gpu(k) || q.dim() != 5 || k.dim() != 5) return false;
  if (!element_of(q.scalar_type())) return false;
  for (const Tensor& x : {k, v}) {
    if (x.scalar_type() != q.scalar_type() || x.device() != q.device()) return false;
  }
  if (k.sizes() != v.sizes() || k.size(3) == 0 || q.size(3) % k.size(3) != 0) return false;
  for (const int64_t dim : {0, 1, 2, 4}) {
    if (q.size(dim) != k.size(dim)) return false;
  }
  const kernels::TimeShape shape = time_shape(q, k, window);
  if (!kernels::in_range(shape)) return false;
  const Launching launching(q);  // the limit is the device's
  const auto& tiles =
      gradients && at::GradMode::is_enabled() ? backward_tiles(q) : forward_tiles(q);
  return time_plan(shape, tiles, kernels::time_device()).warps > 0;
}

bool served(const Tensor& q, const QkNorm& norm) {
  const int64_t positions = q.size(1) * q.size(2), half = q.size(4) / 2;
  for (const RopeTable& table : {norm.queries, norm.keys}) {
    for (const Tensor& angles : {table.cos, table.sin}) {
      if (!is_float(angles, {positions, half}, q) || angles.requires_grad()) return false;
    }
  }
  return is_float(norm.query_gain, {q.size(4)}, q) && is_float(norm.key_gain, {q.size(4)}, q);
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
                                     const FrameWindow& window) {
  if (!served(q, k, v, window, q.requires_grad() || k.requires_grad() || v.requires_grad()))
    return std::nullopt;
  const variable_list inputs = {q, k, v};
  return TimeAttention::apply(at::TensorList(inputs), window.window, window.sinks);
}

std::optional<Tensor> time_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                     const QkNorm& norm, const FrameWindow& window) {
  const bool gradients = q.requires_grad() || k.requires_grad() || v.requires_grad() ||
                         norm.query_gain.requires_grad() || norm.key_gain.requires_grad();
  if (!served(q, k, v, window, gradients) || !served(q, norm)) return std::nullopt;
  const variable_list inputs = {q,
                                k,
                                v,
                                norm.query_gain,
                                norm.queries.cos,
                                norm.queries.sin,
                                norm.key_gain,
                                norm.keys.cos,
                                norm.keys.sin};
  return TimeAttention::apply(at::TensorList(inputs), window.window, window.sinks);
}

SelfCheck check_of_time_attention(at::TensorOptions o) {
  SelfCheck check{.kernel =
                      [](const std::vector<Tensor>& in) {
                        if (in.size() == 3)
                          return cuda::time_attention(in[0], in[1], in[2], kCheckedWindow).value();
                        return cuda::time_attention(in[0], in[1], in[2], checked_norm(in),
                                                    kCheckedWindow)
                            .value();
                      },
                  .formula =
                      [](const std::vector<Tensor>& in) {
                        if (in.size() == 3)
                          return formula::time_attention(in[0], in[1], in[2], kCheckedWindow);
                        const QkNorm norm = checked_norm(in);
                        return formula::time_attention(normed(in[0], norm.query_gain, norm.queries),
                                                       normed(in[1], norm.key_gain, norm.keys),
                                                       in[2], kCheckedWindow);
                      },
                  .cases = {},
                  // 8 bits, and sums of rounded values; in float, sums in another order.
                  .tolerance = o.dtype().toScalarType() == at::kBFloat16 ? 3e-2 : 1e-4};
  const at::TensorOptions f = o.dtype(at::kFloat);
  // Each kernel: sequences of few tiles and of many, as many as this chip has room for.
  for (const auto& [width, frames] :
       {std::pair<int64_t, int64_t>{64, 18}, {64, 35}, {128, 7}, {128, 32}, {128, 49}}) {
    const std::vector<Tensor> rows = {wave({2, frames, 3, 4, width}, 0, o),
                                      wave({2, frames, 3, 2, width}, 1, o),
                                      wave({2, frames, 3, 2, width}, 2, o)};
    const Launching on_its_device(rows[0]);
    const kernels::TimeShape shape = time_shape(rows[0], rows[1], kCheckedWindow);
    if (time_plan(shape, backward_tiles(rows[0]), kernels::time_device()).warps == 0) continue;
    std::vector<Tensor> all = rows;
    all.insert(all.end(), {wave({width}, 3, f), wave({width}, 4, f)});
    check.cases.push_back(std::move(all));
    check.cases.push_back(rows);
  }
  return check;
}

std::optional<Tensor> checked::time_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                              const FrameWindow& window) {
  const bool is_short = usable(Kernel::time_attention, q, q.scalar_type());
  if (is_short) {
    if (auto o = cuda::time_attention(q, k, v, window)) return o;
  }
  const bool is_long = usable(Kernel::time_attention_long, q, q.scalar_type());
  if (!is_short && !is_long) return std::nullopt;
  return taken_or_told(
      Kernel::time_attention, q, q.scalar_type(),
      is_long ? cuda::time_attention_long(q, k, v, nullptr, window) : std::nullopt);
}

// What is refused here comes back without its norm.

std::optional<Tensor> checked::time_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                              const QkNorm& norm, const FrameWindow& window) {
  if (usable(Kernel::time_attention, q, q.scalar_type())) {
    if (auto o = cuda::time_attention(q, k, v, norm, window)) return o;
  }
  if (!usable(Kernel::time_attention_long, q, q.scalar_type())) return std::nullopt;
  return cuda::time_attention_long(q, k, v, &norm, window);
}

}  // namespace praxino::ops::cuda
