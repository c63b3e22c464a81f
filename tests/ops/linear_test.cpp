#include "praxino/ops/linear.h"

#include <ATen/ops/linear.h>

#include "support/tensors.h"

namespace praxino::ops {
namespace {

using testing::gradients;
using testing::normal;
using testing::relative_error;

TEST(Linear, ComputesInBfloat16WithFloat32Gradients) {
  const auto exact = [](const std::vector<at::Tensor>& in) {
    return at::linear(in[0], in[1], in[2]);
  };
  const auto rounded = [](const std::vector<at::Tensor>& in) {
    return ops::linear(in[0].to(at::kBFloat16), in[1], in[2]);
  };
  const std::vector<at::Tensor> inputs = {normal({3, 5, 24}, 1), normal({7, 24}, 2),
                                          normal({7}, 3)};
  const at::Tensor got = rounded(inputs);
  EXPECT_EQ(got.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_error(got, exact(inputs)), 0.02);
  const at::Tensor weight = normal({3, 5, 7}, 4);
  const auto got_gradients = gradients(rounded, inputs, weight),
             want = gradients(exact, inputs, weight);
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_EQ(got_gradients[i].scalar_type(), at::kFloat);
    EXPECT_LT(relative_error(got_gradients[i], want[i]), 0.02) << "input " << i;
  }
}

TEST(Linear, IsExactInFloat32) {
  const at::Tensor x = normal({4, 6}, 1), w = normal({2, 6}, 2);
  EXPECT_TRUE(ops::linear(x, w).equal(at::linear(x, w)));
}

}  // namespace
}  // namespace praxino::ops
