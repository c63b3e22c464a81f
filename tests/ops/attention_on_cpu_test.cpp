// Attention by kernels that run on the CPU, of operands that lie oddly in memory, against its
// formula.
#include "ops/attention_cuda.h"
#include "ops/on_cpu.h"
#include "praxino/ops/norm.h"

namespace praxino::ops {
namespace {

using testing::gradients;
using testing::normal;
using testing::relative_error;

constexpr double kBf16Tolerance = 8e-3;

class AttentionOnCpu : public OnCpu {
 protected:
  using Inputs = std::vector<at::Tensor>;
  // Result and gradients equal those of the formula.
  static void expect_equal(const testing::Function& kernel, const testing::Function& formula,
                           const Inputs& inputs) {
    const at::Tensor want = formula(inputs), weight = normal(want.sizes(), 99);
    EXPECT_LT(relative_error(kernel(inputs), want), kBf16Tolerance);
    const auto got_gradients = gradients(kernel, inputs, weight);
    const auto want_gradients = gradients(formula, inputs, weight);
    for (size_t i = 0; i < inputs.size(); ++i)
      EXPECT_LT(relative_error(got_gradients[i], want_gradients[i]), kBf16Tolerance) << i;
  }
};

// B N T H K as B T N H K: contiguous() copies nothing, and the stride of the one place is that of
// all frames.
TEST_F(AttentionOnCpu, AlongTimeTakesOnePlaceWhoseStrideMeansNothing) {
  const auto turned = [](const at::Tensor& x) { return x.transpose(1, 2); };
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const auto run = [&](auto op) {
      return [=](const Inputs& in) {
        const auto operand = [&](const at::Tensor& x) { return turned(x.to(type)); };
        return op(operand(in[0]), operand(in[1]), operand(in[2]));
      };
    };
    expect_equal(
        run([](const auto& q, const auto& k, const auto& v) {
          return cuda::time_attention(q, k, v, FrameWindow{}).value();
        }),
        run([](const auto& q, const auto& k, const auto& v) {
          return formula::time_attention(q, k, v, FrameWindow{});
        }),
        {normal({2, 1, 5, 4, 64}, 1), normal({2, 1, 5, 2, 64}, 2), normal({2, 1, 5, 2, 64}, 3)});
  }
}

}  // namespace
}  // namespace praxino::ops
