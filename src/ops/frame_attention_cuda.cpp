#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

#include "attention_cuda.h"
#include "kernel_registry.h"
#include "kernels/frame_attention_hopper.h"
#include "kernels/frame_attention_plan.h"
#include "launch_cuda.h"
#include "praxino/ops/norm.h"
#include "self_check.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using kernels::FrameMask;
using kernels::Tier;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// R S H K: the heads of a token one after the other, tokens and sequences anywhere; but a copy
// engine takes no row twice.
bool rows_lie_well(const Tensor& x, Tier tier) {
  const auto in_pieces = [&](int64_t dim) {
    return x.size(dim) == 1 ||
           (x.stride(dim) % 8 == 0 && (x.stride(dim) > 0 || tier == Tier::kPortable));
  };
  return x.stride(3) == 1 && in_pieces(0) && in_pieces(1) && in_pieces(2) &&
         kernels::aligned_16(x.const_data_ptr());
}
Tensor laid_out(const Tensor& x, Tier tier) { return rows_lie_well(x, tier) ? x : x.contiguous(); }

kernels::HeadStrides strides_of(const Tensor& x) {
  const auto stride = [&](int64_t dim) { return x.size(dim) == 1 ? 0 : x.stride(dim); };
  return {.batch = stride(0), .token = stride(1), .head = stride(2)};
}
kernels::HeadsIn in_of(const Tensor& x) {
  return {static_cast<const kernels::Bf16*>(x.const_data_ptr()), strides_of(x)};
}
kernels::HeadsOut out_of(const Tensor& x) {
  return {static_cast<kernels::Bf16*>(x.mutable_data_ptr()), strides_of(x)};
}

kernels::AttentionShape shape_of(const Tensor& q, const Tensor& k, const FrameMask& mask) {
  return {.batch = q.size(0),
          .heads = q.size(2),
          .key_heads = k.size(2),
          .width = static_cast<int>(q.size(3)),
          .scale = 1.0F / std::sqrt(static_cast<float>(q.size(3))),
          .mask = mask};
}

// Gains and tables in the order of QkNormRotate, or nothing.
using Tables = std::vector<Tensor>;

kernels::QkNormRotate norm_of(at::TensorList tables) {
  if (tables.empty()) return {};
  const auto data = [&](size_t i) { return tables[i].const_data_ptr<float>(); };
  return {data(0), data(1), data(2), data(3), data(4), data(5)};
}

// q: R Q H K; k, v: R S G K; gains and tables follow v where there are any.
struct FrameAttention : torch::autograd::Function<FrameAttention> {
  static Tensor forward(AutogradContext* ctx, at::TensorList inputs, const FrameMask& mask,
                        Tier tier) {
    variable_list saved;
    for (size_t i = 0; i < inputs.size(); ++i)
      saved.push_back(i < 3 ? laid_out(inputs[i], tier) : inputs[i].contiguous());
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const Launching launching(q);
    const Tensor out = at::empty(q.sizes(), q.options());
    const Tensor lse = at::empty({q.size(0), q.size(2), q.size(1)}, q.options().dtype(at::kFloat));
    const kernels::FrameAttention p{.q = in_of(q),
                                    .k = in_of(k),
                                    .v = in_of(v),
                                    .out = out_of(out),
                                    .lse = lse.mutable_data_ptr<float>(),
                                    .norm = norm_of(at::TensorList(saved).slice(3)),
                                    .shape = shape_of(q, k, mask)};
    const auto launch = tier == Tier::kHopper ? kernels::launch_frame_attention_hopper
                                              : kernels::launch_frame_attention;
    Launching::check(launch(p, launching.stream()), "frame attention");
    saved.push_back(out);
    saved.push_back(lse);
    ctx->save_for_backward(saved);
    ctx->saved_data["mask"] = std::vector<int64_t>{mask.tokens, mask.window,  mask.sinks,
                                                   mask.offset, mask.queries, mask.keys};
    ctx->saved_data["tier"] = static_cast<int64_t>(tier);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("frame attention");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &lse = saved.back();
    const at::TensorList tables = at::TensorList(saved).slice(3, saved.size() - 5);
    const auto tier = static_cast<Tier>(ctx->saved_data["tier"].toInt());
    const Tensor grad = laid_out(grads[0], tier);
    const Launching launching(q);
    const kernels::AttentionShape shape = shape_of(q, k, mask_of(ctx));
    const auto floats = [&](int64_t count) { return at::empty({count}, lse.options()); };
    const bool norm = !tables.empty();
    const Tensor grad_q = at::empty(q.sizes(), q.options()),
                 grad_k = at::empty(k.sizes(), k.options()),
                 grad_v = at::empty(v.sizes(), v.options()), delta = at::empty_like(lse),
                 query_gain = floats(norm ? shape.width : 0),
                 key_gain = floats(norm ? shape.width : 0),
                 workspace = floats(norm ? kernels::gain_workspace(shape) : 0);
    const kernels::FrameAttentionBackward p{.q = in_of(q),
                                            .k = in_of(k),
                                            .v = in_of(v),
                                            .out = in_of(saved[saved.size() - 2]),
                                            .grad = in_of(grad),
                                            .lse = lse.const_data_ptr<float>(),
                                            .grad_q = out_of(grad_q),
                                            .grad_k = out_of(grad_k),
                                            .grad_v = out_of(grad_v),
                                            .delta = delta.mutable_data_ptr<float>(),
                                            .norm = norm_of(tables),
                                            .grad_query_gain = query_gain.mutable_data_ptr<float>(),
                                            .grad_key_gain = key_gain.mutable_data_ptr<float>(),
                                            .gain_workspace = workspace.mutable_data_ptr<float>(),
                                            .shape = shape};
    const auto launch = tier == Tier::kHopper ? kernels::launch_frame_attention_backward_hopper
                                              : kernels::launch_frame_attention_backward;
    Launching::check(launch(p, launching.stream()), "frame attention backward");
    variable_list results = {grad_q, grad_k, grad_v};
    if (norm) {
      results.insert(results.end(), {query_gain, key_gain});
      results.resize(3 + tables.size());  // the tables have none
    }
    results.resize(results.size() + 2);  // the mask, the tier
    return results;
  }

 private:
  static FrameMask mask_of(AutogradContext* ctx) {
    const std::vector<int64_t> m = ctx->saved_data["mask"].toIntVector();
    const auto at = [&](size_t i) { return static_cast<int>(m[i]); };
    return {at(0), at(1), at(2), at(3), at(4), at(5)};
  }
};

// R Q H K with R S G K. Nothing where the kernel does not take it.
std::optional<Tensor> attend(const Tensor& q, const Tensor& k, const Tensor& v,
                             const FrameMask& mask, Tier tier, const Tables& tables = {}) {
  const auto is_operand = [&](const Tensor& x) {
    return x.scalar_type() == at::kBFloat16 && x.device() == q.device() && x.numel() > 0 &&
           x.size(0) == q.size(0) && x.size(3) == q.size(3);
  };
  if (!on_capable_gpu(q) || !is_operand(q) || !is_operand(k) || !is_operand(v)) return std::nullopt;
  if (v.sizes() != k.sizes() || !in_range(shape_of(q, k, mask))) return std::nullopt;
  variable_list inputs = {q, k, v};
  inputs.insert(inputs.end(), tables.begin(), tables.end());
  return FrameAttention::apply(at::TensorList(inputs), mask, tier);
}

// Nothing where one of them is not what kernels take.
std::optional<Tables> tables_of(const QkNorm& norm, const Tensor& q, const Tensor& k) {
  const int64_t width = q.size(-1);
  Tables tables = {norm.query_gain,  norm.key_gain, norm.queries.cos,
                   norm.queries.sin, norm.keys.cos, norm.keys.sin};
  for (size_t i = 0; i < tables.size(); ++i) {
    const int64_t rows = i < 4 ? q.size(2) : k.size(2);
    if (i < 2 ? !is_float(tables[i], {width}, q) : !is_float(tables[i], {rows, width / 2}, q))
      return std::nullopt;
    if (i >= 2 && tables[i].requires_grad()) return std::nullopt;
  }
  return tables;
}

}  // namespace

std::optional<Tensor> space_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                      const QkNorm* norm, Tier tier) {
  if (norm != nullptr && tier != Tier::kPortable) return std::nullopt;
  if (!on_capable_gpu(q) || q.dim() != 5 || k.dim() != 5 || v.dim() != 5) return std::nullopt;
  const FrameMask mask =
      kernels::frame_mask({.tokens = k.size(2), .queries = q.size(2), .keys = k.size(2)});
  Tables tables;
  if (norm != nullptr) {
    const std::optional<Tables> found = tables_of(*norm, q, k);
    if (!found) return std::nullopt;
    const Launching on_its_device(q);
    if (!kernels::takes_norm(shape_of(q.flatten(0, 1), k.flatten(0, 1), mask))) return std::nullopt;
    tables = *found;
  }
  const auto out = attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), mask, tier, tables);
  return out ? std::optional(out->view(q.sizes())) : std::nullopt;
}

std::optional<Tensor> frame_causal_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                             const FrameWindow& window, Tier tier) {
  if (!on_capable_gpu(q) || q.dim() != 5 || k.dim() != 5 || v.dim() != 5) return std::nullopt;
  const FrameMask mask = kernels::frame_mask({.tokens = q.size(2),
                                              .window = window.window,
                                              .sinks = window.sinks,
                                              .queries = q.size(1) * q.size(2),
                                              .keys = k.size(1) * k.size(2)});
  const auto out = attend(q.flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2), mask, tier);
  return out ? std::optional(out->view(q.sizes())) : std::nullopt;
}

std::optional<Tensor> frame_causal_attention_step(const Tensor& q, const Tensor& k, const Tensor& v,
                                                  Tier tier) {
  if (!on_capable_gpu(q) || q.dim() != 5 || k.dim() != 5 || v.dim() != 5) return std::nullopt;
  // Frames in any order, all seen: one frame of all keys, and of queries, should they be more.
  const int64_t queries = q.size(1) * q.size(2), keys = k.size(1) * k.size(2);
  const FrameMask mask =
      kernels::frame_mask({.tokens = std::max(queries, keys), .queries = queries, .keys = keys});
  const auto out = attend(q.flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2), mask, tier);
  return out ? std::optional(out->view(q.sizes())) : std::nullopt;
}

namespace {

// Scores and their gradients pass through bfloat16 in another order.
constexpr double kTolerance = 3e-2;

constexpr FrameWindow kWindow{.window = 2, .sinks = 1};

std::vector<Tensor> frames_of_heads(int64_t tokens, int64_t width, const at::TensorOptions& o) {
  return {noise({1, 2, tokens, 4, width}, 0, o), noise({1, 2, tokens, 2, width}, 1, o),
          noise({1, 2, tokens, 2, width}, 2, o)};
}

SelfCheck causal_check(const at::TensorOptions& o, Tier tier) {
  SelfCheck check{
      .kernel =
          [tier](const std::vector<Tensor>& in) {
            if (in[0].size(1) < in[1].size(1))
              return cuda::frame_causal_attention_step(in[0], in[1], in[2], tier).value();
            return cuda::frame_causal_attention(in[0], in[1], in[2], kWindow, tier).value();
          },
      .formula =
          [](const std::vector<Tensor>& in) {
            if (in[0].size(1) < in[1].size(1))
              return formula::frame_causal_attention_step(in[0], in[1], in[2]);
            return formula::frame_causal_attention(in[0], in[1], in[2], kWindow);
          },
      .cases = {},
      .tolerance = kTolerance};
  for (const int64_t width : {64, 128}) {
    for (const int64_t frames : {5, 1}) {  // training, a step
      check.cases.push_back({noise({1, frames, 64, 4, width}, 0, o),
                             noise({1, 5, 64, 2, width}, 1, o), noise({1, 5, 64, 2, width}, 2, o)});
    }
    check.cases.push_back({noise({1, 5, 37, 4, width}, 0, o), noise({1, 5, 37, 2, width}, 1, o),
                           noise({1, 5, 37, 2, width}, 2, o)});
  }
  return check;
}

}  // namespace

// Small enough for one pass with the norm, and too long for it; grouped heads; both widths.
SelfCheck check_of_space_attention(at::TensorOptions o) {
  const at::TensorOptions f = o.dtype(at::kFloat);
  const auto norm_of = [f](const std::vector<Tensor>& in) {
    const auto table = [&](double phase) {
      return noise({in[0].size(2), in[0].size(4) / 2}, phase, f);
    };
    const RopeTable rotation{.cos = table(4), .sin = table(5)};
    return QkNorm{.query_gain = in[3], .key_gain = in[4], .queries = rotation, .keys = rotation};
  };
  const auto rotated = [](const Tensor& x, const Tensor& gain, const QkNorm& norm) {
    return formula::norm_rotate(x.flatten(0, 1), gain, norm.queries.cos, norm.queries.sin)
        .view(x.sizes());
  };
  using Inputs = std::vector<Tensor>;
  SelfCheck check{.kernel =
                      [=](const Inputs& in) {
                        if (in.size() == 3)
                          return cuda::space_attention(in[0], in[1], in[2]).value();
                        const QkNorm norm = norm_of(in);
                        // A chip without room for it leaves the norm outside.
                        if (const auto y = cuda::space_attention(in[0], in[1], in[2], &norm))
                          return *y;
                        return cuda::space_attention(rotated(in[0], in[3], norm),
                                                     rotated(in[1], in[4], norm), in[2])
                            .value();
                      },
                  .formula =
                      [=](const Inputs& in) {
                        if (in.size() == 3) return formula::space_attention(in[0], in[1], in[2]);
                        const QkNorm norm = norm_of(in);
                        return formula::space_attention(rotated(in[0], in[3], norm),
                                                        rotated(in[1], in[4], norm), in[2]);
                      },
                  .cases = {},
                  .tolerance = kTolerance};
  for (const int64_t width : {64, 128}) {
    check.cases.push_back(frames_of_heads(300, width, o));
    check.cases.push_back(frames_of_heads(77, width, o));
    check.cases.back().push_back(noise({width}, 3, f));
    check.cases.back().push_back(noise({width}, 4, f));
  }
  return check;
}

SelfCheck check_of_space_attention_hopper(at::TensorOptions o) {
  SelfCheck check{
      .kernel =
          [](const std::vector<Tensor>& in) {
            return cuda::space_attention(in[0], in[1], in[2], nullptr, Tier::kHopper).value();
          },
      .formula =
          [](const std::vector<Tensor>& in) {
            return formula::space_attention(in[0], in[1], in[2]);
          },
      .cases = {},
      .tolerance = kTolerance};
  for (const int64_t width : {64, 128}) {
    for (const int64_t tokens : {300, 77}) check.cases.push_back(frames_of_heads(tokens, width, o));
  }
  return check;
}

SelfCheck check_of_frame_causal_attention(at::TensorOptions o) {
  return causal_check(o, Tier::kPortable);
}
SelfCheck check_of_frame_causal_attention_hopper(at::TensorOptions o) {
  return causal_check(o, Tier::kHopper);
}

namespace checked {
namespace {

// The best tier of two kernels that serves `q`; nothing where neither does.
std::optional<Tier> tier_for(Kernel hopper, Kernel portable, const Tensor& q) {
  if (usable(hopper, q, q.scalar_type())) return Tier::kHopper;
  if (usable(portable, q, q.scalar_type())) return Tier::kPortable;
  return std::nullopt;
}
std::optional<Tier> causal_tier(const Tensor& q) {
  return tier_for(Kernel::frame_causal_attention_hopper, Kernel::frame_causal_attention, q);
}

}  // namespace

std::optional<Tensor> space_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                      const QkNorm* norm) {
  if (norm != nullptr) {
    if (!usable(Kernel::space_attention, q, q.scalar_type())) return std::nullopt;
    return cuda::space_attention(q, k, v, norm);
  }
  const auto tier = tier_for(Kernel::space_attention_hopper, Kernel::space_attention, q);
  return tier ? cuda::space_attention(q, k, v, nullptr, *tier) : std::nullopt;
}

std::optional<Tensor> frame_causal_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                             const FrameWindow& window) {
  const auto tier = causal_tier(q);
  return tier ? cuda::frame_causal_attention(q, k, v, window, *tier) : std::nullopt;
}

// The same kernels with another mask.
std::optional<Tensor> frame_causal_attention_step(const Tensor& q, const Tensor& k,
                                                  const Tensor& v) {
  const auto tier = causal_tier(q);
  return tier ? cuda::frame_causal_attention_step(q, k, v, *tier) : std::nullopt;
}

}  // namespace checked
}  // namespace praxino::ops::cuda
