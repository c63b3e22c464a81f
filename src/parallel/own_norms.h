#pragma once
// Norms of what one rank itself contributes to the gradients, taken before the sums mix it with the
// others': a number that is not finite is every rank's afterwards.

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <vector>

namespace praxino {

/// Not thread-safe. Waits for nothing: what it computes stays on the device.
class OwnNorms {
 public:
  /// Of `parameters` parameters, on the device of `like`.
  OwnNorms(size_t parameters, const at::Tensor& like);

  /// Adds the Euclidean norms of `gradients` to those of parameters `members`: one launch. A sum of
  /// norms cannot become finite again.
  void add(const std::vector<size_t>& members, const std::vector<at::Tensor>& gradients);
  /// [parameters], float32; zero for those that nothing was added to. Begins anew.
  at::Tensor take();

 private:
  std::vector<at::Tensor> norms_;  // scalars
  at::Tensor nothing_;             // one zero
};

}  // namespace praxino
