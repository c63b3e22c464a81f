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
void expect_sound(const BucketPlan& plan, const std::vector<int64_t>& sizes) {
  ASSERT_EQ(plan.places.size(), sizes.size());
  std::vector<std::vector<char>> used;
  for (size_t b = 0; b < plan.segments.size(); ++b) {
    used.emplace_back(static_cast<size_t>(plan.elements(static_cast<int64_t>(b))));
  }
  int64_t bucket = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const BucketPlace& place = plan.places[i];
    ASSERT_GE(place.bucket, bucket) << "buckets are filled in order";
    bucket = place.bucket;
    const int64_t segment = plan.segments[static_cast<size_t>(bucket)];
    EXPECT_EQ(place.offset % 16, 0);
    EXPECT_GE(place.offset, place.rank * segment);
    EXPECT_LE(place.offset + sizes[i], (place.rank + 1) * segment);
    for (int64_t e = place.offset; e < place.offset + sizes[i]; ++e) {
      char& taken = used[static_cast<size_t>(bucket)][static_cast<size_t>(e)];
      ASSERT_EQ(taken, 0) << "element " << e << " of bucket " << bucket;
      taken = 1;
    }
  }
}

std::vector<int64_t> kept_by_rank(const BucketPlan& plan, const std::vector<int64_t>& sizes) {
  std::vector<int64_t> kept(static_cast<size_t>(plan.ranks));
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
        expect_sound(plan_buckets(sizes, ranks, wanted), sizes);
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
      const std::vector<int64_t> kept = kept_by_rank(plan, sizes);
      const double most = static_cast<double>(*std::max_element(kept.begin(), kept.end()));
      EXPECT_LE(most / static_cast<double>(sum(sizes)), 1.08 / static_cast<double>(ranks))
          << ranks << " ranks, buckets of " << wanted;
      EXPECT_LE(static_cast<double>(sum(plan.segments) * ranks),
                1.2 * static_cast<double>(sum(sizes)));
    }
  }
}

TEST(Buckets, OfTheWantedSizeWhereTheyCanBeBalanced) {
  const std::vector<int64_t> sizes(64, 1024);
  const BucketPlan plan = plan_buckets(sizes, 4, 8 * 1024);
  EXPECT_EQ(plan.segments, std::vector<int64_t>(8, 2048));
}

TEST(Buckets, ShardsHoldWholeParametersOnceWithoutPadding) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    const int64_t units = 1 + random.integer(5);
    std::vector<ShardedSize> sizes;
    for (int64_t n = 1 + random.integer(40); n > 0; --n) {
      const int64_t elements = 1 + random.integer(700);
      sizes.push_back({.unit = random.integer(units), .elements = elements, .reserved = elements});
    }
    for (const int64_t ranks : {1, 2, 3, 7}) {
      const ShardPlan plan = plan_shards(sizes, units, ranks);
      ASSERT_EQ(plan.begins.size(), static_cast<size_t>(units));
      std::vector<std::vector<char>> used;
      int64_t held = 0, reserved = 0;
      for (const std::vector<int64_t>& begins : plan.begins) {
        ASSERT_EQ(begins.size(), static_cast<size_t>(ranks) + 1);
        EXPECT_TRUE(std::is_sorted(begins.begin(), begins.end()));
        used.emplace_back(static_cast<size_t>(begins.back()));
        held += begins.back();
      }
      for (size_t i = 0; i < sizes.size(); ++i) {
        const BucketPlace& place = plan.places[i];
        ASSERT_EQ(place.bucket, sizes[i].unit);
        const auto& begins = plan.begins[static_cast<size_t>(place.bucket)];
        EXPECT_EQ(place.offset % 16, 0);
        EXPECT_GE(place.offset, begins[static_cast<size_t>(place.rank)]);
        EXPECT_LE(place.offset + sizes[i].elements, begins[static_cast<size_t>(place.rank) + 1]);
        for (int64_t e = place.offset; e < place.offset + sizes[i].elements; ++e) {
          char& taken = used[static_cast<size_t>(place.bucket)][static_cast<size_t>(e)];
          ASSERT_EQ(taken, 0) << "element " << e << " of unit " << place.bucket;
          taken = 1;
        }
        reserved += (sizes[i].elements + 15) / 16 * 16;
      }
      EXPECT_EQ(held, reserved) << "nothing but what aligns each parameter";
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
    const ShardPlan plan = plan_shards(sizes, kBlocks, ranks);
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
