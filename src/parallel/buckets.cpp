#include "praxino/parallel/buckets.h"

#include <algorithm>
#include <numeric>

namespace praxino {
namespace {

constexpr int64_t kAlignment = 16;  // elements: 64 bytes of float32, 32 of bfloat16
constexpr double kWaste = 0.125;    // of a bucket that may be padding when it is closed
constexpr int64_t kEnough = 2;      // largest parameters a rank in a bucket that nothing balances

int64_t aligned(int64_t elements) { return (elements + kAlignment - 1) / kAlignment * kAlignment; }

/// Who takes which parameter of one bucket, and how long its segments are then.
struct Packing {
  std::vector<size_t> slot;    // of each of the bucket's parameters
  std::vector<int64_t> loads;  // of each slot
  int64_t longest() const { return *std::max_element(loads.begin(), loads.end()); }
};

/// Longest processing time first (Graham, 1969): within a third of the best packing.
Packing pack(std::span<const int64_t> sizes, int64_t ranks) {
  std::vector<size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  Packing packing{.slot = std::vector<size_t>(sizes.size()),
                  .loads = std::vector<int64_t>(static_cast<size_t>(ranks))};
  for (const size_t item : order) {
    const auto shortest = std::min_element(packing.loads.begin(), packing.loads.end());
    packing.slot[item] = static_cast<size_t>(shortest - packing.loads.begin());
    *shortest += aligned(sizes[item]);
  }
  return packing;
}

bool is_full(std::span<const int64_t> sizes, int64_t ranks, int64_t wanted) {
  const int64_t held = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  if (held < wanted) return false;
  const auto reserved = static_cast<double>(pack(sizes, ranks).longest() * ranks);
  if (reserved - static_cast<double>(held) <= kWaste * reserved) return true;
  return held >= kEnough * ranks * *std::max_element(sizes.begin(), sizes.end());
}

/// Where each bucket ends. What is left over at the end joins the bucket before it.
std::vector<size_t> cut(std::span<const int64_t> sizes, int64_t ranks, int64_t wanted) {
  std::vector<size_t> ends;
  size_t begin = 0;
  for (size_t end = 1; end <= sizes.size(); ++end) {
    if (!is_full(sizes.subspan(begin, end - begin), ranks, wanted)) continue;
    ends.push_back(end);
    begin = end;
  }
  if (begin == sizes.size()) return ends;
  if (!ends.empty()) ends.pop_back();
  ends.push_back(sizes.size());
  return ends;
}

}  // namespace

BucketPlan plan_buckets(std::span<const int64_t> sizes, int64_t ranks, int64_t bucket_elements) {
  BucketPlan plan{.ranks = ranks, .places = std::vector<BucketPlace>(sizes.size()), .segments = {}};
  std::vector<int64_t> kept(static_cast<size_t>(ranks));  // elements that each rank has so far
  size_t begin = 0;
  for (const size_t end : cut(sizes, ranks, bucket_elements)) {
    const Packing packing = pack(sizes.subspan(begin, end - begin), ranks);
    const int64_t segment = packing.longest();
    // The longest slot to the rank with the least.
    std::vector<size_t> slots(packing.loads.size()), hosts(packing.loads.size());
    std::iota(slots.begin(), slots.end(), size_t{0});
    std::iota(hosts.begin(), hosts.end(), size_t{0});
    std::stable_sort(slots.begin(), slots.end(),
                     [&](size_t a, size_t b) { return packing.loads[a] > packing.loads[b]; });
    std::stable_sort(hosts.begin(), hosts.end(),
                     [&](size_t a, size_t b) { return kept[a] < kept[b]; });
    std::vector<int64_t> host_of(slots.size()), filled(slots.size());
    for (size_t i = 0; i < slots.size(); ++i) {
      host_of[slots[i]] = static_cast<int64_t>(hosts[i]);
      kept[hosts[i]] += packing.loads[slots[i]];
    }
    for (size_t i = begin; i < end; ++i) {
      const int64_t rank = host_of[packing.slot[i - begin]];
      int64_t& used = filled[static_cast<size_t>(rank)];
      plan.places[i] = {.bucket = static_cast<int64_t>(plan.segments.size()),
                        .rank = rank,
                        .offset = rank * segment + used};
      used += aligned(sizes[i]);
    }
    plan.segments.push_back(segment);
    begin = end;
  }
  return plan;
}

ShardPlan plan_shards(std::span<const ShardedSize> sizes, int64_t units, int64_t ranks) {
  std::vector<int64_t> reserved;
  for (const ShardedSize& size : sizes) reserved.push_back(size.reserved);
  const Packing packing = pack(reserved, ranks);
  ShardPlan plan{.places = std::vector<BucketPlace>(sizes.size()),
                 .begins = std::vector<std::vector<int64_t>>(static_cast<size_t>(units))};
  for (int64_t unit = 0; unit < units; ++unit) {
    std::vector<int64_t>& begins = plan.begins[static_cast<size_t>(unit)];
    int64_t used = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      begins.push_back(used);
      for (size_t i = 0; i < sizes.size(); ++i) {
        if (sizes[i].unit != unit || packing.slot[i] != static_cast<size_t>(rank)) continue;
        plan.places[i] = {.bucket = unit, .rank = rank, .offset = used};
        used += aligned(sizes[i].elements);
      }
    }
    begins.push_back(used);
  }
  return plan;
}

}  // namespace praxino
