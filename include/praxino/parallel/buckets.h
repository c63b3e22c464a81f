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
  std::vector<BucketPlace> places;           // of each parameter
  std::vector<std::vector<int64_t>> begins;  // of each bucket: of every rank's segment, and the end
};

/// Whether all segments of a bucket have one length: one collective moves it then.
bool has_equal_segments(const std::vector<int64_t>& begins);

/// Parameters of `sizes` elements, in the order in which their gradients become ready. A bucket is
/// filled in that order until it holds `bucket_elements`, and up to four times as much where an
/// eighth of it at most is then padding that makes its segments equally long: the largest parameter
/// goes first, always to the shortest segment, and the longest segment to the rank that has the
/// least so far. Where that cannot be (many ranks, few parameters a bucket) segments are as long as
/// what they hold: the parameters of all such buckets are shared out together, the largest first,
/// always to the rank that has the least so far, and a rank may have nothing of a bucket. Every
/// parameter begins at a multiple of 64 bytes of float32.
BucketPlan plan_buckets(std::span<const int64_t> sizes, int64_t ranks, int64_t bucket_elements);

/// A parameter and the unit that it travels with.
struct ShardedSize {
  int64_t unit = 0;
  int64_t elements = 0;
  int64_t reserved = 0;  // what it counts for when parameters are shared out
};

/// For units that are brought together and dropped by themselves: a unit is a bucket whose segments
/// are as long as what they hold. The largest parameter of all units first, always to the rank that
/// has the least so far.
BucketPlan plan_shards(std::span<const ShardedSize> sizes, int64_t units, int64_t ranks);

}  // namespace praxino
