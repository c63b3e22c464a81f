#include "praxino/parallel/buckets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "praxino/base/random.h"

namespace praxino {
namespace {

int64_t sum(const std::vector<int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

/// No two parameters overlap, each lies in its owner's segment, and all begin aligned.
void expect_sound(const BucketPlan& plan, const std::vector<int64_t>& sizes, int64_t ranks) {
  ASSERT_EQ(plan.places.size(), sizes.size());
  std::vector<std::vector<char>> used;
  for (const std::vector<int64_t>& begins : plan.begins) {
    ASSERT_EQ(begins.size(), static_cast<size_t>(ranks) + 1);
    EXPECT_EQ(begins.front(), 0);
    EXPECT_TRUE(std::is_sorted(begins.begin(), begins.end()));
    used.emplace_back(static_cast<size_t>(begins.back()));
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    const BucketPlace& place = plan.places[i];
    const auto& begins = plan.begins[static_cast<size_t>(place.bucket)];
    EXPECT_EQ(place.offset % 16, 0);
    EXPECT_GE(place.offset, begins[static_cast<size_t>(place.rank)]);
    EXPECT_LE(place.offset + sizes[i], begins[static_cast<size_t>(place.rank) + 1]);
    for (int64_t e = place.offset; e < place.offset + sizes[i]; ++e) {
      char& taken = used[static_cast<size_t>(place.bucket)][static_cast<size_t>(e)];
      ASSERT_EQ(taken, 0) << "element " << e << " of bucket " << place.bucket;
      taken = 1;
    }
  }
}

/// Elements of all parameters with what aligns each.
int64_t aligned_sum(const std::vector<int64_t>& sizes) {
  int64_t all = 0;
  for (const int64_t size : sizes) all += (size + 15) / 16 * 16;
  return all;
}

int64_t held(const BucketPlan& plan) {
  int64_t all = 0;
  for (const std::vector<int64_t>& begins : plan.begins) all += begins.back();
  return all;
}

std::vector<int64_t> kept_by_rank(const BucketPlan& plan, const std::vector<int64_t>& sizes,
                                  int64_t ranks) {
  std::vector<int64_t> kept(static_cast<size_t>(ranks));
  for (size_t i = 0; i < sizes.size(); ++i) {
    kept[static_cast<size_t>(plan.places[i].rank)] += sizes[i];
  }
  return kept;
}

TEST(Buckets, HoldWholeParametersOnceForAnySizesAndRanks) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    std::vector<int64_t> sizes;
    for (int64_t n = 1 + random.integer(40); n > 0; --n) sizes.push_back(1 + random.integer(700));
    for (const int64_t ranks : {1, 2, 3, 4, 7}) {
      for (const int64_t wanted : {int64_t{1}, int64_t{500}, int64_t{100000}}) {
        const BucketPlan plan = plan_buckets(sizes, ranks, wanted);
        expect_sound(plan, sizes, ranks);
        int64_t bucket = 0;
        for (const BucketPlace& place : plan.places) {
          ASSERT_GE(place.bucket, bucket) << "buckets are filled in order";
          bucket = place.bucket;
        }
        EXPECT_LE(held(plan), aligned_sum(sizes) * 8 / 7 + 16 * ranks);
      }
    }
  }
}

/// A transformer's parameters: what a share of the state a rank keeps.
TEST(Buckets, ShareATransformerEvenly) {
  std::vector<int64_t> sizes = {768 * 192, 192 * 192};
  for (int block = 0; block < 6; ++block) {
    for (const int64_t size : {192 * 192, 192 * 64, 192 * 64, 192 * 192, 192 * 512, 192 * 512,
                               512 * 192, 192 * 6 * 192, 6 * 192, 192, 32}) {
      sizes.push_back(size);
    }
  }
  for (const int64_t ranks : {2, 4}) {
    for (const int64_t wanted : {int64_t{1} << 17, int64_t{1} << 23}) {
      const BucketPlan plan = plan_buckets(sizes, ranks, wanted);
      const std::vector<int64_t> kept = kept_by_rank(plan, sizes, ranks);
      const double most = static_cast<double>(*std::max_element(kept.begin(), kept.end()));
      EXPECT_LE(most / static_cast<double>(sum(sizes)), 1.125 / static_cast<double>(ranks))
          << ranks << " ranks, buckets of " << wanted;
      EXPECT_LE(static_cast<double>(held(plan)), 1.15 * static_cast<double>(sum(sizes)));
    }
  }
}

TEST(Buckets, OfTheWantedSizeWhereTheyCanBeBalanced) {
  const std::vector<int64_t> sizes(64, 1024);
  const BucketPlan plan = plan_buckets(sizes, 4, 8 * 1024);
  EXPECT_EQ(plan.begins, std::vector(8, std::vector<int64_t>{0, 2048, 4096, 6144, 8192}));
}

/// 32 blocks of six matrices over 64 ranks: a bucket has fewer matrices than there are ranks.
TEST(Buckets, OfFewerMatricesThanRanksHaveNoPadding) {
  constexpr int64_t kRanks = 64, kSquare = 32 * 32, kWanted = 8 * kSquare;
  std::vector<int64_t> sizes;
  for (int block = 0; block < 32; ++block) {
    for (const int64_t squares : {3, 1, 6, 6, 3, 3}) sizes.push_back(squares * kSquare);
  }
  const BucketPlan plan = plan_buckets(sizes, kRanks, kWanted);
  expect_sound(plan, sizes, kRanks);
  EXPECT_EQ(held(plan), sum(sizes));
  for (const std::vector<int64_t>& begins : plan.begins) {
    EXPECT_FALSE(has_equal_segments(begins));
    EXPECT_LE(begins.back(), 3 * kWanted) << "gradients travel while backward goes on";
  }
  const std::vector<int64_t> kept = kept_by_rank(plan, sizes, kRanks);
  const auto most = static_cast<double>(*std::ranges::max_element(kept));
  EXPECT_LE(most / static_cast<double>(sum(sizes)), 1.1 / static_cast<double>(kRanks));
}

TEST(Buckets, ShardsHoldWholeParametersOnceWithoutPadding) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    const int64_t units = 1 + random.integer(5);
    std::vector<ShardedSize> shards;
    std::vector<int64_t> sizes;
    for (int64_t n = 1 + random.integer(40); n > 0; --n) {
      sizes.push_back(1 + random.integer(700));
      shards.push_back(
          {.unit = random.integer(units), .elements = sizes.back(), .reserved = sizes.back()});
    }
    for (const int64_t ranks : {1, 2, 3, 7}) {
      const BucketPlan plan = plan_shards(shards, units, ranks);
      ASSERT_EQ(plan.begins.size(), static_cast<size_t>(units));
      expect_sound(plan, sizes, ranks);
      for (size_t i = 0; i < sizes.size(); ++i) EXPECT_EQ(plan.places[i].bucket, shards[i].unit);
      EXPECT_EQ(held(plan), aligned_sum(sizes)) << "nothing but what aligns each parameter";
    }
  }
}

/// Blocks of 18 D x D, the largest matrix a third of them, over more ranks than a block has
/// matrices.
TEST(Buckets, ShardsOfATransformerAreEven) {
  constexpr int64_t kBlocks = 24, kSquare = 64 * 64;
  std::vector<ShardedSize> sizes;
  int64_t all = 0;
  for (int64_t block = 0; block < kBlocks; ++block) {
    for (const int64_t squares : {6, 5, 3, 1, 1, 1, 1}) {
      sizes.push_back(
          {.unit = block, .elements = squares * kSquare, .reserved = squares * kSquare});
      all += squares * kSquare;
    }
  }
  for (const int64_t ranks : {2, 4, 8, 16}) {
    const BucketPlan plan = plan_shards(sizes, kBlocks, ranks);
    std::vector<int64_t> kept(static_cast<size_t>(ranks));
    for (size_t i = 0; i < sizes.size(); ++i) {
      kept[static_cast<size_t>(plan.places[i].rank)] += sizes[i].elements;
    }
    const auto most = static_cast<double>(*std::max_element(kept.begin(), kept.end()));
    EXPECT_LE(most / static_cast<double>(all), 1.04 / static_cast<double>(ranks)) << ranks;
  }
}

}  // namespace
}  // namespace praxino
