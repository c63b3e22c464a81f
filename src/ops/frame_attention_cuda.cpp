#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

#include "attention_cuda.h"
#include "kernel_registry.h"
#include "kernels/frame_attention_hopper.h"
#include "kernels/frame_attention_plan.h"
#include "kernels/join_attention.h"
#include "kernels/time_attention.h"
#include "launch_cuda.h"

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
Tensor laid_out(const Tensor& x, Tier tier) { return rows_lie_well(x, tier) ? x : aligned(x); }

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

// `places` of whose heads side by side are the heads of a token.
kernels::AttentionShape shape_of(const Tensor& q, const Tensor& k, const FrameMask& mask,
                                 int64_t places = 1) {
  return {.batch = q.size(0),
          .heads = q.size(2),
          .key_heads = k.size(2),
          .width = static_cast<int>(q.size(3)),
          .scale = 1.0F / std::sqrt(static_cast<float>(q.size(3))),
          .mask = mask,
          .places = static_cast<int>(places)};
}

// Gains and tables in the order of QkNormRotate, or nothing.
using Tables = std::vector<Tensor>;

kernels::QkNormRotate norm_of(at::TensorList tables) {
  if (tables.empty()) return {};
  const auto data = [&](size_t i) { return tables[i].const_data_ptr<float>(); };
  return {data(0), data(1), data(2), data(3), data(4), data(5)};
}

struct Attended {
  Tensor out;  // as q
  Tensor lse;  // R H Q: the logarithm of each row's sum
};

// Operands laid out, gains and tables after them where there are any.
Attended attended(const variable_list& in, const FrameMask& mask, int64_t places, Tier tier) {
  const Tensor &q = in[0], &k = in[1];
  const Launching launching(q);
  Attended to{.out = at::empty(q.sizes(), q.options()),
              .lse = at::empty({q.size(0), q.size(2), q.size(1)}, q.options().dtype(at::kFloat))};
  const kernels::FrameAttention p{.q = in_of(q),
                                  .k = in_of(k),
                                  .v = in_of(in[2]),
                                  .out = out_of(to.out),
                                  .lse = to.lse.mutable_data_ptr<float>(),
                                  .norm = norm_of(at::TensorList(in).slice(3)),
                                  .shape = shape_of(q, k, mask, places)};
  const auto launch = tier == Tier::kHopper ? kernels::launch_frame_attention_hopper
                                            : kernels::launch_frame_attention;
  Launching::check(launch(p, launching.stream()), "frame attention");
  return to;
}

// q: R Q H K; k, v: R S G K; gains and tables follow v where there are any.
struct FrameAttention : torch::autograd::Function<FrameAttention> {
  static Tensor forward(AutogradContext* ctx, at::TensorList inputs, const FrameMask& mask,
                        int64_t places, Tier tier) {
    variable_list saved;
    for (size_t i = 0; i < inputs.size(); ++i)
      saved.push_back(i < 3 ? laid_out(inputs[i], tier) : aligned(inputs[i]));
    const Attended result = attended(saved, mask, places, tier);
    saved.push_back(result.out);
    saved.push_back(result.lse);
    ctx->save_for_backward(saved);
    ctx->saved_data["mask"] = std::vector<int64_t>{mask.tokens, mask.window,  mask.sinks,
                                                   mask.offset, mask.queries, mask.keys};
    ctx->saved_data["places"] = places;
    ctx->saved_data["tier"] = static_cast<int64_t>(tier);
    return result.out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("frame attention");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &lse = saved.back();
    const at::TensorList tables = at::TensorList(saved).slice(3, saved.size() - 5);
    const auto tier = static_cast<Tier>(ctx->saved_data["tier"].toInt());
    const Tensor grad = laid_out(grads[0], tier);
    const Launching launching(q);
    const kernels::AttentionShape shape =
        shape_of(q, k, mask_of(ctx), ctx->saved_data["places"].toInt());
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
    results.resize(results.size() + 3);  // the mask, the places, the tier
    return results;
  }

 private:
  static FrameMask mask_of(AutogradContext* ctx) {
    const std::vector<int64_t> m = ctx->saved_data["mask"].toIntVector();
    const auto at = [&](size_t i) { return static_cast<int>(m[i]); };
    return {at(0), at(1), at(2), at(3), at(4), at(5)};
  }
};

// R Q H K with R S G K.
bool is_served(const Tensor& q, const Tensor& k, const Tensor& v) {
  const auto is_operand = [&](const Tensor& x) {
    return x.scalar_type() == at::kBFloat16 && x.device() == q.device() && x.numel() > 0 &&
           x.size(0) == q.size(0) && x.size(3) == q.size(3);
  };
  return on_capable_gpu(q) && is_operand(q) && is_operand(k) && is_operand(v) &&
         v.sizes() == k.sizes();
}

// A new frame over a cache, R Q H K with R S G K. Frames in any order, all seen: one frame of all
// keys, and of queries, should they be more.
FrameMask mask_of_step(const Tensor& q, const Tensor& k) {
  return kernels::frame_mask(
      {.tokens = std::max(q.size(1), k.size(1)), .queries = q.size(1), .keys = k.size(1)});
}

// R Q H K with R S G K. Nothing where the kernel does not take it.
std::optional<Tensor> attend(const Tensor& q, const Tensor& k, const Tensor& v,
                             const FrameMask& mask, Tier tier, const Tables& tables = {},
                             int64_t places = 1) {
  if (!is_served(q, k, v) || !in_range(shape_of(q, k, mask, places))) return std::nullopt;
  variable_list inputs = {q, k, v};
  inputs.insert(inputs.end(), tables.begin(), tables.end());
  return FrameAttention::apply(at::TensorList(inputs), mask, places, tier);
}

// Nothing where one of them is not what kernels take, for as many positions.
std::optional<Tables> tables_of(const QkNorm& norm, const Tensor& q, int64_t of_queries,
                                int64_t of_keys) {
  const int64_t width = q.size(-1);
  Tables tables = {norm.query_gain,  norm.key_gain, norm.queries.cos,
                   norm.queries.sin, norm.keys.cos, norm.keys.sin};
  for (size_t i = 0; i < tables.size(); ++i) {
    const int64_t rows = i < 4 ? of_queries : of_keys;
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
    const std::optional<Tables> found = tables_of(*norm, q, q.size(2), k.size(2));
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
  if (k.size(1) != q.size(1) || k.size(2) != q.size(2)) return std::nullopt;
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
  const Tensor rows = q.flatten(1, 2), keys = k.flatten(1, 2);
  const auto out = attend(rows, keys, v.flatten(1, 2), mask_of_step(rows, keys), tier);
  return out ? std::optional(out->view(q.sizes())) : std::nullopt;
}

std::optional<Tensor> frame_causal_attention_parts(const Tensor& q, const Tensor& k,
                                                   const Tensor& v, Tier tier,
                                                   std::optional<int64_t> wanted) {
  if (at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad()))
    return std::nullopt;  // parts have no gradient
  if (q.dim() != 5 || k.dim() != 5 || v.dim() != 5) return std::nullopt;
  const Tensor rows = q.flatten(1, 2), keys = k.flatten(1, 2), values = v.flatten(1, 2);
  if (!is_served(rows, keys, values)) return std::nullopt;
  const Launching launching(q);
  const int64_t parts = wanted.value_or(parts_of_keys(
      shape_of(rows, keys, mask_of_step(rows, keys)), kernels::time_device().multiprocessors));
  if (parts < 2 || keys.size(1) % parts != 0) return std::nullopt;
  // B S G K -> (B parts) S/parts G K. A copy of the cache would take longer than parts save.
  for (const Tensor& x : {keys, values}) {
    if (x.size(0) > 1 && x.stride(0) != x.size(1) * x.stride(1)) return std::nullopt;
  }
  const auto split = [parts](const Tensor& x) {
    return x.unflatten(1, {parts, x.size(1) / parts}).flatten(0, 1);
  };
  const Tensor repeated = rows.unsqueeze(1)
                              .expand({-1, parts, -1, -1, -1})
                              .reshape({-1, rows.size(1), rows.size(2), rows.size(3)});
  const variable_list in = {laid_out(repeated, tier), laid_out(split(keys), tier),
                            laid_out(split(values), tier)};
  const FrameMask mask = mask_of_step(in[0], in[1]);
  if (!in_range(shape_of(in[0], in[1], mask))) return std::nullopt;
  const Attended of_parts = attended(in, mask, 1, tier);
  const Tensor out = at::empty(q.sizes(), q.options());
  const kernels::JoinAttention p{
      .results = static_cast<const kernels::Bf16*>(of_parts.out.const_data_ptr()),
      .lse = of_parts.lse.const_data_ptr<float>(),
      .out = static_cast<kernels::Bf16*>(out.mutable_data_ptr()),
      .batch = rows.size(0),
      .parts = parts,
      .queries = rows.size(1),
      .heads = rows.size(2),
      .width = rows.size(3)};
  Launching::check(kernels::launch_join_attention(p, launching.stream()), "joining attention");
  return out;
}

std::optional<Tensor> time_attention_long(const Tensor& q, const Tensor& k, const Tensor& v,
                                          const QkNorm* norm, const FrameWindow& window) {
  if (!on_capable_gpu(q) || q.dim() != 5 || k.dim() != 5 || v.dim() != 5) return std::nullopt;
  const int64_t frames = q.size(1), places = q.size(2);
  if (frames > kMostLongFrames || k.size(1) != frames || k.size(2) != places || places == 0 ||
      places > INT32_MAX)
    return std::nullopt;
  const FrameMask mask = kernels::frame_mask({.tokens = 1,
                                              .window = window.window,
                                              .sinks = window.sinks,
                                              .queries = frames,
                                              .keys = frames});
  // A frame is one token with the heads of all of its places.
  const auto wide = [](const Tensor& x) { return x.flatten(2, 3); };
  const Tensor wide_q = wide(q), wide_k = wide(k);
  Tables tables;
  if (norm != nullptr) {
    const std::optional<Tables> found = tables_of(*norm, q, frames * places, frames * places);
    if (!found || wide_k.size(2) == 0) return std::nullopt;
    const Launching on_its_device(q);
    if (!kernels::takes_norm(shape_of(wide_q, wide_k, mask, places))) return std::nullopt;
    tables = *found;
  }
  const auto out = attend(wide_q, wide_k, wide(v), mask, Tier::kPortable, tables, places);
  return out ? std::optional(out->view(q.sizes())) : std::nullopt;
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
  if (norm != nullptr) {  // what is refused comes back without it
    if (!usable(Kernel::space_attention, q, q.scalar_type())) return std::nullopt;
    return cuda::space_attention(q, k, v, norm);
  }
  const auto tier = tier_for(Kernel::space_attention_hopper, Kernel::space_attention, q);
  if (!tier) return std::nullopt;
  return taken_or_told(Kernel::space_attention, q, q.scalar_type(),
                       cuda::space_attention(q, k, v, nullptr, *tier));
}

std::optional<Tensor> frame_causal_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                             const FrameWindow& window) {
  const auto tier = causal_tier(q);
  if (!tier) return std::nullopt;
  return taken_or_told(Kernel::frame_causal_attention, q, q.scalar_type(),
                       cuda::frame_causal_attention(q, k, v, window, *tier));
}

// The same kernels with another mask.
std::optional<Tensor> frame_causal_attention_step(const Tensor& q, const Tensor& k,
                                                  const Tensor& v) {
  const auto tier = causal_tier(q);
  if (!tier) return std::nullopt;
  if (usable(Kernel::frame_causal_attention_parts, q, q.scalar_type())) {
    if (auto y = cuda::frame_causal_attention_parts(q, k, v, *tier)) return y;
  }
  return taken_or_told(Kernel::frame_causal_attention, q, q.scalar_type(),
                       cuda::frame_causal_attention_step(q, k, v, *tier));
}

}  // namespace checked
}  // namespace praxino::ops::cuda
