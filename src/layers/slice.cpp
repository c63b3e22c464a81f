#include "praxino/layers/slice.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>

#include "praxino/parallel/exchange.h"

namespace praxino {
namespace {

int64_t matrix_dim(const at::Tensor& batch, int64_t dim) { return batch.dim() - 2 + dim; }

}  // namespace

int64_t Slice::length(int64_t of_rank) const {
  int64_t sum = 0;
  for (const Share& range : ranges[static_cast<size_t>(of_rank)]) sum += range.count;
  return sum;
}

std::vector<int64_t> Slice::lengths() const {
  std::vector<int64_t> all;
  for (int64_t r = 0; r < ranks(); ++r) all.push_back(length(r));
  return all;
}

int64_t Slice::longest() const { return std::ranges::max(lengths()); }

int64_t Slice::whole_length() const {
  const std::vector<int64_t> all = lengths();
  return std::reduce(all.begin(), all.end());
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

at::Tensor trade_parts(const at::Tensor& parts, const Slice& slice,
                       const std::vector<int64_t>& counts, const Communicator& group) {
  const at::NoGradGuard no_grad;
  return switch_pieces(parts, 1 + slice.dim, slice.lengths(), 0, counts, group);
}

at::Tensor trade_back(const at::Tensor& wholes, const Slice& slice,
                      const std::vector<int64_t>& counts, const Communicator& group) {
  const at::NoGradGuard no_grad;
  return switch_pieces(wholes, 0, counts, 1 + slice.dim, slice.lengths(), group);
}

at::Tensor whole_at(int64_t to, const at::Tensor& part, const Slice& slice,
                    const Communicator& group) {
  std::vector<int64_t> counts(static_cast<size_t>(group.size()));
  counts[static_cast<size_t>(to)] = 1;
  const at::Tensor all = trade_parts(part.unsqueeze(0), slice, counts, group);
  if (group.rank() != to) return {};
  return slice.join(all.squeeze(0).split_with_sizes(slice.lengths(), slice.dim));
}

}  // namespace praxino
