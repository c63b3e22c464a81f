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
