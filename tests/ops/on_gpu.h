#pragma once
// Tests of kernels on a real GPU against the formulas. Without one, they skip with the reason; the
// same kernels run on the CPU in tests/kernels.

#include "kernels/device_info.h"
#include "ops/launch_cuda.h"
#include "support/nan_memory.h"
#include "support/repetitions.h"
#include "support/tensors.h"

namespace praxino::ops {

inline at::Tensor gpu(const at::Tensor& tensor) { return tensor.to(at::kCUDA); }

/// A test in memory that holds NaN until it is written.
class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    const kernels::Status status = kernels::device_count(count);
    if (!status.ok()) GTEST_SKIP() << "no usable GPU: " << kernels::status_text(status);
    if (!cuda::on_capable_gpu(gpu(testing::normal({1})))) GTEST_SKIP() << "a GPU older than 8.0";
  }

 private:
  testing::NanMemory memory_;
};

/// One of one element type.
class OnGpu : public GpuTest, public ::testing::WithParamInterface<at::ScalarType> {
 protected:
  using Inputs = std::vector<at::Tensor>;

  // fp32: rounding of sums in another order. bf16: half a unit in the last of 8 bits.
  double tolerance() const { return GetParam() == at::kFloat ? 2e-5 : 8e-3; }

  // `kernel` gives a result, the formula's, with the gradient of every input; the gradients of a
  // hundred repetitions are equal bits.
  void expect_equal(const testing::Function& kernel, const testing::Function& formula,
                    const Inputs& inputs) const {
    const at::Tensor want = formula(inputs), weight = testing::normal(want.sizes(), 99);
    EXPECT_LT(testing::relative_error(kernel(inputs), want), tolerance());
    const auto got_gradients = testing::gradients(kernel, inputs, weight);
    const auto want_gradients = testing::gradients(formula, inputs, weight);
    constexpr double kNothing = 1e-3;  // a gradient that is zero is no more than rounding
    for (size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_LT(testing::relative_error(got_gradients[i], want_gradients[i], kNothing), tolerance())
          << "input " << i;
    }
    for (int repetition = 0; repetition < testing::repetitions(100); ++repetition) {
      const auto again = testing::gradients(kernel, inputs, weight);
      for (size_t i = 0; i < inputs.size(); ++i)
        ASSERT_TRUE(testing::same_bits(again[i], got_gradients[i])) << "input " << i;
    }
  }
};

}  // namespace praxino::ops
