#include "praxino/layers/slice.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace praxino {
namespace {

int64_t matrix_dim(const at::Tensor& batch, int64_t dim) { return batch.dim() - 2 + dim; }

}  // namespace

int64_t Slice::length(int64_t of_rank) const {
  int64_t sum = 0;
  for (const Share& range : ranges[static_cast<size_t>(of_rank)]) sum += range.count;
  return sum;
}

int64_t Slice::longest() const {
  int64_t most = 0;
  for (int64_t r = 0; r < ranks(); ++r) most = std::max(most, length(r));
  return most;
}

int64_t Slice::whole_length() const {
  int64_t sum = 0;
  for (int64_t r = 0; r < ranks(); ++r) sum += length(r);
  return sum;
}

std::vector<int64_t> Slice::whole_sizes(at::IntArrayRef part_sizes) const {
  std::vector<int64_t> sizes = part_sizes.vec();
  sizes[sizes.size() - 2 + static_cast<size_t>(dim)] = whole_length();
  return sizes;
}

at::Tensor Slice::part_of(const at::Tensor& whole) const {
  std::vector<at::Tensor> pieces;
  for (const Share& range : ranges[static_cast<size_t>(rank)]) {
    pieces.push_back(whole.narrow(matrix_dim(whole, dim), range.begin, range.count));
  }
  return at::cat(pieces, matrix_dim(whole, dim));
}

at::Tensor Slice::join(const std::vector<at::Tensor>& parts) const {
  at::Tensor whole = at::empty(whole_sizes(parts.front().sizes()), parts.front().options());
  const int64_t along = matrix_dim(whole, dim);
  for (size_t r = 0; r < parts.size(); ++r) {
    int64_t begin = 0;
    for (const Share& range : ranges[r]) {
      whole.narrow(along, range.begin, range.count)
          .copy_(parts[r].narrow(along, begin, range.count));
      begin += range.count;
    }
  }
  return whole;
}

Slice slice_of(int64_t dim, int64_t length, int64_t unit, int64_t ranks, int64_t rank,
               int64_t copies) {
  TORCH_CHECK(length % unit == 0, "slice_of: ", length, " is no multiple of ", unit);
  Slice slice{.dim = dim, .rank = rank, .ranges = {}};
  for (int64_t r = 0; r < ranks; ++r) {
    const Share share = share_of(length / unit, ranks, r);
    std::vector<Share>& ranges = slice.ranges.emplace_back();
    for (int64_t copy = 0; copy < copies; ++copy) {
      ranges.push_back({.begin = copy * length + share.begin * unit, .count = share.count * unit});
    }
  }
  return slice;
}

}  // namespace praxino
