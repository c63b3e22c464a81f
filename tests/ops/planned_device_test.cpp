#include "praxino/ops/planned_device.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include "praxino/ops/attention.h"
#include "praxino/ops/norm.h"

namespace praxino::ops {
namespace {

at::Tensor shape_only(at::IntArrayRef sizes) {
  return at::empty(sizes, at::TensorOptions().dtype(at::kFloat).device(at::kMeta))
      .requires_grad_(true);
}

// An operation gives its result's shape, and its backward pass a gradient of each input's shape.
void expect_shapes(const at::Tensor& result, at::IntArrayRef sizes,
                   const std::vector<at::Tensor>& inputs) {
  ASSERT_TRUE(result.is_meta());
  EXPECT_EQ(result.sizes(), sizes);
  result.sum().backward();
  for (const at::Tensor& input : inputs) {
    ASSERT_TRUE(input.grad().defined());
    EXPECT_EQ(input.grad().sizes(), input.sizes());
  }
}

TEST(PlannedDevice, MetaTensorsStandForTheDeviceThatIsPlanned) {
  const at::Tensor x = shape_only({2});
  EXPECT_EQ(computing_device(x), at::kCPU);
  {
    const PlannedDevice gpu(at::kCUDA);
    EXPECT_EQ(computing_device(x), at::kCUDA);
    const PlannedDevice cpu(at::kCPU);
    EXPECT_EQ(computing_device(x), at::kCPU);
  }
  EXPECT_EQ(computing_device(x), at::kCPU);
  EXPECT_EQ(computing_device(at::empty({2})), at::kCPU);
}

class PlannedOps : public ::testing::TestWithParam<at::DeviceType> {
 protected:
  PlannedDevice planned_{GetParam()};
};

TEST_P(PlannedOps, RowOperationsGiveShapes) {
  const at::Tensor x = shape_only({2, 3, 5, 16}), a = shape_only({2, 3, 16}),
                   b = shape_only({2, 3, 16}), branch = shape_only({2, 3, 5, 16});
  expect_shapes(norm_modulate(x, a, b, at::kFloat), x.sizes(), {x, a, b});
  expect_shapes(gate_add(x, a, branch), x.sizes(), {x, a, branch});
  const GatedSum both = gate_add_norm(x, a, branch, {b, b}, at::kBFloat16);
  EXPECT_EQ(both.norm.scalar_type(), at::kBFloat16);
  expect_shapes(both.norm + both.sum, x.sizes(), {x, a, branch, b});
  expect_shapes(swiglu(x), {2, 3, 5, 8}, {x});
  const at::Tensor gain = shape_only({16});
  const at::Tensor table = shape_only({3, 8}).detach();
  expect_shapes(norm_rotate(x.flatten(0, 0), gain, table, table), x.sizes(), {x, gain});
}

TEST_P(PlannedOps, AttentionsGiveShapes) {
  const at::Tensor q = shape_only({2, 4, 6, 4, 8}), k = shape_only({2, 4, 6, 2, 8}),
                   v = shape_only({2, 4, 6, 2, 8});
  const FrameWindow window{.window = 2, .sinks = 1};
  expect_shapes(space_attention(q, k, v), q.sizes(), {q, k, v});
  expect_shapes(time_attention(q, k, v, window), q.sizes(), {q, k, v});
  expect_shapes(frame_causal_attention(q, k, v, window), q.sizes(), {q, k, v});
  expect_shapes(frame_causal_attention(q, k, v, {}), q.sizes(), {q, k, v});
}

INSTANTIATE_TEST_SUITE_P(Devices, PlannedOps, ::testing::Values(at::kCPU, at::kCUDA),
                         [](const auto& instance) {
                           return instance.param == at::kCPU ? "cpu" : "cuda";
                         });

}  // namespace
}  // namespace praxino::ops
