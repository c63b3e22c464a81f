#include "praxino/parallel/buckets.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace praxino {
namespace {

constexpr int64_t kAlignment = 16;  // elements: 64 bytes of float32, 32 of bfloat16
constexpr double kWaste = 0.125;    // of a bucket that may be padding
constexpr int64_t kLargest = 4;     // times what a bucket should hold, for equal segments

int64_t aligned(int64_t elements) { return (elements + kAlignment - 1) / kAlignment * kAlignment; }

/// The order of `values` from the largest; equal ones as they come.
std::vector<size_t> largest_first(std::span<const int64_t> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return values[a] > values[b]; });
  return order;
}

/// Longest processing time first (Graham, 1969): within a third of the best packing. Adds to the
/// `loads` of the slots; the slot of each parameter.
std::vector<int64_t> pack(std::span<const int64_t> sizes, std::vector<int64_t>& loads) {
  std::vector<int64_t> slots(sizes.size());
  for (const size_t item : largest_first(sizes)) {
    const auto shortest = std::min_element(loads.begin(), loads.end());
    slots[item] = shortest - loads.begin();
    *shortest += aligned(sizes[item]);
  }
  return slots;
}

/// Parameters from `begin` to `end` that travel together.
struct Stretch {
  size_t begin = 0, end = 0;
  bool equal = false;  // segments of one length
};

bool packs_equally(std::span<const int64_t> sizes, int64_t ranks) {
  std::vector<int64_t> loads(static_cast<size_t>(ranks));
  pack(sizes, loads);
  const auto held = static_cast<double>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}));
  const auto reserved = static_cast<double>(*std::ranges::max_element(loads) * ranks);
  return reserved - held <= kWaste * reserved;
}

/// The bucket that begins at `begin`.
Stretch next_bucket(std::span<const int64_t> sizes, size_t begin, int64_t ranks, int64_t wanted) {
  Stretch bucket{.begin = begin, .end = begin};
  int64_t held = 0;
  for (size_t end = begin; end < sizes.size() && held < kLargest * wanted;) {
    held += sizes[end++];
    if (held < wanted) continue;
    if (packs_equally(sizes.subspan(begin, end - begin), ranks)) return {begin, end, true};
    if (bucket.end == begin) bucket.end = end;
  }
  if (bucket.end > begin) return bucket;
  return {begin, sizes.size(), packs_equally(sizes.subspan(begin), ranks)};
}

/// What is left over at the end joins the bucket before it.
std::vector<Stretch> cut(std::span<const int64_t> sizes, int64_t ranks, int64_t wanted) {
  std::vector<Stretch> buckets;
  for (size_t begin = 0; begin < sizes.size(); begin = buckets.back().end) {
    buckets.push_back(next_bucket(sizes, begin, ranks, wanted));
  }
  const auto last = buckets.back();
  const int64_t held =
      std::accumulate(sizes.begin() + static_cast<int64_t>(last.begin), sizes.end(), int64_t{0});
  if (held < wanted && buckets.size() > 1) {
    buckets.pop_back();
    buckets.back().end = sizes.size();
    const size_t begin = buckets.back().begin;
    buckets.back().equal = packs_equally(sizes.subspan(begin), ranks);
  }
  return buckets;
}

/// Who keeps the parameters of a bucket with equal segments: the longest segment goes to the rank
/// that has `kept` the least. The length of a segment.
int64_t share_equally(std::span<const int64_t> sizes, std::span<BucketPlace> places,
                      std::vector<int64_t>& kept) {
  std::vector<int64_t> loads(kept.size());
  const std::vector<int64_t> slots = pack(sizes, loads);
  const std::vector<size_t> longest = largest_first(loads);
  std::vector<size_t> hosts(kept.size());
  std::iota(hosts.begin(), hosts.end(), size_t{0});
  std::stable_sort(hosts.begin(), hosts.end(),
                   [&](size_t a, size_t b) { return kept[a] < kept[b]; });
  std::vector<int64_t> host_of(kept.size());
  for (size_t i = 0; i < longest.size(); ++i) {
    host_of[longest[i]] = static_cast<int64_t>(hosts[i]);
    kept[hosts[i]] += loads[longest[i]];
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    places[i].rank = host_of[static_cast<size_t>(slots[i])];
  }
  return loads[longest.front()];
}

/// Sets the offsets of parameters whose bucket and rank are known. `equal`: the length of each
/// bucket's segments, 0 where they are as long as what they hold.
std::vector<std::vector<int64_t>> lay_out(std::span<const int64_t> sizes,
                                          std::span<BucketPlace> places,
                                          std::span<const int64_t> equal, int64_t ranks) {
  std::vector<std::vector<int64_t>> filled(equal.size(),
                                           std::vector<int64_t>(static_cast<size_t>(ranks) + 1));
  for (size_t i = 0; i < sizes.size(); ++i) {  // where it lies in its segment
    int64_t& used =
        filled[static_cast<size_t>(places[i].bucket)][static_cast<size_t>(places[i].rank)];
    places[i].offset = used;
    used += aligned(sizes[i]);
  }
  for (size_t b = 0; b < equal.size(); ++b) {
    int64_t begin = 0;
    for (int64_t& length : filled[b]) {
      const int64_t next = begin + (equal[b] > 0 ? equal[b] : length);
      length = std::exchange(begin, next);
    }
  }
  for (BucketPlace& place : places) {
    place.offset += filled[static_cast<size_t>(place.bucket)][static_cast<size_t>(place.rank)];
  }
  return filled;
}

}  // namespace

bool has_equal_segments(const std::vector<int64_t>& begins) {
  for (size_t r = 2; r < begins.size(); ++r) {
    if (begins[r] - begins[r - 1] != begins[1] - begins[0]) return false;
  }
  return true;
}

BucketPlan plan_buckets(std::span<const int64_t> sizes, int64_t ranks, int64_t bucket_elements) {
  BucketPlan plan{.places = std::vector<BucketPlace>(sizes.size()), .begins = {}};
  std::vector<int64_t> kept(static_cast<size_t>(ranks));  // elements that each rank has so far
  std::vector<int64_t> equal;                             // segments of each bucket; 0: as they are
  std::vector<size_t> others;                             // parameters of other buckets
  std::vector<int64_t> sizes_of_others;
  for (const Stretch& bucket : cut(sizes, ranks, bucket_elements)) {
    const size_t count = bucket.end - bucket.begin;
    const auto places = std::span(plan.places).subspan(bucket.begin, count);
    for (BucketPlace& place : places) place.bucket = static_cast<int64_t>(equal.size());
    equal.push_back(bucket.equal ? share_equally(sizes.subspan(bucket.begin, count), places, kept)
                                 : 0);
    for (size_t i = bucket.begin; !bucket.equal && i < bucket.end; ++i) {
      others.push_back(i);
      sizes_of_others.push_back(sizes[i]);
    }
  }
  const std::vector<int64_t> ranks_of_others = pack(sizes_of_others, kept);
  for (size_t i = 0; i < others.size(); ++i) plan.places[others[i]].rank = ranks_of_others[i];
  plan.begins = lay_out(sizes, plan.places, equal, ranks);
  return plan;
}

BucketPlan plan_shards(std::span<const ShardedSize> sizes, int64_t units, int64_t ranks) {
  BucketPlan plan;
  std::vector<int64_t> reserved, elements, loads(static_cast<size_t>(ranks));
  for (const ShardedSize& size : sizes) {
    reserved.push_back(size.reserved);
    elements.push_back(size.elements);
  }
  const std::vector<int64_t> owners = pack(reserved, loads);
  for (size_t i = 0; i < sizes.size(); ++i) {
    plan.places.push_back({.bucket = sizes[i].unit, .rank = owners[i], .offset = 0});
  }
  const std::vector<int64_t> as_they_are(static_cast<size_t>(units));
  plan.begins = lay_out(elements, plan.places, as_they_are, ranks);
  return plan;
}

}  // namespace praxino
