#pragma once
// Matrices that several ranks share (tensor parallelism: Shoeybi et al., "Megatron-LM", arXiv
// 1909.08053): each holds some of the rows or columns.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "praxino/parallel/communicator.h"
#include "praxino/parallel/share.h"

namespace praxino {

/// Which part of a tensor of the model a rank holds: some of its rows, or of its columns. Every
/// rank knows the parts of all.
struct Slice {
  int64_t dim = 0;
  int64_t rank = 0;                        // in the group that shares the tensor
  std::vector<std::vector<Share>> ranges;  // of each rank along dim, joined in this order

  int64_t ranks() const { return static_cast<int64_t>(ranges.size()); }
  int64_t length(int64_t of_rank) const;  // of a part along dim
  std::vector<int64_t> lengths() const;   // of all ranks' parts
  int64_t longest() const;                // of all parts
  int64_t whole_length() const;           // of the tensor
  /// The shape of the tensor whose part has `part_sizes`; dims before its last two are kept.
  std::vector<int64_t> whole_sizes(at::IntArrayRef part_sizes) const;
  /// This rank's part (new memory) of a matrix, or of a batch of matrices [G, rows, cols].
  at::Tensor part_of(const at::Tensor& whole) const;
  /// The parts of all ranks -> the matrix, or the batch.
  at::Tensor join(const std::vector<at::Tensor>& parts) const;
  bool operator==(const Slice&) const = default;
};

/// `length` rows or columns in units of `unit`, shared by `ranks`; where the tensor holds several
/// things of that length one after the other (`copies`), the same share of each. REQUIRES: unit
/// divides length.
Slice slice_of(int64_t dim, int64_t length, int64_t unit, int64_t ranks, int64_t rank,
               int64_t copies = 1);

/// Batches of parts [G, rows, cols] of G matrices, one batch on every rank of `group` -> `counts`
/// of the whole matrices on each rank, the first ones on rank 0; and back. Rows (or columns) come
/// in the order of the ranks' parts: those of the matrix, permuted. All ranks together; not
/// differentiated.
at::Tensor trade_parts(const at::Tensor& parts, const Slice& slice,
                       const std::vector<int64_t>& counts, const Communicator& group);
at::Tensor trade_back(const at::Tensor& wholes, const Slice& slice,
                      const std::vector<int64_t>& counts, const Communicator& group);

/// The whole matrix of which every rank of `group` has a part: on rank `to`; undefined on the
/// others. All ranks together; not differentiated.
at::Tensor whole_at(int64_t to, const at::Tensor& part, const Slice& slice,
                    const Communicator& group);

}  // namespace praxino
