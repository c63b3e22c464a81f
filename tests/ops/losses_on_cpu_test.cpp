// Cross-entropy by its kernels, which run on the CPU: whose logits are overwritten.
#include <torch/csrc/autograd/autograd.h>

#include "ops/fused_cuda.h"
#include "ops/on_cpu.h"

namespace praxino::ops {
namespace {

using testing::normal;
using testing::relative_error;

constexpr int64_t kRows = 6, kClasses = 40;

class CrossEntropyOnCpu : public OnCpu {
 protected:
  using Of = std::function<at::Tensor(const at::Tensor& leaf)>;
  // With the logits of a leaf: the gradient is the formula's, and the leaf keeps its values.
  void expect_kept(const at::Tensor& values, const Of& logits) const {
    const at::Tensor leaf = values.clone().requires_grad_(),
                     other = values.clone().requires_grad_();
    cuda::cross_entropy(logits(leaf), targets_, {}).value().sum().backward();
    formula::cross_entropy(logits(other), targets_, {}).sum().backward();
    EXPECT_TRUE(testing::same_bits(leaf, values));
    EXPECT_LT(relative_error(leaf.grad(), other.grad()), 1e-5);
  }
  at::Tensor targets_ = normal({kRows}, 2).abs().mul(10).to(at::kLong);
};

TEST_F(CrossEntropyOnCpu, KeepsALeafAndWhateverItIsSeenAs) {
  const at::Tensor values = normal({kRows, kClasses}, 1);
  expect_kept(values, [](const at::Tensor& x) { return x; });
  expect_kept(values.flatten(), [](const at::Tensor& x) { return x.view({kRows, kClasses}); });
  expect_kept(normal({2 * kRows, kClasses}, 3),
              [](const at::Tensor& x) { return x.narrow(0, kRows, kRows); });
  expect_kept(normal({2, kRows, 2, kClasses / 2}, 4),
              [](const at::Tensor& x) { return x.select(0, 1).flatten(1); });
  expect_kept(values.t().contiguous(), [](const at::Tensor& x) { return x.t(); });
}

// What was computed on the way is written over, without a copy.
TEST_F(CrossEntropyOnCpu, ConsumesWhatIsNoLeaf) {
  const at::Tensor leaf = normal({1, kRows, kClasses}, 1).requires_grad_();
  const at::Tensor logits = (leaf * 2).flatten(0, 1), before = logits.detach().clone();
  const at::Tensor losses = cuda::cross_entropy(logits, targets_, {}).value();
  EXPECT_LT(relative_error(losses, formula::cross_entropy(before, targets_)), 1e-5);
  EXPECT_GT(relative_error(logits.detach(), before), 0.1);
}

}  // namespace
}  // namespace praxino::ops
