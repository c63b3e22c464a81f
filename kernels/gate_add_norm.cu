#include "kernels/gate_add_norm.h"

#include <algorithm>

#include "kernels/chunk_sums.h"
#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/norm_rows.cuh"
#include "kernels/device/raw_vectors.cuh"
#include "kernels/device/reduce_teams.cuh"
#include "kernels/device/team.cuh"
#include "kernels/gate_add.h"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kSums = 3;  // the gradients of gate, scale and shift
constexpr int kWarps = kRowThreads / kWarp;

// Rows that a thread holds at the same time: two arrays of each, where other kernels have one.
constexpr PRAXINO_HOST_DEVICE int rows_held(int pieces) { return pieces == 1 ? 2 : 1; }

// Floats of shared memory for the sums of a block's rows: of two batches of rows.
constexpr int kSumFloats = 2 * kWarps * rows_held(1);

// Rows in registers, several at a time; what their frame shares, too.
template <class T, int kPieces, bool kWholeBlock>
PRAXINO_KERNEL(kRowThreads, kPieces == 4 ? 2 : 4)
gate_add_norm_kernel(ByRun<GateAddNorm> q) {
  constexpr int kRows = rows_held(kPieces);
  const GateAddNorm& p = q.params;
  const int width = static_cast<int>(p.shape.width),
            lanes = kWholeBlock ? kRowThreads : row_team(width, kTeamPieces).lanes;
  const int teams = kRowThreads / lanes, lane = thread_index() % lanes;
  int batch = 0;
  for (int64_t number = block_index(); number < q.runs(); number += grid_blocks()) {
    const RowRun run = q.run(number);
    Vector<kRowVector> gate[kPieces] = {}, factor[kPieces] = {}, shift[kPieces] = {};
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const HalfColumns at = half_columns(lane, piece, lanes);
      gate[piece] = floats_of(load_halves(p.gate + run.frame * width, at, width));
      factor[piece] = floats_of(load_halves(p.scale + run.frame * width, at, width));
      shift[piece] = floats_of(load_halves(p.shift + run.frame * width, at, width));
    }
    for (int64_t first = run.begin + thread_index() / lanes;
         first - thread_index() / lanes < run.end; first += kRows * teams, batch ^= 1) {
      RawVector<float, kRowVector> x[kRows][kPieces];
      RawVector<T, kRowVector> branch[kRows][kPieces];
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * teams;
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          const HalfColumns at = half_columns(lane, piece, lanes);
          const int there = row < run.end ? width : 0;
          x[r][piece] = load_halves(p.x + row * width, at, there);
          branch[r][piece] = load_halves(static_cast<const T*>(p.branch) + row * width, at, there);
        }
      }
      Vector<kRowVector> sum[kRows][kPieces];
      float squares[kRows] = {};
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * teams;
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          const auto b = floats_of(branch[r][piece]);
          sum[r][piece] = floats_of(x[r][piece]);
          PRAXINO_UNROLL
          for (int i = 0; i < kRowVector; ++i) {
            sum[r][piece].v[i] += gate[piece].v[i] * b.v[i];
            squares[r] += sum[r][piece].v[i] * sum[r][piece].v[i];
          }
          if (row < run.end) {
            store_halves(p.sum + row * width, half_columns(lane, piece, lanes), width,
                         sum[r][piece]);
          }
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
                       modulated(sum[r][piece], inverse, factor[piece], shift[piece]));
        }
      }
    }
  }
}

// Any width, a block a row.
template <class T>
PRAXINO_KERNEL(kRowThreads)
gate_add_norm_any_kernel(ByRow<GateAddNorm> q) {
  const GateAddNorm& p = q.params;
  const int64_t width = p.shape.width;
  for (int64_t row = block_index(); row < p.shape.rows(); row += grid_blocks()) {
    const int64_t of_frame = q.tokens.quotient(row) * width;
    const T* branch = static_cast<const T*>(p.branch) + row * width;
    float squares = 0;
    for (int64_t i = thread_index(); i < width; i += kRowThreads) {
      const float sum =
          load(p.x + row * width + i) + load(p.gate + of_frame + i) * load(branch + i);
      store(p.sum + row * width + i, sum);
      squares += sum * sum;
    }
    const float inverse = inverse_rms(team_sum<true>(squares, kRowThreads, shared_floats()), width);
    if (thread_index() == 0) store(p.inverse + row, inverse);
    for (int64_t i = thread_index(); i < width; i += kRowThreads) {
      const float factor = 1.0F + load(p.scale + of_frame + i);
      const float y = load(p.sum + row * width + i) * inverse * factor;
      store(static_cast<T*>(p.y) + row * width + i, y + load(p.shift + of_frame + i));
    }
  }
}

PRAXINO_HOST_DEVICE inline ChunkSums sums_of(const GateAddNormBackward& p) {
  return {.results = {p.grad_gate, p.grad_scale, p.grad_shift},
          .workspace = p.workspace,
          .sums = kSums,
          .shape = p.shape};
}

// Where a thread of a team stands in rows.
struct Place {
  int width, lane, lanes;
  PRAXINO_DEVICE HalfColumns of(int piece) const { return half_columns(lane, piece, lanes); }
};

// Of the widest rows, registers hold most of one, and nothing that stays from row to row.
constexpr PRAXINO_HOST_DEVICE bool stays_in_registers(int pieces) { return pieces < kRowPieces; }

// A vector that a frame's rows share; of the widest rows read anew for each, from a cache.
template <int kPieces>
struct FrameVector {
  static constexpr bool kStays = stays_in_registers(kPieces);
  const float* from;
  Place place;
  Vector<kRowVector> kept[kStays ? kPieces : 1];

  PRAXINO_DEVICE FrameVector(const float* vector, const Place& there, Site site = PRAXINO_HERE)
      : from(vector), place(there) {
    PRAXINO_UNROLL
    for (int piece = 0; kStays && piece < kPieces; ++piece) kept[piece] = read(piece, site);
  }
  PRAXINO_DEVICE Vector<kRowVector> read(int piece, Site site) const {
    return floats_of(load_halves(from, place.of(piece), place.width, site));
  }
  PRAXINO_DEVICE Vector<kRowVector> at(int piece, Site site = PRAXINO_HERE) const {
    if constexpr (kStays) return kept[piece];
    return read(piece, site);
  }
};

// A sum over the rows of a chunk, by columns; of the widest rows, which are the whole block's, in
// shared memory, where every thread has columns of its own.
template <int kPieces>
struct ColumnSum {
  static constexpr bool kStays = stays_in_registers(kPieces);
  static constexpr int kColumns = kRowThreads * kPieces * kRowVector;
  float* shared;
  Place place;
  Vector<kRowVector> kept[kStays ? kPieces : 1] = {};

  PRAXINO_DEVICE ColumnSum(float* of_block, const Place& there, Site site = PRAXINO_HERE)
      : shared(of_block), place(there) {
    PRAXINO_UNROLL
    for (int piece = 0; !kStays && piece < kPieces; ++piece)
      store_halves(shared, place.of(piece), kColumns, {}, site);
  }
  PRAXINO_DEVICE Vector<kRowVector> at(int piece, Site site) const {
    if constexpr (kStays) return kept[piece];
    const auto first = load_vector<4>(shared + place.of(piece).first, site),
               second = load_vector<4>(shared + place.of(piece).second, site);
    return {{first.v[0], first.v[1], first.v[2], first.v[3], second.v[0], second.v[1], second.v[2],
             second.v[3]}};
  }
  PRAXINO_DEVICE void add(int piece, const Vector<kRowVector>& more, Site site = PRAXINO_HERE) {
    Vector<kRowVector> sum = at(piece, site);
    PRAXINO_UNROLL
    for (int i = 0; i < kRowVector; ++i) sum.v[i] += more.v[i];
    if constexpr (kStays) {
      kept[piece] = sum;
    } else {
      store_halves(shared, place.of(piece), kColumns, sum, site);
    }
  }
  /// Of all teams; as reduce_teams.
  PRAXINO_DEVICE void write(float* to, Site site = PRAXINO_HERE) const {
    if constexpr (kStays) {
      reduce_teams<true>(kept, place.lanes, place.width, shared_floats(), to, site);
    } else {
      PRAXINO_UNROLL
      for (int piece = 0; piece < kPieces; ++piece)
        store_halves(to, place.of(piece), place.width, at(piece, site), site);
    }
  }
};

// A block a chunk: the gradients of x and branch some rows at a time, and the chunk's sums. The
// branch of the widest rows is read last: registers hold the rest.
template <class T, int kPieces, bool kWholeBlock>
PRAXINO_KERNEL(kRowThreads, kPieces == 1 ? 3 : 2)
gate_add_norm_backward_kernel(GateAddNormBackward p) {
  constexpr int kRows = rows_held(kPieces);
  using Sum = ColumnSum<kPieces>;
  const int width = static_cast<int>(p.shape.width),
            lanes = kWholeBlock ? kRowThreads : row_team(width, kTeamPieces).lanes;
  const int teams = kRowThreads / lanes, lane = thread_index() % lanes;
  const Place place{width, lane, lanes};
  const float mean = 1.0F / static_cast<float>(width);
  const int64_t chunks = all_chunks(p.shape);
  // Zeros are taken where no gradient came in, and instead of a branch that nothing needs.
  const float* grad_sum = p.grad_sum == nullptr ? p.sum : p.grad_sum;
  const int of_grad_sum = p.grad_sum == nullptr ? 0 : width,
            of_branch = p.grad_gate == nullptr ? 0 : width;
  const T* branches = static_cast<const T*>(p.branch);
  int batch = 0;
  for (int64_t number = block_index(); number < chunks; number += grid_blocks()) {
    const RowRun chunk = chunk_at(number, p.shape);
    const FrameVector<kPieces> gate(p.gate + chunk.frame * width, place),
        scale(p.scale + chunk.frame * width, place);
    float* of_block = shared_floats() + kSumFloats;
    Sum grad_gate(of_block, place), grad_scale(of_block + Sum::kColumns, place),
        grad_shift(of_block + 2 * Sum::kColumns, place);
    for (int64_t first = chunk.begin + thread_index() / lanes;
         first - thread_index() / lanes < chunk.end; first += kRows * teams, batch ^= 1) {
      RawVector<float, kRowVector> sum[kRows][kPieces], direct[kRows][kPieces];
      RawVector<T, kRowVector> grad[kRows][kPieces], branch[kRows][kPieces];
      float inverse[kRows] = {}, projection[kRows] = {};
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * teams, start = row * width;
        const bool there = row < chunk.end;
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          const HalfColumns at = place.of(piece);
          sum[r][piece] = load_halves(p.sum + start, at, there ? width : 0);
          grad[r][piece] =
              load_halves(static_cast<const T*>(p.grad) + start, at, there ? width : 0);
          direct[r][piece] = load_halves(grad_sum + start, at, there ? of_grad_sum : 0);
          if constexpr (stays_in_registers(kPieces))
            branch[r][piece] = load_halves(branches + start, at, there ? of_branch : 0);
        }
        if (there) inverse[r] = load(p.inverse + row);
      }
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          const auto g = floats_of(grad[r][piece]), s = scale.at(piece);
          auto scaled = floats_of(sum[r][piece]);
          PRAXINO_UNROLL
          for (int i = 0; i < kRowVector; ++i) {
            const float normalized = scaled.v[i] * inverse[r];
            scaled.v[i] = g.v[i] * normalized;
            projection[r] += scaled.v[i] * (1.0F + s.v[i]);
          }
          grad_shift.add(piece, g);
          grad_scale.add(piece, scaled);
        }
      }
      team_sums<kWholeBlock, kRowThreads>(projection, lanes,
                                          shared_floats() + batch * kWarps * kRows);
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * teams;
        if (row >= chunk.end) continue;
        const float along = projection[r] * mean * inverse[r];
        PRAXINO_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) {
          if constexpr (!stays_in_registers(kPieces))
            branch[r][piece] = load_halves(branches + row * width, place.of(piece), of_branch);
          const auto x = floats_of(sum[r][piece]), g = floats_of(grad[r][piece]),
                     s = scale.at(piece), c = gate.at(piece);
          auto total = floats_of(direct[r][piece]), b = floats_of(branch[r][piece]);
          PRAXINO_UNROLL
          for (int i = 0; i < kRowVector; ++i)
            total.v[i] += inverse[r] * (g.v[i] * (1.0F + s.v[i]) - x.v[i] * along);
          if (p.grad_x != nullptr)
            store_halves(p.grad_x + row * width, place.of(piece), width, total);
          PRAXINO_UNROLL
          for (int i = 0; i < kRowVector; ++i) {
            b.v[i] *= total.v[i];
            total.v[i] *= c.v[i];
          }
          grad_gate.add(piece, b);
          if (p.grad_branch != nullptr) {
            store_halves(static_cast<T*>(p.grad_branch) + row * width, place.of(piece), width,
                         total);
          }
        }
      }
    }
    if (p.grad_gate == nullptr) continue;
    const ChunkSums sums = sums_of(p);
    if (kWholeBlock) sync_block();  // the sums of rows have been read
    grad_gate.write(chunk_row(sums, number, 0));
    grad_scale.write(chunk_row(sums, number, 1));
    grad_shift.write(chunk_row(sums, number, 2));
  }
}

// Any width, a block a chunk: a thread has every so many-th column, of the sums, too.
template <class T>
PRAXINO_KERNEL(kRowThreads)
gate_add_norm_backward_any_kernel(GateAddNormBackward p) {
  const int64_t width = p.shape.width, chunks = all_chunks(p.shape);
  const bool summed = p.grad_gate != nullptr;
  for (int64_t number = block_index(); number < chunks; number += grid_blocks()) {
    const RowRun chunk = chunk_at(number, p.shape);
    float *of_gate = nullptr, *of_scale = nullptr, *of_shift = nullptr;
    if (summed) {
      const ChunkSums sums = sums_of(p);
      of_gate = chunk_row(sums, number, 0);
      of_scale = chunk_row(sums, number, 1);
      of_shift = chunk_row(sums, number, 2);
    }
    for (int64_t i = thread_index(); summed && i < width; i += kRowThreads) {
      store(of_gate + i, 0.0F);
      store(of_scale + i, 0.0F);
      store(of_shift + i, 0.0F);
    }
    for (int64_t row = chunk.begin; row < chunk.end; ++row) {
      const float inverse = load(p.inverse + row);
      float projection = 0;
      for (int64_t i = thread_index(); i < width; i += kRowThreads) {
        const float grad = load(static_cast<const T*>(p.grad) + row * width + i);
        const float normalized = load(p.sum + row * width + i) * inverse;
        projection += grad * (1.0F + load(p.scale + chunk.frame * width + i)) * normalized;
        if (!summed) continue;
        store(of_scale + i, load(of_scale + i) + grad * normalized);
        store(of_shift + i, load(of_shift + i) + grad);
      }
      projection = team_sum<true>(projection, kRowThreads, shared_floats());
      const float along = projection / static_cast<float>(width) * inverse;
      for (int64_t i = thread_index(); i < width; i += kRowThreads) {
        const int64_t at = row * width + i, of_frame = chunk.frame * width + i;
        const float scaled =
            load(static_cast<const T*>(p.grad) + at) * (1.0F + load(p.scale + of_frame));
        const float direct = p.grad_sum == nullptr ? 0.0F : load(p.grad_sum + at);
        const float total = direct + inverse * (scaled - load(p.sum + at) * along);
        if (p.grad_x != nullptr) store(p.grad_x + at, total);
        if (p.grad_branch != nullptr)
          store(static_cast<T*>(p.grad_branch) + at, total * load(p.gate + of_frame));
        if (summed)
          store(of_gate + i,
                load(of_gate + i) + total * load(static_cast<const T*>(p.branch) + at));
      }
    }
  }
}

template <class T>
auto forward_kernel(RowTeam team) {
  return of_team(team, [](auto pieces, auto whole_block) {
    return gate_add_norm_kernel<T, decltype(pieces)::value, decltype(whole_block)::value>;
  });
}

template <class T>
auto backward_kernel(RowTeam team) {
  if (team.pieces == 0) return gate_add_norm_backward_any_kernel<T>;
  return of_team(team, [](auto pieces, auto whole_block) {
    return gate_add_norm_backward_kernel<T, decltype(pieces)::value, decltype(whole_block)::value>;
  });
}

// Of shared memory: sums over rows and, behind them or in their turn, over teams.
size_t backward_bytes(const FrameRows& shape, RowTeam team) {
  constexpr size_t kRowSums = kSumFloats * sizeof(float);
  if (team.pieces == 0 || stays_in_registers(team.pieces))
    return team.pieces == 0 ? kRowSums : std::max(sums_bytes(shape, team), kRowSums);
  return kRowSums + kSums * ColumnSum<kRowPieces>::kColumns * sizeof(float);
}

Status launch_without_norm(const GateAddNormBackward& p, Stream stream) {
  if (p.grad_x != nullptr || p.grad_scale != nullptr || p.grad_shift != nullptr) return kRefused;
  return launch_gate_add_backward({.grad = p.grad_sum,
                                   .gate = p.gate,
                                   .branch = p.branch,
                                   .grad_branch = p.grad_branch,
                                   .grad_gate = p.grad_gate,
                                   .workspace = p.workspace,
                                   .shape = p.shape,
                                   .element = p.element},
                                  stream);
}

}  // namespace

Status launch_gate_add_norm(const GateAddNorm& p, Stream stream) {
  if (!in_range(p.shape)) return kRefused;
  if (p.shape.rows() == 0) return {};
  const bool aligned = aligned_16(p.x) && aligned_16(p.branch) && aligned_16(p.gate) &&
                       aligned_16(p.scale) && aligned_16(p.shift) && aligned_16(p.sum) &&
                       aligned_16(p.y);
  const RowTeam team = team_for(p.shape.width, kTeamPieces, aligned);
  const bool is_float = p.element == Element::kFloat;
  if (team.pieces == 0) {
    return launch(
        is_float ? gate_add_norm_any_kernel<float> : gate_add_norm_any_kernel<Bf16>,
        {"gate_add_norm_any", blocks_for(p.shape.rows()), kRowThreads, kWarps * sizeof(float)},
        by_row(p), stream);
  }
  const auto q = by_run(p, rows_of_run(team));
  return launch(is_float ? forward_kernel<float>(team) : forward_kernel<Bf16>(team),
                {"gate_add_norm", blocks_for(q.runs()), kRowThreads, kSumFloats * sizeof(float)}, q,
                stream);
}

Status launch_gate_add_norm_backward(const GateAddNormBackward& p, Stream stream) {
  if (!in_range(p.shape)) return kRefused;
  if (p.shape.frames == 0) return {};
  if (p.grad == nullptr && p.shape.tokens != 0) return launch_without_norm(p, stream);
  const bool sums = p.grad_gate != nullptr;
  if ((p.grad_scale != nullptr) != sums || (p.grad_shift != nullptr) != sums) return kRefused;
  const bool aligned = aligned_16(p.sum) && aligned_16(p.branch) && aligned_16(p.gate) &&
                       aligned_16(p.scale) && aligned_16(p.grad_sum) && aligned_16(p.grad) &&
                       aligned_16(p.grad_x) && aligned_16(p.grad_branch);
  const RowTeam team = team_for(p.shape.width, kTeamPieces, aligned);
  const bool is_float = p.element == Element::kFloat;
  const Status status =
      launch(is_float ? backward_kernel<float>(team) : backward_kernel<Bf16>(team),
             {"gate_add_norm_backward", blocks_for(all_chunks(p.shape)), kRowThreads,
              backward_bytes(p.shape, team)},
             p, stream);
  if (!status.ok() || !sums) return status;
  return launch_add_chunks(sums_of(p), stream);
}

}  // namespace praxino::kernels
