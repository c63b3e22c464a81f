#pragma once
// Tests of kernels on a real GPU against the formulas. Without one, they skip with the reason; the
// same kernels run on the CPU in tests/kernels.

#include "kernels/device_info.h"
#include "ops/launch_cuda.h"
#include "support/nan_memory.h"
#include "support/repetitions.h"
#include "support/two_fold.h"

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

/// The two-fold rule, and gradients of a hundred repetitions that are equal bits.
inline void expect_two_fold(const testing::TwoFold& of) {
  std::vector<at::Tensor> first;
  EXPECT_TRUE(testing::keeps_two_fold(of, &first));
  const std::vector<at::Tensor> inputs = testing::with_rounded_inputs(of).inputs;
  const at::Tensor weight = testing::weight_for(of, of.kernel(inputs));
  for (int run = first.empty() ? 0 : testing::repetitions(100); run > 0; --run) {
    const auto again = testing::gradients(of.kernel, inputs, weight);
    for (size_t i = 0; i < inputs.size(); ++i)
      ASSERT_TRUE(testing::same_bits(again[i], first[i])) << "input " << i;
  }
}

/// One of one element type.
class OnGpu : public GpuTest, public ::testing::WithParamInterface<at::ScalarType> {
 protected:
  using Inputs = std::vector<at::Tensor>;
};

}  // namespace praxino::ops
