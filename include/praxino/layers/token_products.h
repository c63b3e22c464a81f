#pragma once
// Matrix products whose matrices the tensor ranks share, over tokens that they share too (sequence
// parallelism: Korthikanti et al., "Reducing activation recomputation", arXiv 2205.05198). A token
// is a place of dim 2 of B T N D; TokenShares::tokens says how many each rank has. All ranks
// together; differentiable. Alone, a rank has all tokens and sends nothing.

#include <ATen/core/Tensor.h>

#include <vector>

#include "praxino/layers/ranks.h"
#include "praxino/ops/linear.h"

namespace praxino {

/// own: B T n D, this rank's tokens; matrices: out D each, this rank's rows -> B T N out each, of
/// all ranks' tokens, gathered once. The same bits as ops::linear() of gather_pieces(), forward and
/// backward. What differs is what is kept: this rank's tokens alone, unless shares.keep_gathered.
/// The backward pass gathers them again beside the products that make the gradient of the tokens,
/// and sums that one over the ranks beside the products that make the gradients of the weights.
std::vector<at::Tensor> gathered_products(const at::Tensor& own,
                                          const std::vector<ops::Matrix>& matrices,
                                          const TokenShares& shares, const Communicator& tensor);

/// x: B T N in, all tokens of this rank's part of the columns; matrix: out in, those columns -> the
/// sum over ranks of x weight^T for this rank's tokens, B T n out. Backward: the gradient is
/// gathered first, since both products need it whole.
at::Tensor summed_product(const at::Tensor& x, const ops::Matrix& matrix, const TokenShares& shares,
                          const Communicator& tensor);

}  // namespace praxino
