#pragma once
// How parameters are laid out in flat buckets, each cut into one segment a rank. A segment holds
// whole parameters, because Muon must see matrices. Pure: every rank computes the same plan.

#include <cstdint>
#include <span>
#include <vector>

namespace praxino {

/// Where one parameter lies.
struct BucketPlace {
  int64_t bucket = 0;
  int64_t rank = 0;    // who keeps its moments and updates it
  int64_t offset = 0;  // of its first element in the bucket, over all segments
};

struct BucketPlan {
  int64_t ranks = 1;
  std::vector<BucketPlace> places;  // of each parameter
  std::vector<int64_t> segments;    // elements of one rank's segment, of each bucket

  int64_t elements(int64_t bucket) const { return segments[static_cast<size_t>(bucket)] * ranks; }
};

/// Parameters of `sizes` elements, in the order in which their gradients become ready. A bucket is
/// filled in that order until it holds `bucket_elements` and an eighth of it at most is padding
/// (or, where nothing balances it, until every rank could hold two of its largest parameter).
/// Inside a bucket the largest parameter goes first, always to the shortest segment; the longest
/// segment goes to the rank that has the least so far. Every parameter begins at a multiple of 64
/// bytes of float32.
BucketPlan plan_buckets(std::span<const int64_t> sizes, int64_t ranks, int64_t bucket_elements);

/// A parameter and the unit that it travels with.
struct ShardedSize {
  int64_t unit = 0;
  int64_t elements = 0;
  int64_t reserved = 0;  // what it counts for when parameters are shared out
};

/// Like a BucketPlan, with segments as long as what they hold: for units that are brought together
/// and dropped by themselves. A rank may hold nothing of a unit.
struct ShardPlan {
  std::vector<BucketPlace> places;           // of each parameter; its bucket is its unit
  std::vector<std::vector<int64_t>> begins;  // of each unit: of every rank's segment, and the end
};

/// The largest parameter of all units first, always to the rank that has the least so far.
ShardPlan plan_shards(std::span<const ShardedSize> sizes, int64_t units, int64_t ranks);

}  // namespace praxino
