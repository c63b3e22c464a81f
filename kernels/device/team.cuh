#pragma once
// A team of threads that works on one row: a group of lanes inside a warp, or a whole block.

#include "kernels/device/memory.cuh"
#include "kernels/device/warp.cuh"

namespace praxino::kernels::device {

/// The sum over the team, in every thread of it, equal bits. All threads of the block come here,
/// those of teams without work, too. `scratch`: a float of shared memory for each warp.
template <bool kWholeBlock>
PRAXINO_DEVICE float team_sum(float value, [[maybe_unused]] int lanes,
                              [[maybe_unused]] float* scratch, Site site = PRAXINO_HERE) {
  if constexpr (!kWholeBlock) {
    return group_sum(value, lanes, site);
  } else {
    value = group_sum(value, kWarp, site);
    if (lane_index() == 0) store(scratch + warp_index(), value, site);
    sync_block(site);
    float sum = 0;
    for (int warp = 0; warp < block_threads() / kWarp; ++warp) sum += load(scratch + warp, site);
    sync_block(site);  // the next call writes where this one reads
    return sum;
  }
}

/// The sums of several values, likewise, behind one barrier, in a block of kThreads. `scratch`:
/// kValues floats for each warp, not those of the call before, which other threads may still read.
template <bool kWholeBlock, int kThreads, int kValues>
PRAXINO_DEVICE void team_sums(float (&values)[kValues], [[maybe_unused]] int lanes,
                              [[maybe_unused]] float* scratch, Site site = PRAXINO_HERE) {
  for (int distance = (kWholeBlock ? kWarp : lanes) / 2; distance > 0; distance /= 2) {
    PRAXINO_UNROLL
    for (int i = 0; i < kValues; ++i)
      values[i] += shuffle_xor(values[i], distance, kFullWarp, site);
  }
  if constexpr (kWholeBlock) {
    if (lane_index() == 0) {
      PRAXINO_UNROLL
      for (int i = 0; i < kValues; ++i)
        store(scratch + warp_index() * kValues + i, values[i], site);
    }
    sync_block(site);
    PRAXINO_UNROLL
    for (int i = 0; i < kValues; ++i) {
      values[i] = 0;
      PRAXINO_UNROLL
      for (int warp = 0; warp < kThreads / kWarp; ++warp)
        values[i] += load(scratch + warp * kValues + i, site);
    }
  }
}

/// The largest over the team, likewise; a NaN may be lost.
template <bool kWholeBlock>
PRAXINO_DEVICE float team_max(float value, [[maybe_unused]] int lanes,
                              [[maybe_unused]] float* scratch, Site site = PRAXINO_HERE) {
  if constexpr (!kWholeBlock) {
    return group_max(value, lanes, site);
  } else {
    value = group_max(value, kWarp, site);
    if (lane_index() == 0) store(scratch + warp_index(), value, site);
    sync_block(site);
    for (int warp = 0; warp < block_threads() / kWarp; ++warp)
      value = maximum(value, load(scratch + warp, site));
    sync_block(site);  // the next call writes where this one reads
    return value;
  }
}

}  // namespace praxino::kernels::device
