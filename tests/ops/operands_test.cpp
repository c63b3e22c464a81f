#include "ops/operands.h"

#include <ATen/ops/empty.h>

#include "support/tensors.h"

namespace praxino::ops::cuda {
namespace {

using testing::normal;

// The definition: where each token begins in memory, counted in elements.
std::optional<int64_t> distance_of_tokens(const at::Tensor& x) {
  std::vector<int64_t> begins;
  const at::Tensor tokens = x.select(4, 0).select(3, 0);
  for (int64_t b = 0; b < x.size(0); ++b)
    for (int64_t t = 0; t < x.size(1); ++t)
      for (int64_t n = 0; n < x.size(2); ++n)
        begins.push_back(tokens[b][t][n].storage_offset() - x.storage_offset());
  for (size_t i = 1; i < begins.size(); ++i) {
    if (begins[i] - begins[i - 1] != begins[1]) return std::nullopt;
  }
  return begins.size() > 1 ? begins[1] : x.size(3) * x.size(4);
}

TEST(TokenStride, IsTheDistanceOfTokensWhereItIsEven) {
  for (const int64_t b : {1, 2})
    for (const int64_t t : {1, 3})
      for (const int64_t n : {1, 5}) {
        const at::Tensor dense = normal({b, t, n, 4, 8});
        EXPECT_EQ(token_stride(dense), 32) << dense.sizes();
        // A part of a wider projection, and the same with frames and places exchanged.
        const at::Tensor part = normal({b, t, n, 7, 8}).narrow(3, 2, 4);
        const at::Tensor turned = normal({b, n, t, 4, 8}).transpose(1, 2);
        for (const at::Tensor& x : {part, turned, turned.narrow(0, 0, 1)})
          EXPECT_EQ(token_stride(x), distance_of_tokens(x)) << x.sizes() << x.strides();
      }
}

// The size of one place says nothing about how far frames lie apart, and contiguous() copies
// nothing.
TEST(TokenStride, OfOnePlaceIsTheDistanceOfFrames) {
  const at::Tensor x = normal({2, 1, 5, 4, 64}).transpose(1, 2);
  ASSERT_TRUE(x.is_contiguous());
  ASSERT_EQ(x.stride(2), 1280);
  EXPECT_EQ(token_stride(x), 256);
}

TEST(TokenStride, IsNothingWhereHeadsOrElementsLieApart) {
  EXPECT_EQ(token_stride(normal({1, 2, 3, 4, 9}).narrow(4, 0, 8)), std::nullopt);
  EXPECT_EQ(token_stride(normal({1, 2, 3, 8, 4}).transpose(3, 4)), std::nullopt);
  EXPECT_EQ(token_stride(normal({1, 2, 5, 4, 8}).narrow(2, 0, 3)), std::nullopt);
  EXPECT_EQ(token_stride(normal({1, 2, 5, 4, 8}).narrow(2, 0, 3).contiguous()), 32);
}

TEST(Aligned, IsACopyOnlyWhereItMustBe) {
  const at::Tensor all = normal({65}), even = all.narrow(0, 0, 64), odd = all.narrow(0, 1, 64);
  ASSERT_TRUE(kernels::aligned_16(all.const_data_ptr()));
  EXPECT_TRUE(aligned(even).is_same(even));
  ASSERT_TRUE(odd.is_contiguous());
  EXPECT_TRUE(kernels::aligned_16(aligned(odd).const_data_ptr()));
  EXPECT_TRUE(aligned(odd).equal(odd));
  const at::Tensor turned = normal({8, 4}).t();
  EXPECT_TRUE(aligned(turned).is_contiguous());
  EXPECT_TRUE(aligned(turned).equal(turned));
}

}  // namespace
}  // namespace praxino::ops::cuda
