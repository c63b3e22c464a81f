#include <ATen/ops/addmm.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>

#include "fused_cuda.h"
#include "praxino/ops/quantize.h"
#include "tokens_cuda.h"

namespace praxino::ops {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kElementsAtOnce = int64_t{1} << 22;  // of double

void check_codebook(const Tensor& x, const Tensor& codebook) {
  TORCH_CHECK(codebook.dim() == 2 && codebook.size(0) > 0 && codebook.scalar_type() == at::kFloat,
              "nearest_code: a codebook is a float32 matrix with rows, not ",
              codebook.scalar_type(), " ", codebook.sizes());
  TORCH_CHECK(x.dim() > 0 && x.is_floating_point() && x.size(-1) == codebook.size(1),
              "nearest_code: vectors of ", x.sizes(), " have not the width of the codebook, ",
              codebook.size(1));
}

// nearest(some rows of x), of so many rows at a time that `elements_of_row` stay bounded.
template <class Nearest>
Tensor by_parts(const Tensor& x, int64_t elements_of_row, Nearest nearest) {
  const Tensor rows = x.reshape({-1, x.size(-1)});
  const int64_t count = rows.size(0),
                step = std::max<int64_t>(1, kElementsAtOnce / elements_of_row);
  std::vector<Tensor> parts;
  for (int64_t first = 0; first < count; first += step)
    parts.push_back(nearest(rows.narrow(0, first, std::min(step, count - first))));
  const auto sizes = x.sizes().slice(0, static_cast<size_t>(x.dim() - 1));
  return parts.empty() ? at::empty(sizes, x.options().dtype(at::kLong))
                       : at::cat(parts).view(sizes);
}

// The largest x . c - |c|^2 / 2 in double, where it is larger than the next by more than both can
// be off; the other rows by the formula. Sums of n products of double in any order are off by less
// than n 2^-52 of the sum of their magnitudes.
Tensor nearest_by_products(const Tensor& x, const Tensor& codebook) {
  if (codebook.size(0) == 1) return formula::nearest_code(x, codebook);
  const Tensor c = codebook.to(at::kDouble), half = c.square().sum(-1) * 0.5;
  const Tensor longest = (half.max() * 2).sqrt();
  const double unit = static_cast<double>(c.size(1) + 8) * std::numeric_limits<double>::epsilon();
  return by_parts(x, codebook.size(0), [&](const Tensor& part) {
    const Tensor rows = part.to(at::kDouble);
    const auto [score, index] = at::addmm(half, rows, c.t(), -1.0, 1.0).topk(2, 1);
    const Tensor error = (rows.norm(2, 1) * longest + longest.square()) * unit;
    const Tensor sure = score.select(1, 0) - score.select(1, 1) > error * 2;
    Tensor nearest = index.select(1, 0).clone();
    const Tensor unsure = sure.logical_not().nonzero().squeeze(1);
    if (unsure.size(0) > 0)
      nearest.index_copy_(0, unsure, formula::nearest_code(part.index_select(0, unsure), codebook));
    return nearest;
  });
}

// Codes in the place of x, with its gradient.
struct StraightThrough : torch::autograd::Function<StraightThrough> {
  static Tensor forward(AutogradContext*, const Tensor& x, const Tensor& codes) {
    return codes.to(x.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
  }
  static variable_list backward(AutogradContext*, const variable_list& grads) {
    return {grads[0], Tensor()};
  }
};

}  // namespace

namespace formula {

Tensor nearest_code(const Tensor& x, const Tensor& codebook) {
  const Tensor c = codebook.detach().to(at::kDouble);
  return by_parts(x.detach(), c.numel(), [&](const Tensor& rows) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    return (rows.to(at::kDouble).unsqueeze(1) - c)
        .square()
        .sum(-1)
        .nan_to_num(kInfinity, kInfinity)
        .argmin(1);
  });
}

CodeStatistics code_statistics(const Tensor& x, const Tensor& indices, int64_t codes) {
  const Tensor rows = x.detach().reshape({-1, x.size(-1)}).to(at::kFloat), to = indices.flatten();
  return {at::bincount(to, {}, codes),
          at::zeros({codes, x.size(-1)}, rows.options()).index_add_(0, to, rows)};
}

}  // namespace formula

Tensor nearest_code(const Tensor& x_in, const Tensor& codebook_in) {
  check_codebook(x_in, codebook_in);
  const Tensor x = x_in.detach(), codebook = codebook_in.detach();
  if constexpr (cuda::kBuilt) {
    if (const auto indices = cuda::checked::nearest_code(x, codebook)) return *indices;
  }
  return nearest_by_products(x, codebook);
}

Quantized vector_quantize(const Tensor& x, const Tensor& codebook) {
  const Tensor indices = nearest_code(x, codebook);
  const Tensor codes = codebook.detach().index_select(0, indices.flatten()).view(x.sizes());
  return {.codes = StraightThrough::apply(x, codes), .indices = indices};
}

CodeStatistics code_statistics(const Tensor& x, const Tensor& indices, int64_t codes) {
  TORCH_CHECK(x.dim() > 0 && codes > 0 && indices.scalar_type() == at::kLong &&
                  indices.sizes() == x.sizes().slice(0, static_cast<size_t>(x.dim() - 1)),
              "code_statistics: indices of ", indices.sizes(), " do not belong to vectors of ",
              x.sizes());
  if constexpr (cuda::kBuilt) {
    if (auto found = cuda::checked::code_statistics(x, indices, codes)) return *found;
  }
  return formula::code_statistics(x, indices, codes);
}

}  // namespace praxino::ops
