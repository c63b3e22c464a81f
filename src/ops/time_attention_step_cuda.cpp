#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "attention_cuda.h"
#include "kernel_registry.h"
#include "kernels/time_attention.h"
#include "launch_cuda.h"
#include "praxino/ops/norm.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;

// B F N G K whose frames lie together, such as the used slots of a cache.
bool frames_together(const Tensor& x) {
  return x.select(0, 0).is_contiguous() && kernels::aligned_16(x.const_data_ptr());
}

kernels::TimeAttentionStep step_of(const Tensor& q, const Tensor& k) {
  return {.q = nullptr,
          .k = nullptr,
          .v = nullptr,
          .o = nullptr,
          .cache_batch = k.size(0) == 1 ? k.numel() : k.stride(0),
          .queries = {},
          .keys = {},
          .batch = q.size(0),
          .places = q.size(2),
          .kv_heads = k.size(3),
          .group = q.size(3) / k.size(3),
          .frames = k.size(1),
          .width = q.size(4),
          .query_element = *element_of(q.scalar_type()),
          .element = *element_of(k.scalar_type())};
}

bool served(const Tensor& q, const Tensor& k, const Tensor& v, const QkNorm& norm) {
  if (!on_capable_gpu(q) || !on_capable_gpu(k) || q.dim() != 5 || k.dim() != 5) return false;
  if (at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad() ||
                                     norm.query_gain.requires_grad()))
    return false;  // the kernel has no gradient
  if (!element_of(q.scalar_type()) || !element_of(k.scalar_type())) return false;
  if (v.scalar_type() != k.scalar_type() || v.sizes() != k.sizes() || v.strides() != k.strides())
    return false;
  if (k.device() != q.device() || v.device() != q.device() || q.size(1) != 1) return false;
  for (const int64_t dim : {0, 2, 4}) {
    if (q.size(dim) != k.size(dim)) return false;
  }
  if (q.size(3) % k.size(3) != 0 || !frames_together(k) || !frames_together(v)) return false;
  const auto is_table = [&](const RopeTable& table, int64_t positions) {
    return is_float(table.cos, {positions, q.size(4) / 2}, q) &&
           is_float(table.sin, {positions, q.size(4) / 2}, q);
  };
  return is_float(norm.query_gain, {q.size(4)}, q) && is_table(norm.queries, q.size(2)) &&
         is_table(norm.keys, k.size(1) * k.size(2)) && in_range(step_of(q, k));
}

}  // namespace

std::optional<Tensor> time_attention_step(const Tensor& q_in, const Tensor& k, const Tensor& v,
                                          const QkNorm& norm) {
  if (!served(q_in, k, v, norm)) return std::nullopt;
  const Launching launching(q_in);
  const Tensor q = aligned(q_in), gain = aligned(norm.query_gain),
               query_cos = aligned(norm.queries.cos), query_sin = aligned(norm.queries.sin),
               key_cos = aligned(norm.keys.cos), key_sin = aligned(norm.keys.sin);
  const Tensor o = at::empty(q.sizes(), k.options());
  kernels::TimeAttentionStep p = step_of(q, k);
  p.q = q.const_data_ptr();
  p.k = k.const_data_ptr();
  p.v = v.const_data_ptr();
  p.o = o.mutable_data_ptr();
  p.queries = {gain.const_data_ptr<float>(), query_cos.const_data_ptr<float>(),
               query_sin.const_data_ptr<float>()};
  p.keys = {nullptr, key_cos.const_data_ptr<float>(), key_sin.const_data_ptr<float>()};
  Launching::check(kernels::launch_time_attention_step(p, launching.stream()),
                   "time_attention_step");
  return o;
}

SelfCheck check_of_time_attention_step(at::TensorOptions o) {
  using Inputs = std::vector<Tensor>;
  const auto norm_of = [](const Inputs& in) {
    const int64_t places = in[0].size(2), half = in[0].size(4) / 2;
    const auto angles = [&](int64_t positions, double phase) {
      return wave({positions, half}, phase, in[0].options().dtype(at::kFloat));
    };
    const int64_t keys = in[1].size(1) * places;
    return QkNorm{
        in[3], in[3], {angles(places, 5), angles(places, 6)}, {angles(keys, 7), angles(keys, 8)}};
  };
  SelfCheck check{
      .kernel =
          [norm_of](const Inputs& in) {
            const at::NoGradGuard no_gradient;  // it has none
            return cuda::time_attention_step(in[0], in[1], in[2], norm_of(in)).value();
          },
      .formula =
          [norm_of](const Inputs& in) {
            const at::NoGradGuard no_gradient;
            const QkNorm norm = norm_of(in);
            const Tensor q = formula::norm_rotate(in[0].squeeze(1), norm.query_gain,
                                                  norm.queries.cos, norm.queries.sin);
            const Tensor k = formula::rotate(in[1].flatten(1, 2), norm.keys.cos, norm.keys.sin);
            return ops::time_attention_step(q.unsqueeze(1), k.view(in[1].sizes()), in[2]);
          },
      .cases = {},
      .tolerance = o.dtype().toScalarType() == at::kBFloat16 ? 3e-2 : 1e-4};
  for (const int64_t width : {64, 128}) {
    check.cases.push_back({noise({2, 1, 3, 6, width}, 0, o), noise({2, 9, 3, 2, width}, 1, o),
                           noise({2, 9, 3, 2, width}, 2, o),
                           noise({width}, 3, o.dtype(at::kFloat))});
  }
  return check;
}

std::optional<Tensor> checked::time_attention_step(const Tensor& q, const Tensor& k,
                                                   const Tensor& v, const QkNorm& norm) {
  if (!usable(Kernel::time_attention_step, q, k.scalar_type())) return std::nullopt;
  return taken_or_told(Kernel::time_attention_step, q, k.scalar_type(),
                       cuda::time_attention_step(q, k, v, norm));
}

}  // namespace praxino::ops::cuda
