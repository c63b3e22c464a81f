#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include <limits>

#include "praxino/ops/quantize.h"
#include "support/tensors.h"

namespace praxino::ops {
namespace {

using testing::normal;

TEST(NearestCode, EqualsTheFormulaWhichIsTheDefinition) {
  for (const auto& [codes, width] :
       {std::pair{1, 3}, std::pair{2, 1}, std::pair{37, 5}, std::pair{300, 32}}) {
    const at::Tensor x = normal({3, 41, width}, 1), book = normal({codes, width}, 2);
    const at::Tensor got = nearest_code(x, book);
    EXPECT_EQ(got.sizes(), at::IntArrayRef({3, 41}));
    EXPECT_TRUE(got.equal(formula::nearest_code(x, book)));
    for (int64_t i = 0; i < 123; i += 17) {
      const at::Tensor distance = (x.view({123, width})[i].to(at::kDouble) - book).square().sum(1);
      EXPECT_EQ(distance[got.flatten()[i].item<int64_t>()].item<double>(),
                distance.min().item<double>());
    }
  }
}

TEST(NearestCode, TakesTheLowestOfEqualEntries) {
  const at::Tensor book = normal({20, 8}, 3).repeat({3, 1});
  const at::Tensor x = normal({100, 8}, 4);
  EXPECT_LT(nearest_code(x, book).max().item<int64_t>(), 20);
  EXPECT_EQ(nearest_code(x, at::full({9, 8}, 0.5, at::kFloat)).max().item<int64_t>(), 0);
}

TEST(NearestCode, TellsEntriesApartByTheirLastBits) {
  const at::Tensor base = normal({1, 16}, 5);
  const at::Tensor book = base * (1 + at::arange(50, at::kFloat).view({50, 1}) * 0x1p-22);
  const at::Tensor x = book.index_select(0, at::tensor({49L, 3L, 17L}));
  EXPECT_TRUE(nearest_code(x, book).equal(formula::nearest_code(x, book)));
}

TEST(NearestCode, LeavesOutWhatIsNotANumber) {
  at::Tensor x = normal({3, 4}, 6), book = normal({5, 4}, 7);
  const double none = std::numeric_limits<double>::quiet_NaN();
  book[0].fill_(none);
  x[1][2] = none;
  const at::Tensor got = nearest_code(x, book);
  EXPECT_NE(got[0].item<int64_t>(), 0);
  EXPECT_EQ(got[1].item<int64_t>(), 0);
}

TEST(NearestCode, RefusesWhatDoesNotFit) {
  EXPECT_THROW(nearest_code(normal({3, 4}), normal({5, 3})), c10::Error);
  EXPECT_THROW(nearest_code(normal({3, 4}), normal({0, 4})), c10::Error);
  EXPECT_EQ(nearest_code(normal({0, 4}), normal({5, 4})).size(0), 0);
}

TEST(VectorQuantize, LetsGradientsStraightThrough) {
  const at::Tensor x = normal({2, 7, 6}, 8), book = normal({11, 6}, 9),
                   weight = normal({2, 7, 6}, 10);
  const Quantized got = vector_quantize(x, book);
  EXPECT_TRUE(got.codes.view({14, 6}).equal(book.index_select(0, got.indices.flatten())));
  const auto gradients = testing::gradients(
      [](const std::vector<at::Tensor>& in) { return vector_quantize(in[0], in[1]).codes; },
      {x, book}, weight);
  EXPECT_TRUE(gradients[0].equal(weight));
  EXPECT_EQ(gradients[1].abs().max().item<float>(), 0);
}

TEST(CodeStatistics, CountAndAddUpTheVectorsOfEachCode) {
  const at::Tensor x = normal({50, 3}, 11);
  const at::Tensor indices = at::arange(50, at::kLong).square().remainder(7);
  const CodeStatistics got = code_statistics(x, indices, 9);
  for (int64_t code = 0; code < 9; ++code) {
    const at::Tensor rows = x.index_select(0, (indices == code).nonzero().squeeze(1));
    EXPECT_EQ(got.counts[code].item<int64_t>(), rows.size(0));
    EXPECT_LT((got.sums[code] - rows.sum(0)).abs().max().item<double>(), 1e-5);
  }
  EXPECT_THROW(code_statistics(x, indices.narrow(0, 0, 3), 9), c10::Error);
}

}  // namespace
}  // namespace praxino::ops
