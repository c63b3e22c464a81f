#include "kernels/norm_modulate.h"

#include <algorithm>

#include "kernels/chunk_sums.h"
#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/norm_rows.cuh"
#include "kernels/device/raw_vectors.cuh"
#include "kernels/device/reduce_teams.cuh"
#include "kernels/device/team.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kSums = 2;  // the gradients of scale and shift
constexpr int kWarps = kRowThreads / kWarp;

// Floats of shared memory for the sums of a block's rows: of two batches of rows.
constexpr int kSumFloats = 2 * kWarps * rows_at_once(1);

// Rows in registers, several at a time; what their frame shares, too.
template <class T, int kPieces, bool kWholeBlock>
PRAXINO_KERNEL(kRowThreads, kPieces == 4 ? 3 : 4)
norm_modulate_kernel(ByRun<NormModulate> q) {
  constexpr int kRows = rows_at_once(kPieces);
  const NormModulate& p = q.params;
  const int width = static_cast<int>(p.shape.width),
            lanes = kWholeBlock ? kRowThreads : row_team(width, kTeamPieces).lanes;
  const int teams = kRowThreads / lanes, lane = thread_index() % lanes;
  int batch = 0;
  for (int64_t number = block_index(); number < q.runs(); number += grid_blocks()) {
    const RowRun run = q.run(number);
    Vector<kRowVector> factor[kPieces] = {}, shift[kPieces] = {};
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const HalfColumns at = half_columns(lane, piece, lanes);
      factor[piece] = floats_of(load_halves(p.scale + run.frame * width, at, width));
      shift[piece] = floats_of(load_halves(p.shift + run.frame * width, at, width));
    }
    for (int64_t first = run.begin + thread_index() / lanes;
         first - thread_index() / lanes < run.end; first += kRows * teams, batch ^= 1) {
      RawVector<float, kRowVector> x[kRows][kPieces];
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * teams;
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          x[r][piece] = load_halves(p.x + row * width, half_columns(lane, piece, lanes),
                                    row < run.end ? width : 0);
        }
      }
      float squares[kRows] = {};
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          const Vector<kRowVector> part = floats_of(x[r][piece]);
          PRAXINO_UNROLL
          for (int i = 0; i < kRowVector; ++i) squares[r] += part.v[i] * part.v[i];
        }
      }
      team_sums<kWholeBlock, kRowThreads>(squares, lanes, shared_floats() + batch * kWarps * kRows);
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * teams;
        if (row >= run.end) continue;
        const float inverse = inverse_rms(squares[r], width);
        if (lane == 0) store(p.inverse + row, inverse);
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          store_halves(static_cast<T*>(p.y) + row * width, half_columns(lane, piece, lanes), width,
                       modulated(floats_of(x[r][piece]), inverse, factor[piece], shift[piece]));
        }
      }
    }
  }
}

// Any width, a block a row.
template <class T>
PRAXINO_KERNEL(kRowThreads)
norm_modulate_any_kernel(ByRow<NormModulate> q) {
  const NormModulate& p = q.params;
  const int64_t width = p.shape.width;
  for (int64_t row = block_index(); row < p.shape.rows(); row += grid_blocks()) {
    const float* x = p.x + row * width;
    float squares = 0;
    for (int64_t i = thread_index(); i < width; i += kRowThreads) {
      const float value = load(x + i);
      squares += value * value;
    }
    const float inverse = inverse_rms(team_sum<true>(squares, kRowThreads, shared_floats()), width);
    if (thread_index() == 0) store(p.inverse + row, inverse);
    const int64_t frame = q.tokens.quotient(row);
    for (int64_t i = thread_index(); i < width; i += kRowThreads) {
      const float factor = 1.0F + load(p.scale + frame * width + i);
      const float y = load(x + i) * inverse * factor + load(p.shift + frame * width + i);
      store(static_cast<T*>(p.y) + row * width + i, y);
    }
  }
}

PRAXINO_HOST_DEVICE inline ChunkSums sums_of(const NormModulateBackward& p) {
  return {.results = {p.grad_scale, p.grad_shift},
          .workspace = p.workspace,
          .sums = kSums,
          .shape = p.shape};
}

// A block a chunk: the gradient of x some rows at a time, and the chunk's sums for scale and shift.
template <class T, int kPieces, bool kWholeBlock>
PRAXINO_KERNEL(kRowThreads)
norm_modulate_backward_kernel(NormModulateBackward p) {
  constexpr int kRows = kPieces == 1 ? 2 : 1;  // more would take too many registers
  const int width = static_cast<int>(p.shape.width),
            lanes = kWholeBlock ? kRowThreads : row_team(width, kTeamPieces).lanes;
  const int teams = kRowThreads / lanes, lane = thread_index() % lanes;
  const float mean = 1.0F / static_cast<float>(width);
  const int64_t chunks = all_chunks(p.shape);
  int batch = 0;
  for (int64_t number = block_index(); number < chunks; number += grid_blocks()) {
    const RowRun chunk = chunk_at(number, p.shape);
    Vector<kRowVector> factor[kPieces] = {}, grad_scale[kPieces] = {}, grad_shift[kPieces] = {};
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      factor[piece] = floats_of(
          load_halves(p.scale + chunk.frame * width, half_columns(lane, piece, lanes), width));
      PRAXINO_UNROLL
      for (int i = 0; i < kRowVector; ++i) factor[piece].v[i] += 1.0F;
    }
    for (int64_t first = chunk.begin; first < chunk.end; first += kRows * teams, batch ^= 1) {
      RawVector<float, kRowVector> x[kRows][kPieces];
      RawVector<T, kRowVector> grad[kRows][kPieces];
      float inverse[kRows] = {}, projection[kRows] = {};
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * teams + thread_index() / lanes;
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          const HalfColumns at = half_columns(lane, piece, lanes);
          const int there = row < chunk.end ? width : 0;
          x[r][piece] = load_halves(p.x + row * width, at, there);
          grad[r][piece] = load_halves(static_cast<const T*>(p.grad) + row * width, at, there);
        }
        if (row < chunk.end) inverse[r] = load(p.inverse + row);
      }
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          const auto x_floats = floats_of(x[r][piece]), g = floats_of(grad[r][piece]);
          PRAXINO_UNROLL
          for (int i = 0; i < kRowVector; ++i) {
            const float normalized = x_floats.v[i] * inverse[r];
            grad_shift[piece].v[i] += g.v[i];
            grad_scale[piece].v[i] += g.v[i] * normalized;
            projection[r] += g.v[i] * factor[piece].v[i] * normalized;
          }
        }
      }
      team_sums<kWholeBlock, kRowThreads>(projection, lanes,
                                          shared_floats() + batch * kWarps * kRows);
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * teams + thread_index() / lanes;
        const float along = projection[r] * mean;
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          if (row >= chunk.end || p.grad_x == nullptr) continue;
          const auto x_floats = floats_of(x[r][piece]);
          auto g = floats_of(grad[r][piece]);
          PRAXINO_UNROLL
          for (int i = 0; i < kRowVector; ++i) {
            const float normalized = x_floats.v[i] * inverse[r];
            g.v[i] = inverse[r] * (g.v[i] * factor[piece].v[i] - normalized * along);
          }
          store_halves(p.grad_x + row * width, half_columns(lane, piece, lanes), width, g);
        }
      }
    }
    if (p.grad_scale == nullptr) continue;
    const ChunkSums sums = sums_of(p);
    if (kWholeBlock) sync_block();  // the sums of rows have been read
    reduce_teams<true>(grad_scale, lanes, width, shared_floats(), chunk_row(sums, number, 0));
    reduce_teams<true>(grad_shift, lanes, width, shared_floats(), chunk_row(sums, number, 1));
  }
}

// Any width, a block a row: the gradient of x.
template <class T>
PRAXINO_KERNEL(kRowThreads)
norm_modulate_backward_any_kernel(ByRow<NormModulateBackward> q) {
  const NormModulateBackward& p = q.params;
  const int64_t width = p.shape.width;
  for (int64_t row = block_index(); row < p.shape.rows(); row += grid_blocks()) {
    const float* x = p.x + row * width;
    const float* scale = p.scale + q.tokens.quotient(row) * width;
    const T* grad = static_cast<const T*>(p.grad) + row * width;
    const float inverse = load(p.inverse + row);
    float projection = 0;
    for (int64_t i = thread_index(); i < width; i += kRowThreads)
      projection += load(grad + i) * (1.0F + load(scale + i)) * load(x + i) * inverse;
    projection = team_sum<true>(projection, kRowThreads, shared_floats());
    projection /= static_cast<float>(width);
    for (int64_t i = thread_index(); i < width; i += kRowThreads) {
      const float scaled = load(grad + i) * (1.0F + load(scale + i));
      store(p.grad_x + row * width + i, inverse * (scaled - load(x + i) * inverse * projection));
    }
  }
}

// Any width, a thread a column of a chunk: the sums for scale and shift.
template <class T>
PRAXINO_KERNEL(kRowThreads)
norm_modulate_backward_sums_kernel(NormModulateBackward p) {
  const int64_t width = p.shape.width;
  const int64_t columns = all_chunks(p.shape) * width;
  for (int64_t i = block_index() * kRowThreads + thread_index(); i < columns;
       i += grid_blocks() * kRowThreads) {
    const int64_t number = i / width, column = i - number * width;
    const RowRun chunk = chunk_at(number, p.shape);
    float grad_scale = 0, grad_shift = 0;
    for (int64_t row = chunk.begin; row < chunk.end; ++row) {
      const float grad = load(static_cast<const T*>(p.grad) + row * width + column);
      grad_shift += grad;
      grad_scale += grad * load(p.x + row * width + column) * load(p.inverse + row);
    }
    const ChunkSums sums = sums_of(p);
    store(chunk_row(sums, number, 0) + column, grad_scale);
    store(chunk_row(sums, number, 1) + column, grad_shift);
  }
}

template <class T>
auto forward_kernel(RowTeam team) {
  return of_team(team, [](auto pieces, auto whole_block) {
    return norm_modulate_kernel<T, decltype(pieces)::value, decltype(whole_block)::value>;
  });
}

template <class T>
auto backward_kernel(RowTeam team) {
  return of_team(team, [](auto pieces, auto whole_block) {
    return norm_modulate_backward_kernel<T, decltype(pieces)::value, decltype(whole_block)::value>;
  });
}

Status launch_forward(const NormModulate& p, RowTeam team, Stream stream) {
  const bool is_float = p.element == Element::kFloat;
  if (team.pieces == 0) {
    return launch(
        is_float ? norm_modulate_any_kernel<float> : norm_modulate_any_kernel<Bf16>,
        {"norm_modulate_any", blocks_for(p.shape.rows()), kRowThreads, kWarps * sizeof(float)},
        by_row(p), stream);
  }
  const auto q = by_run(p, rows_of_run(team));
  return launch(is_float ? forward_kernel<float>(team) : forward_kernel<Bf16>(team),
                {"norm_modulate", blocks_for(q.runs()), kRowThreads, kSumFloats * sizeof(float)}, q,
                stream);
}

template <class T>
Status launch_any_backward(const NormModulateBackward& p, Stream stream) {
  if (p.shape.rows() > 0 && p.grad_x != nullptr) {
    const Status status = launch(norm_modulate_backward_any_kernel<T>,
                                 {"norm_modulate_backward_any", blocks_for(p.shape.rows()),
                                  kRowThreads, kWarps * sizeof(float)},
                                 by_row(p), stream);
    if (!status.ok()) return status;
  }
  if (p.grad_scale == nullptr) return {};
  const int64_t columns = all_chunks(p.shape) * p.shape.width;
  return launch(norm_modulate_backward_sums_kernel<T>,
                {"norm_modulate_backward_sums",
                 blocks_for((columns + kRowThreads - 1) / kRowThreads), kRowThreads},
                p, stream);
}

Status launch_backward(const NormModulateBackward& p, RowTeam team, Stream stream) {
  const bool is_float = p.element == Element::kFloat;
  if (team.pieces == 0)
    return is_float ? launch_any_backward<float>(p, stream) : launch_any_backward<Bf16>(p, stream);
  return launch(is_float ? backward_kernel<float>(team) : backward_kernel<Bf16>(team),
                {"norm_modulate_backward", blocks_for(all_chunks(p.shape)), kRowThreads,
                 std::max(sums_bytes(p.shape, team), kSumFloats * sizeof(float))},
                p, stream);
}

}  // namespace

Status launch_norm_modulate(const NormModulate& p, Stream stream) {
  if (!in_range(p.shape)) return kRefused;
  if (p.shape.rows() == 0) return {};
  const bool aligned =
      aligned_16(p.x) && aligned_16(p.scale) && aligned_16(p.shift) && aligned_16(p.y);
  return launch_forward(p, team_for(p.shape.width, kTeamPieces, aligned), stream);
}

Status launch_norm_modulate_backward(const NormModulateBackward& p, Stream stream) {
  if (!in_range(p.shape)) return kRefused;
  if ((p.grad_scale == nullptr) != (p.grad_shift == nullptr)) return kRefused;
  if (p.shape.frames == 0) return {};
  const bool aligned =
      aligned_16(p.x) && aligned_16(p.scale) && aligned_16(p.grad) && aligned_16(p.grad_x);
  const Status status = launch_backward(p, team_for(p.shape.width, kTeamPieces, aligned), stream);
  if (!status.ok() || p.grad_scale == nullptr) return status;
  return launch_add_chunks(sums_of(p), stream);
}

}  // namespace praxino::kernels
