#include "praxino/parallel/gather_tensors.h"

#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <gtest/gtest.h>

#include "praxino/parallel/mesh.h"

namespace praxino {
namespace {

TEST(GatherTensors, BringsEveryNameToTheFirstRankOnce) {
  run_as_threads({.data = 3}, [](Mesh& mesh) {
    const auto own = static_cast<double>(mesh.rank());
    std::vector<std::pair<std::string, at::Tensor>> tensors = {
        {"steps", at::scalar_tensor(own)},
        {"z." + std::to_string(mesh.rank()), at::full({2, 3}, own, at::kBFloat16).t()},
        {"empty." + std::to_string(mesh.rank()), at::full({0}, own)}};
    const auto all = gather_tensors(tensors, mesh.world());
    if (!mesh.first()) {
      EXPECT_TRUE(all.empty());
      return;
    }
    ASSERT_EQ(all.size(), 7);
    EXPECT_EQ(all[0].first, "empty.0");
    EXPECT_EQ(all[3].first, "steps");
    EXPECT_EQ(all[3].second.item<double>(), 0);
    EXPECT_EQ(all[6].first, "z.2");
    EXPECT_EQ(all[6].second.sizes(), (std::vector<int64_t>{3, 2}));
    EXPECT_EQ(all[6].second.scalar_type(), at::kBFloat16);
    EXPECT_EQ(all[6].second[2][1].item<double>(), 2);
  });
}

}  // namespace
}  // namespace praxino
