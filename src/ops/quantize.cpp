#include "praxino/ops/quantize.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include "fused_cuda.h"
#include "kernels/fsq.h"
#include "praxino/ops/upload.h"
#include "tokens_cuda.h"

namespace praxino::ops {
namespace {

using at::Tensor;

kernels::FsqLevels checked_levels(const Tensor& z, at::IntArrayRef levels) {
  TORCH_CHECK(z.dim() > 0 && z.size(-1) == static_cast<int64_t>(levels.size()) &&
                  levels.size() <= kernels::kMaxFsqChannels,
              "finite_scalar_quantize: ", levels.size(), " levels do not fit values of ",
              z.sizes());
  kernels::FsqLevels result{.channels = static_cast<int>(levels.size())};
  for (size_t i = 0; i < levels.size(); ++i) {
    TORCH_CHECK(levels[i] >= 2 && levels[i] <= kernels::kMaxFsqLevels,
                "finite_scalar_quantize: 2 to ", kernels::kMaxFsqLevels, " levels, not ",
                levels[i]);
    result.of[i] = static_cast<int>(levels[i]);
  }
  TORCH_CHECK(kernels::in_range(result), "finite_scalar_quantize: levels of ", levels,
              " have more codes than can be counted");
  return result;
}

}  // namespace

Quantized formula::finite_scalar_quantize(const Tensor& z, at::IntArrayRef levels) {
  std::vector<float> halves;
  std::vector<int64_t> basis;
  for (const int64_t level : levels) {
    halves.push_back(0.5F * static_cast<float>(level - 1));
    basis.push_back(basis.empty() ? 1 : basis.back() * levels[basis.size() - 1]);
  }
  const Tensor half = upload(at::tensor(halves), z.device());
  const Tensor u = z.to(at::kFloat).tanh(), q = ((u.detach() + 1.0) * half).round();
  const Tensor code = at::where(u.detach().isnan(), u.detach(), q / half - 1.0);
  const Tensor index =
      (q.nan_to_num(0).to(at::kLong) * upload(at::tensor(basis), z.device())).sum(-1);
  // The value is the code's to the bit: u - u is zero.
  return {(code + (u - u.detach())).to(z.scalar_type()), index};
}

Quantized finite_scalar_quantize(const Tensor& z, at::IntArrayRef levels) {
  [[maybe_unused]] const kernels::FsqLevels book = checked_levels(z, levels);
  if constexpr (cuda::kBuilt) {
    if (const auto quantized = cuda::checked::finite_scalar_quantize(z, book)) return *quantized;
  }
  return formula::finite_scalar_quantize(z, levels);
}

}  // namespace praxino::ops
