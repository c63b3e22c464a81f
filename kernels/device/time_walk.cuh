#pragma once
// What the kernels of attention along time share whatever their elements: teams and their walk over
// sequences (kernels/time_tiles.h), where rows lie, norm and rotation, who sees whom.

#include "kernels/chunk_sums.h"
#include "kernels/device/barrier.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/warp.cuh"
#include "kernels/time_attention.h"

namespace praxino::kernels::device {

/// The warps that work on one sequence, and which of its tiles is the warp's own.
struct TimeTeam {
  int number;  // of the block's teams
  int tile;
  int tiles;
  PRAXINO_DEVICE explicit TimeTeam(const TimePlan& plan)
      : number(warp_index() / plan.tiles),
        tile(warp_index() - number * plan.tiles),
        tiles(plan.tiles) {}
  /// What the warps of the team wrote before, all of them see after.
  PRAXINO_DEVICE void sync(Site site = PRAXINO_HERE) const {
    if (tiles == 1) {
      sync_warp(kFullWarp, site);
    } else {
      sync_named(1 + number, kWarp * tiles, site);
    }
  }
};

/// Calls work(cursor) for each sequence of the team, in the order of the plan.
template <class Work>
PRAXINO_DEVICE void walk(const TimeShape& shape, const TimePlan& plan, const TimeTeam& team,
                         const Work& work) {
  const TimeRun run = time_run(shape, plan, static_cast<int>(block_index()));
  if (run.first >= run.end) return;
  const TimeStep step = time_step(shape, plan.teams);
  TimeCursor at = time_cursor(shape, run.first + team.number);
  for (int i = run.first + team.number; i < run.end; i += plan.teams) {
    work(at);
    advance(at, step, shape);
  }
}

/// A tensor's tokens: elements from one to the next, and the head that is meant.
struct TimeHeads {
  int token;
  int head;
};
PRAXINO_DEVICE TimeHeads time_heads(int64_t token, int head) {
  return {static_cast<int>(token), head};
}
/// What the norm takes for N neighbours of a row and those half a row on.
template <int N>
struct TimeGains {
  Vector<N> first, second;
};
template <int kWidth, int N>
PRAXINO_DEVICE TimeGains<N> load_gains(const TimeNorm& norm, int column, Site site = PRAXINO_HERE) {
  const float* gain = norm.gain + column;
  return {load_vector<N>(gain, site), load_vector<N>(gain + kWidth / 2, site)};
}
template <int N>
struct TimeAngles {
  Vector<N> cos, sin;
};
template <int kWidth, int N>
PRAXINO_DEVICE TimeAngles<N> load_angles_at(const TimeNorm& norm, int position, int column,
                                            Site site = PRAXINO_HERE) {
  const int64_t at = multiply_wide(position, kWidth / 2) + column;
  return {load_vector<N>(norm.cos + at, site), load_vector<N>(norm.sin + at, site)};
}

/// Norm and rotation of N neighbours and those half a row on; `scale` is 1 / RMS of the row.
template <int N>
PRAXINO_DEVICE void norm_rotate_pair(Vector<N>& x1, Vector<N>& x2, float scale,
                                     const TimeGains<N>& gains, const TimeAngles<N>& angles) {
  PRAXINO_UNROLL
  for (int i = 0; i < N; ++i) {
    const float a = x1.v[i] * scale * gains.first.v[i];
    const float b = x2.v[i] * scale * gains.second.v[i];
    x1.v[i] = a * angles.cos.v[i] - b * angles.sin.v[i];
    x2.v[i] = b * angles.cos.v[i] + a * angles.sin.v[i];
  }
}

/// What a tile of queries sees: a bit for each tile, and one for each of the lane's scores, 8 for
/// each tile. The same for all sequences.
struct TimeMask {
  uint32_t tiles = 0;
  uint32_t scores = 0;
  /// sees(number): whether score `number` of the lane is one.
  template <class Sees>
  PRAXINO_DEVICE TimeMask(const TimeShape& shape, int query, const Sees& sees) {
    PRAXINO_UNROLL
    for (int tile = 0; tile < kMostTimeTiles; ++tile)
      tiles |= shape.sees_any(query, tile) ? 1U << tile : 0U;
    PRAXINO_NO_UNROLL
    for (int bit = 0; bit < 8 * kMostTimeTiles; ++bit) scores |= sees(bit) ? 1U << bit : 0U;
  }
  PRAXINO_DEVICE bool sees_tile(int tile) const { return (tiles >> tile & 1U) != 0; }
};

/// Sums of kValues values over as many lanes, kNearest apart; every lane ends up with one: that
/// whose number is its place among them.
template <int kNearest, int kValues>
PRAXINO_DEVICE float spread_sums(float (&values)[kValues], Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int count = kValues / 2; count > 0; count /= 2) {
    const int distance = kNearest * count;
    const bool upper = (lane_index() & distance) != 0;
    PRAXINO_UNROLL
    for (int i = 0; i < count; ++i) {
      const float sent = upper ? values[i] : values[i + count];
      const float other = shuffle_xor(sent, distance, kFullWarp, site);
      values[i] = (upper ? values[i + count] : values[i]) + other;
    }
  }
  return values[0];
}

/// The sums for the gains of queries and of keys.
template <class T>
PRAXINO_HOST_DEVICE inline ChunkSums gain_sums(const TimeAttentionBackward<T>& p) {
  return {.results = {p.grad_query_gain, p.grad_key_gain},
          .workspace = p.workspace,
          .sums = 2,
          .shape = time_sums(p.in.shape, p.plan)};
}

/// The team's sums for them: those of its warps in their order. `own`: of this warp, 2 x kWidth in
/// shared memory; those of its neighbours lie `stride` floats away.
template <int kWidth, class T>
PRAXINO_DEVICE void store_gain_sums(const TimeAttentionBackward<T>& p, const TimeTeam& team,
                                    const float* own, int stride, Site site = PRAXINO_HERE) {
  team.sync(site);
  const int64_t number = block_index() * p.plan.teams + team.number;
  for (int i = kWarp * team.tile + lane_index(); i < 2 * kWidth; i += kWarp * team.tiles) {
    float sum = 0;
    for (int warp = 0; warp < team.tiles; ++warp)
      sum += load(own + stride * (warp - team.tile) + i, site);
    const int which = i / kWidth;
    store(chunk_row(gain_sums(p), number, which) + i - which * kWidth, sum, site);
  }
}

}  // namespace praxino::kernels::device
