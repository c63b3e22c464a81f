#include "kernels/norm_modulate.h"

#include "kernels/chunk_sums.h"
#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/reduce_teams.cuh"
#include "kernels/device/team.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kSums = 2;  // the gradients of scale and shift
constexpr int kWarps = kRowThreads / kWarp;

// Rows in registers.
template <class T, int kPieces, bool kWholeBlock>
PRAXINO_KERNEL(kRowThreads)
norm_modulate_kernel(ByRow<NormModulate> q) {
  const NormModulate& p = q.params;
  const int width = static_cast<int>(p.shape.width), lanes = row_team(width, kForwardPieces).lanes;
  const int teams = kRowThreads / lanes, lane = thread_index() % lanes;
  const int64_t rows = p.shape.rows();
  for (int64_t first = block_index() * teams; first < rows; first += grid_blocks() * teams) {
    const int64_t row = first + thread_index() / lanes;
    const bool exists = row < rows;
    Vector<kRowVector> x[kPieces] = {};
    float squares = 0;
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const int column = row_column(lane, piece, lanes);
      if (!exists || column >= width) continue;
      x[piece] = load_vector<kRowVector>(p.x + row * width + column);
      PRAXINO_UNROLL
      for (int i = 0; i < kRowVector; ++i) squares += x[piece].v[i] * x[piece].v[i];
    }
    const float inverse =
        inverse_rms(team_sum<kWholeBlock>(squares, lanes, shared_floats()), width);
    if (!exists) continue;
    if (lane == 0) store(p.inverse + row, inverse);
    const int64_t frame = q.tokens.quotient(row);
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const int column = row_column(lane, piece, lanes);
      if (column >= width) continue;
      const auto scale = load_vector<kRowVector>(p.scale + frame * width + column);
      const auto shift = load_vector<kRowVector>(p.shift + frame * width + column);
      PRAXINO_UNROLL
      for (int i = 0; i < kRowVector; ++i)
        x[piece].v[i] = x[piece].v[i] * inverse * (1.0F + scale.v[i]) + shift.v[i];
      store_vector(static_cast<T*>(p.y) + row * width + column, x[piece]);
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

// A block a chunk: the gradient of x row by row, and the chunk's sums for scale and shift.
template <class T, int kPieces, bool kWholeBlock>
PRAXINO_KERNEL(kRowThreads)
norm_modulate_backward_kernel(NormModulateBackward p) {
  const int width = static_cast<int>(p.shape.width), lanes = row_team(width, kBackwardPieces).lanes;
  const int teams = kRowThreads / lanes, lane = thread_index() % lanes;
  const float mean = 1.0F / static_cast<float>(width);
  const int64_t chunks = all_chunks(p.shape);
  for (int64_t number = block_index(); number < chunks; number += grid_blocks()) {
    const Chunk chunk = chunk_at(number, p.shape);
    Vector<kRowVector> factor[kPieces] = {}, grad_scale[kPieces] = {}, grad_shift[kPieces] = {};
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const int column = row_column(lane, piece, lanes);
      if (column >= width) continue;
      factor[piece] = load_vector<kRowVector>(p.scale + chunk.frame * width + column);
      PRAXINO_UNROLL
      for (int i = 0; i < kRowVector; ++i) factor[piece].v[i] += 1.0F;
    }
    for (int64_t first = chunk.begin; first < chunk.end; first += teams) {
      const int64_t row = first + thread_index() / lanes;
      const bool exists = row < chunk.end;
      const float inverse = exists ? load(p.inverse + row) : 0.0F;
      Vector<kRowVector> normalized[kPieces] = {}, grad[kPieces] = {};
      float projection = 0;
      PRAXINO_UNROLL
      for (int piece = 0; piece < kPieces; ++piece) {
        const int column = row_column(lane, piece, lanes);
        if (!exists || column >= width) continue;
        normalized[piece] = load_vector<kRowVector>(p.x + row * width + column);
        grad[piece] = load_vector<kRowVector>(static_cast<const T*>(p.grad) + row * width + column);
        PRAXINO_UNROLL
        for (int i = 0; i < kRowVector; ++i) {
          normalized[piece].v[i] *= inverse;
          grad_shift[piece].v[i] += grad[piece].v[i];
          grad_scale[piece].v[i] += grad[piece].v[i] * normalized[piece].v[i];
          grad[piece].v[i] *= factor[piece].v[i];
          projection += grad[piece].v[i] * normalized[piece].v[i];
        }
      }
      projection = team_sum<kWholeBlock>(projection, lanes, shared_floats()) * mean;
      PRAXINO_UNROLL
      for (int piece = 0; piece < kPieces; ++piece) {
        const int column = row_column(lane, piece, lanes);
        if (!exists || column >= width || p.grad_x == nullptr) continue;
        PRAXINO_UNROLL
        for (int i = 0; i < kRowVector; ++i)
          grad[piece].v[i] = inverse * (grad[piece].v[i] - normalized[piece].v[i] * projection);
        store_vector(p.grad_x + row * width + column, grad[piece]);
      }
    }
    if (p.grad_scale == nullptr) continue;
    const ChunkSums sums = sums_of(p);
    reduce_teams(grad_scale, lanes, width, shared_floats(), chunk_row(sums, number, 0));
    reduce_teams(grad_shift, lanes, width, shared_floats(), chunk_row(sums, number, 1));
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
    const Chunk chunk = chunk_at(number, p.shape);
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
  if (team.pieces == 0) return norm_modulate_any_kernel<T>;
  if (team.lanes == kRowThreads)
    return team.pieces == 4 ? norm_modulate_kernel<T, 4, true> : norm_modulate_kernel<T, 2, true>;
  if (team.pieces == 4) return norm_modulate_kernel<T, 4, false>;
  return team.pieces == 2 ? norm_modulate_kernel<T, 2, false> : norm_modulate_kernel<T, 1, false>;
}

template <class T>
auto backward_kernel(RowTeam team) {
  if (team.lanes == kRowThreads) {
    if (team.pieces == 4) return norm_modulate_backward_kernel<T, 4, true>;
    return team.pieces == 2 ? norm_modulate_backward_kernel<T, 2, true>
                            : norm_modulate_backward_kernel<T, 1, true>;
  }
  return team.pieces == 2 ? norm_modulate_backward_kernel<T, 2, false>
                          : norm_modulate_backward_kernel<T, 1, false>;
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
                 sums_bytes(p.shape, team)},
                p, stream);
}

}  // namespace

Status launch_norm_modulate(const NormModulate& p, Stream stream) {
  if (!in_range(p.shape)) return kRefused;
  const int64_t rows = p.shape.rows();
  if (rows == 0) return {};
  const bool aligned =
      aligned_16(p.x) && aligned_16(p.scale) && aligned_16(p.shift) && aligned_16(p.y);
  const RowTeam team = team_for(p.shape.width, kForwardPieces, aligned);
  const int64_t teams = kRowThreads / team.lanes;
  return launch(
      p.element == Element::kFloat ? forward_kernel<float>(team) : forward_kernel<Bf16>(team),
      {"norm_modulate", blocks_for((rows + teams - 1) / teams), kRowThreads,
       kWarps * sizeof(float)},
      by_row(p), stream);
}

Status launch_norm_modulate_backward(const NormModulateBackward& p, Stream stream) {
  if (!in_range(p.shape)) return kRefused;
  if ((p.grad_scale == nullptr) != (p.grad_shift == nullptr)) return kRefused;
  if (p.shape.frames == 0) return {};
  const bool aligned =
      aligned_16(p.x) && aligned_16(p.scale) && aligned_16(p.grad) && aligned_16(p.grad_x);
  const Status status =
      launch_backward(p, team_for(p.shape.width, kBackwardPieces, aligned), stream);
  if (!status.ok() || p.grad_scale == nullptr) return status;
  return launch_add_chunks(sums_of(p), stream);
}

}  // namespace praxino::kernels
