#include <ATen/ops/empty.h>
#include <ATen/ops/sort.h>

#include "kernels/code_sums.h"
#include "kernels/nearest_code_hopper.h"
#include "launch_cuda.h"
#include "tokens_cuda.h"

namespace praxino::ops::cuda {
using at::Tensor;

std::optional<Tensor> nearest_code(const Tensor& x_in, const Tensor& codebook_in,
                                   kernels::Tier tier) {
  if (!on_capable_gpu(x_in) || !element_of(x_in.scalar_type())) return std::nullopt;
  const int64_t width = x_in.size(-1), rows = x_in.numel() / width, codes = codebook_in.size(0);
  if (!is_float(codebook_in, {codes, width}, x_in) ||
      !kernels::codebook_in_range(rows, codes, width)) {
    return std::nullopt;
  }
  const Tensor x = aligned(x_in.detach()), codebook = aligned(codebook_in.detach());
  const Launching launching(x);
  const Tensor indices = at::empty(x.sizes().slice(0, static_cast<size_t>(x.dim() - 1)),
                                   x.options().dtype(at::kLong)),
               workspace = at::empty({kernels::nearest_code_parts(rows, codes, width).end},
                                     x.options().dtype(at::kByte));
  const kernels::NearestCode p{.x = x.const_data_ptr(),
                               .codebook = codebook.const_data_ptr<float>(),
                               .indices = indices.mutable_data_ptr<int64_t>(),
                               .workspace = workspace.mutable_data_ptr(),
                               .rows = rows,
                               .codes = codes,
                               .width = width,
                               .element = *element_of(x.scalar_type())};
  const auto launch = tier == kernels::Tier::kHopper ? kernels::launch_nearest_code_hopper
                                                     : kernels::launch_nearest_code;
  Launching::check(launch(p, launching.stream()), "nearest_code");
  return indices;
}

std::optional<CodeStatistics> code_statistics(const Tensor& x_in, const Tensor& indices,
                                              int64_t codes) {
  if (!on_capable_gpu(x_in) || !element_of(x_in.scalar_type()) ||
      indices.device() != x_in.device()) {
    return std::nullopt;
  }
  const Tensor x = x_in.detach().contiguous();
  const Launching launching(x);
  // A sort takes time by the bits of its keys. The kernel leaves out what is no code: -1, `codes`.
  const at::ScalarType key = codes <= INT16_MAX   ? at::kShort
                             : codes <= INT32_MAX ? at::kInt
                                                  : at::kLong;
  const auto [keys, order] = at::sort(indices.flatten().clamp(-1, codes).to(key), /*stable=*/true,
                                      /*dim=*/0, /*descending=*/false);
  const Tensor sorted = keys.to(at::kLong);
  const int64_t width = x.size(-1), rows = x.numel() / width;
  const at::TensorOptions floats = x.options().dtype(at::kFloat);
  const CodeStatistics found{at::empty({codes}, indices.options()),
                             at::empty({codes, width}, floats)};
  const Tensor workspace = at::empty({kernels::code_sums_workspace(rows, width)}, floats);
  const kernels::CodeSums p{.x = x.const_data_ptr(),
                            .sorted = sorted.const_data_ptr<int64_t>(),
                            .order = order.const_data_ptr<int64_t>(),
                            .counts = found.counts.mutable_data_ptr<int64_t>(),
                            .sums = found.sums.mutable_data_ptr<float>(),
                            .workspace = workspace.mutable_data_ptr<float>(),
                            .rows = rows,
                            .codes = codes,
                            .width = width,
                            .element = *element_of(x.scalar_type())};
  const kernels::Status status = kernels::launch_code_sums(p, launching.stream());
  if (status.code == kernels::kRefused.code) return std::nullopt;
  Launching::check(status, "code_statistics");
  return found;
}

}  // namespace praxino::ops::cuda
