#include "kernels/gate_add.h"

#include "kernels/chunk_sums.h"
#include "kernels/device/launch.cuh"
#include "kernels/device/raw_vectors.cuh"
#include "kernels/device/reduce_teams.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

// A team a row, as frame_rows.h spreads them.
template <class T, int kPieces>
PRAXINO_KERNEL(kRowThreads, kPieces == 4 ? 4 : 8)
gate_add_kernel(ByRow<GateAdd> q) {
  const GateAdd& p = q.params;
  const int width = static_cast<int>(p.shape.width);
  const int lanes = row_team(width, kForwardPieces).lanes;
  const int teams = kRowThreads / lanes, lane = thread_index() % lanes;
  const T* branch = static_cast<const T*>(p.branch);
  const int64_t rows = p.shape.rows();
  for (int64_t row = block_index() * teams + thread_index() / lanes; row < rows;
       row += grid_blocks() * teams) {
    const int64_t frame = q.tokens.quotient(row);
    RawVector<float, kRowVector> x[kPieces];
    RawVector<T, kRowVector> b[kPieces];
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const HalfColumns at = half_columns(lane, piece, lanes);
      x[piece] = load_halves(p.x + row * width, at, width);
      b[piece] = load_halves(branch + row * width, at, width);
    }
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const HalfColumns at = half_columns(lane, piece, lanes);
      const Vector<kRowVector> gate = floats_of(load_halves(p.gate + frame * width, at, width)),
                               of_branch = floats_of(b[piece]);
      Vector<kRowVector> y = floats_of(x[piece]);
      PRAXINO_UNROLL
      for (int i = 0; i < kRowVector; ++i) y.v[i] += gate.v[i] * of_branch.v[i];
      store_halves(p.y + row * width, at, width, y);
    }
  }
}

// Any width, a block a row.
template <class T>
PRAXINO_KERNEL(kRowThreads)
gate_add_any_kernel(ByRow<GateAdd> q) {
  const GateAdd& p = q.params;
  const int64_t width = p.shape.width;
  const T* branch = static_cast<const T*>(p.branch);
  for (int64_t row = block_index(); row < p.shape.rows(); row += grid_blocks()) {
    const float* gate = p.gate + q.tokens.quotient(row) * width;
    for (int64_t i = thread_index(); i < width; i += kRowThreads) {
      const int64_t at = row * width + i;
      store(p.y + at, load(p.x + at) + load(gate + i) * load(branch + at));
    }
  }
}

PRAXINO_HOST_DEVICE inline ChunkSums sums_of(const GateAddBackward& p) {
  return {.results = {p.grad_gate}, .workspace = p.workspace, .sums = 1, .shape = p.shape};
}

// A block a chunk: the gradient of the branch row by row, and the chunk's sums for the gate.
template <class T, int kPieces>
PRAXINO_KERNEL(kRowThreads)
gate_add_backward_kernel(GateAddBackward p) {
  constexpr int kRows = rows_at_once(kPieces);
  const int width = static_cast<int>(p.shape.width);
  const int lanes = row_team(width, kTeamPieces).lanes;
  const int teams = kRowThreads / lanes, lane = thread_index() % lanes;
  const int64_t chunks = all_chunks(p.shape);
  for (int64_t number = block_index(); number < chunks; number += grid_blocks()) {
    const RowRun chunk = chunk_at(number, p.shape);
    Vector<kRowVector> gate[kPieces] = {}, grad_gate[kPieces] = {};
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      gate[piece] = floats_of(
          load_halves(p.gate + chunk.frame * width, half_columns(lane, piece, lanes), width));
    }
    for (int64_t first = chunk.begin + thread_index() / lanes; first < chunk.end;
         first += kRows * teams) {
      RawVector<float, kRowVector> grad[kRows][kPieces];
      RawVector<T, kRowVector> branch[kRows][kPieces];
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          const HalfColumns at = half_columns(lane, piece, lanes);
          const int64_t row = first + r * teams;
          const int there = row < chunk.end ? width : 0;
          grad[r][piece] = load_halves(p.grad + row * width, at, there);
          branch[r][piece] = load_halves(static_cast<const T*>(p.branch) + row * width, at, there);
        }
      }
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          const int64_t row = first + r * teams;
          const auto b = floats_of(branch[r][piece]);
          auto g = floats_of(grad[r][piece]);
          PRAXINO_UNROLL
          for (int i = 0; i < kRowVector; ++i) {
            grad_gate[piece].v[i] += g.v[i] * b.v[i];
            g.v[i] *= gate[piece].v[i];
          }
          if (row < chunk.end && p.grad_branch != nullptr)
            store_halves(static_cast<T*>(p.grad_branch) + row * width,
                         half_columns(lane, piece, lanes), width, g);
        }
      }
    }
    if (p.grad_gate == nullptr) continue;
    reduce_teams<true>(grad_gate, lanes, width, shared_floats(), chunk_row(sums_of(p), number, 0));
  }
}

// Any width, a thread a column of a chunk.
template <class T>
PRAXINO_KERNEL(kRowThreads)
gate_add_backward_any_kernel(GateAddBackward p) {
  const int64_t width = p.shape.width;
  const int64_t columns = all_chunks(p.shape) * width;
  for (int64_t i = block_index() * kRowThreads + thread_index(); i < columns;
       i += grid_blocks() * kRowThreads) {
    const int64_t number = i / width, column = i - number * width;
    const RowRun chunk = chunk_at(number, p.shape);
    const float gate = load(p.gate + chunk.frame * width + column);
    float sum = 0;
    for (int64_t row = chunk.begin; row < chunk.end; ++row) {
      const int64_t at = row * width + column;
      const float grad = load(p.grad + at);
      sum += grad * load(static_cast<const T*>(p.branch) + at);
      if (p.grad_branch != nullptr) store(static_cast<T*>(p.grad_branch) + at, grad * gate);
    }
    if (p.grad_gate != nullptr) store(chunk_row(sums_of(p), number, 0) + column, sum);
  }
}

template <class T>
auto forward_kernel(int pieces) {
  if (pieces == 0) return gate_add_any_kernel<T>;
  if (pieces == 4) return gate_add_kernel<T, 4>;
  return pieces == 2 ? gate_add_kernel<T, 2> : gate_add_kernel<T, 1>;
}

template <class T>
auto backward_kernel(int pieces) {
  if (pieces == 0) return gate_add_backward_any_kernel<T>;
  if (pieces == 4) return gate_add_backward_kernel<T, 4>;
  return pieces == 2 ? gate_add_backward_kernel<T, 2> : gate_add_backward_kernel<T, 1>;
}

}  // namespace

Status launch_gate_add(const GateAdd& p, Stream stream) {
  if (!in_range(p.shape)) return kRefused;
  const int64_t rows = p.shape.rows();
  if (rows == 0) return {};
  const bool aligned =
      aligned_16(p.x) && aligned_16(p.gate) && aligned_16(p.branch) && aligned_16(p.y);
  const RowTeam team = team_for(p.shape.width, kForwardPieces, aligned);
  const int64_t teams = kRowThreads / team.lanes;
  const bool is_float = p.element == Element::kFloat;
  return launch(is_float ? forward_kernel<float>(team.pieces) : forward_kernel<Bf16>(team.pieces),
                {"gate_add", blocks_for((rows + teams - 1) / teams), kRowThreads}, by_row(p),
                stream);
}

Status launch_gate_add_backward(const GateAddBackward& p, Stream stream) {
  if (!in_range(p.shape)) return kRefused;
  if (p.shape.frames == 0) return {};
  const bool aligned =
      aligned_16(p.grad) && aligned_16(p.gate) && aligned_16(p.branch) && aligned_16(p.grad_branch);
  const RowTeam team = team_for(p.shape.width, kTeamPieces, aligned);
  const int64_t chunks = all_chunks(p.shape);
  const int64_t columns = chunks * p.shape.width;
  const bool any = team.pieces == 0, is_float = p.element == Element::kFloat;
  const int64_t blocks = any ? (columns + kRowThreads - 1) / kRowThreads : chunks;
  const Status status = launch(
      is_float ? backward_kernel<float>(team.pieces) : backward_kernel<Bf16>(team.pieces),
      {"gate_add_backward", blocks_for(blocks), kRowThreads, any ? 0 : sums_bytes(p.shape, team)},
      p, stream);
  if (!status.ok() || p.grad_gate == nullptr) return status;
  return launch_add_chunks(sums_of(p), stream);
}

}  // namespace praxino::kernels
