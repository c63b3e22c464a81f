#include "kernels/norm_rotate.h"

#include "kernels/chunk_sums.h"
#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/raw_vectors.cuh"
#include "kernels/device/reduce_teams.cuh"
#include "kernels/device/team.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kWarps = kRowThreads / kWarp;
using Vec = Vector<kRowVector>;

// A thread holds neighbouring elements of the first half of a head, and those of the second half
// that rotate with them.
RowTeam pair_team(int64_t width, bool aligned) {
  const RowTeam team = team_for(width / 2, 1, aligned);
  return team.lanes <= kWarp ? team : RowTeam{kRowThreads, 0};
}

template <class T>
PRAXINO_KERNEL(kRowThreads)
norm_rotate_kernel(ByHead<NormRotate> q) {
  const NormRotate& p = q.params;
  const int width = static_cast<int>(p.shape.width), half = width / 2;
  const int lanes = row_team(half, 1).lanes, teams = kRowThreads / lanes;
  const int column = row_column(thread_index() % lanes, 0, lanes);
  const bool holds = column < half;
  const bool normed = p.gain != nullptr;
  Vec gain1 = {}, gain2 = {};
  if (holds && normed) {
    gain1 = load_vector<kRowVector>(p.gain + column);
    gain2 = load_vector<kRowVector>(p.gain + half + column);
  }
  const int64_t rows = p.shape.all().rows();
  for (int64_t first = block_index() * teams; first < rows; first += grid_blocks() * teams) {
    const int64_t row = first + thread_index() / lanes;
    const bool works = holds && row < rows;
    const int64_t at = row * width + column;
    Vec x1 = {}, x2 = {};
    float squares = 0;
    if (works) {
      x1 = load_vector<kRowVector>(static_cast<const T*>(p.x) + at);
      x2 = load_vector<kRowVector>(static_cast<const T*>(p.x) + at + half);
      PRAXINO_UNROLL
      for (int i = 0; i < kRowVector; ++i) squares += x1.v[i] * x1.v[i] + x2.v[i] * x2.v[i];
    }
    const float inverse = normed ? inverse_rms(group_sum(squares, lanes), width) : 1.0F;
    if (!works) continue;
    if (normed && column == 0) store(p.inverse + row, inverse);
    const int64_t angle = q.position(row) * half + column;
    const Vec c = load_vector<kRowVector>(p.cos + angle);
    const Vec s = load_vector<kRowVector>(p.sin + angle);
    PRAXINO_UNROLL
    for (int i = 0; i < kRowVector; ++i) {
      const float a = normed ? x1.v[i] * inverse * gain1.v[i] : x1.v[i];
      const float b = normed ? x2.v[i] * inverse * gain2.v[i] : x2.v[i];
      x1.v[i] = a * c.v[i] - b * s.v[i];
      x2.v[i] = b * c.v[i] + a * s.v[i];
    }
    store_vector(static_cast<T*>(p.y) + at, x1);
    store_vector(static_cast<T*>(p.y) + at + half, x2);
  }
}

// Any width, a block a row.
template <class T>
PRAXINO_KERNEL(kRowThreads)
norm_rotate_any_kernel(ByHead<NormRotate> q) {
  const NormRotate& p = q.params;
  const int64_t width = p.shape.width, half = width / 2;
  const bool normed = p.gain != nullptr;
  for (int64_t row = block_index(); row < p.shape.all().rows(); row += grid_blocks()) {
    const T* x = static_cast<const T*>(p.x) + row * width;
    T* y = static_cast<T*>(p.y) + row * width;
    float inverse = 1;
    if (normed) {
      float squares = 0;
      for (int64_t i = thread_index(); i < width; i += kRowThreads) {
        const float value = load(x + i);
        squares += value * value;
      }
      inverse = inverse_rms(team_sum<true>(squares, kRowThreads, shared_floats()), width);
      if (thread_index() == 0) store(p.inverse + row, inverse);
    }
    const int64_t angle = q.position(row) * half;
    for (int64_t i = thread_index(); i < half; i += kRowThreads) {
      float a = load(x + i), b = load(x + half + i);
      if (normed) {
        a *= inverse * load(p.gain + i);
        b *= inverse * load(p.gain + half + i);
      }
      const float c = load(p.cos + angle + i), s = load(p.sin + angle + i);
      store(y + i, a * c - b * s);
      store(y + half + i, b * c + a * s);
    }
  }
}

PRAXINO_HOST_DEVICE inline ChunkSums sums_of(const NormRotateBackward& p) {
  return {.results = {p.grad_gain}, .workspace = p.workspace, .sums = 1, .shape = p.shape.all()};
}

// A block a chunk: the gradient of x, and the chunk's sum for the gain. A thread works on kRows
// neighbouring rows at a time, heads of one position, which they divide.
template <class T, int kRows>
PRAXINO_KERNEL(kRowThreads)
norm_rotate_backward_kernel(ByHead<NormRotateBackward> q) {
  const NormRotateBackward& p = q.params;
  const FrameRows shape = p.shape.all();
  const int width = static_cast<int>(shape.width), half = width / 2;
  const int lanes = row_team(half, 1).lanes, teams = kRowThreads / lanes;
  const int column = row_column(thread_index() % lanes, 0, lanes);
  const bool holds = column < half;
  const float mean = 1.0F / static_cast<float>(width);
  Vec gain1 = {}, gain2 = {};
  if (holds) {
    gain1 = load_vector<kRowVector>(p.gain + column);
    gain2 = load_vector<kRowVector>(p.gain + half + column);
  }
  const int64_t chunks = all_chunks(shape);
  for (int64_t number = block_index(); number < chunks; number += grid_blocks()) {
    const RowRun chunk = chunk_at(number, shape);
    Vec sum1[1] = {}, sum2[1] = {};
    for (int64_t first = chunk.begin + thread_index() / lanes * kRows;
         first - thread_index() / lanes * kRows < chunk.end; first += kRows * teams) {
      const bool works = holds && first < chunk.end;
      RawVector<T, kRowVector> x[kRows][2], grad[kRows][2];
      float inverse[kRows] = {}, projection[kRows] = {};
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t at = (first + r) * width + column;
        x[r][0] = load_or_zero<kRowVector>(static_cast<const T*>(p.x) + at, works);
        x[r][1] = load_or_zero<kRowVector>(static_cast<const T*>(p.x) + at + half, works);
        grad[r][0] = load_or_zero<kRowVector>(static_cast<const T*>(p.grad) + at, works);
        grad[r][1] = load_or_zero<kRowVector>(static_cast<const T*>(p.grad) + at + half, works);
        if (first < chunk.end) inverse[r] = load(p.inverse + first + r);
      }
      const int64_t angle = q.position(first) * half + column;
      const Vec cos = floats_of(load_or_zero<kRowVector>(p.cos + angle, works)),
                sin = floats_of(load_or_zero<kRowVector>(p.sin + angle, works));
      Vec g1[kRows], g2[kRows];
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Vec x1 = floats_of(x[r][0]), x2 = floats_of(x[r][1]);
        g1[r] = floats_of(grad[r][0]);
        g2[r] = floats_of(grad[r][1]);
        PRAXINO_UNROLL
        for (int i = 0; i < kRowVector; ++i) {
          const float a = g1[r].v[i] * cos.v[i] + g2[r].v[i] * sin.v[i];
          const float b = g2[r].v[i] * cos.v[i] - g1[r].v[i] * sin.v[i];
          sum1[0].v[i] += a * (x1.v[i] * inverse[r]);
          sum2[0].v[i] += b * (x2.v[i] * inverse[r]);
          g1[r].v[i] = a * gain1.v[i];
          g2[r].v[i] = b * gain2.v[i];
          projection[r] += g1[r].v[i] * x1.v[i] + g2[r].v[i] * x2.v[i];
        }
        projection[r] *= inverse[r];
      }
      team_sums<false, kRowThreads>(projection, lanes, nullptr);
      PRAXINO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        if (!works || p.grad_x == nullptr) continue;
        const Vec x1 = floats_of(x[r][0]), x2 = floats_of(x[r][1]);
        const float along = projection[r] * mean * inverse[r];
        PRAXINO_UNROLL
        for (int i = 0; i < kRowVector; ++i) {
          g1[r].v[i] = inverse[r] * (g1[r].v[i] - x1.v[i] * along);
          g2[r].v[i] = inverse[r] * (g2[r].v[i] - x2.v[i] * along);
        }
        const int64_t at = (first + r) * width + column;
        store_vector(static_cast<T*>(p.grad_x) + at, g1[r]);
        store_vector(static_cast<T*>(p.grad_x) + at + half, g2[r]);
      }
    }
    if (p.grad_gain == nullptr) continue;
    float* to = chunk_row(sums_of(p), number, 0);
    reduce_teams<false>(sum1, lanes, half, shared_floats(), to);
    reduce_teams<false>(sum2, lanes, half, shared_floats(), to + half);
  }
}

// The gradient before the rotation, of element i of a head.
template <class T>
PRAXINO_DEVICE float unrotated(const ByHead<NormRotateBackward>& q, int64_t row, int64_t i,
                               Site site = PRAXINO_HERE) {
  const NormRotateBackward& p = q.params;
  const int64_t half = p.shape.width / 2, pair = i < half ? i : i - half;
  const T* grad = static_cast<const T*>(p.grad) + row * p.shape.width;
  const int64_t angle = q.position(row) * half + pair;
  const float c = load(p.cos + angle, site), s = load(p.sin + angle, site);
  const float g1 = load(grad + pair, site), g2 = load(grad + half + pair, site);
  return i < half ? g1 * c + g2 * s : g2 * c - g1 * s;
}

// Any width, a block a row: the gradient of x.
template <class T>
PRAXINO_KERNEL(kRowThreads)
norm_rotate_backward_any_kernel(ByHead<NormRotateBackward> q) {
  const NormRotateBackward& p = q.params;
  const int64_t width = p.shape.width;
  for (int64_t row = block_index(); row < p.shape.all().rows(); row += grid_blocks()) {
    const T* x = static_cast<const T*>(p.x) + row * width;
    const float inverse = load(p.inverse + row);
    float projection = 0;
    for (int64_t i = thread_index(); i < width; i += kRowThreads)
      projection += unrotated<T>(q, row, i) * load(p.gain + i) * load(x + i) * inverse;
    projection = team_sum<true>(projection, kRowThreads, shared_floats());
    projection /= static_cast<float>(width);
    for (int64_t i = thread_index(); i < width; i += kRowThreads) {
      const float scaled = unrotated<T>(q, row, i) * load(p.gain + i);
      store(static_cast<T*>(p.grad_x) + row * width + i,
            inverse * (scaled - load(x + i) * inverse * projection));
    }
  }
}

// Any width, a thread a column of a chunk: the sum for the gain.
template <class T>
PRAXINO_KERNEL(kRowThreads)
norm_rotate_backward_sums_kernel(ByHead<NormRotateBackward> q) {
  const NormRotateBackward& p = q.params;
  const FrameRows shape = p.shape.all();
  const int64_t columns = all_chunks(shape) * shape.width;
  for (int64_t i = block_index() * kRowThreads + thread_index(); i < columns;
       i += grid_blocks() * kRowThreads) {
    const int64_t number = i / shape.width, column = i - number * shape.width;
    const RowRun chunk = chunk_at(number, shape);
    float sum = 0;
    for (int64_t row = chunk.begin; row < chunk.end; ++row) {
      const float x = load(static_cast<const T*>(p.x) + row * shape.width + column);
      sum += unrotated<T>(q, row, column) * x * load(p.inverse + row);
    }
    store(chunk_row(sums_of(p), number, 0) + column, sum);
  }
}

template <class T>
Status launch_any_backward(const NormRotateBackward& p, Stream stream) {
  const FrameRows shape = p.shape.all();
  if (shape.rows() > 0 && p.grad_x != nullptr) {
    const Status status = launch(
        norm_rotate_backward_any_kernel<T>,
        {"norm_rotate_backward_any", blocks_for(shape.rows()), kRowThreads, kWarps * sizeof(float)},
        by_head(p), stream);
    if (!status.ok()) return status;
  }
  if (p.grad_gain == nullptr) return {};
  const int64_t columns = all_chunks(shape) * shape.width;
  return launch(norm_rotate_backward_sums_kernel<T>,
                {"norm_rotate_backward_sums", blocks_for((columns + kRowThreads - 1) / kRowThreads),
                 kRowThreads},
                by_head(p), stream);
}

Status launch_backward(const NormRotateBackward& p, RowTeam team, Stream stream) {
  const FrameRows shape = p.shape.all();
  const bool is_float = p.element == Element::kFloat;
  if (team.pieces == 0)
    return is_float ? launch_any_backward<float>(p, stream) : launch_any_backward<Bf16>(p, stream);
  const auto kernel = p.shape.heads % 2 == 0 ? (is_float ? norm_rotate_backward_kernel<float, 2>
                                                         : norm_rotate_backward_kernel<Bf16, 2>)
                                             : (is_float ? norm_rotate_backward_kernel<float, 1>
                                                         : norm_rotate_backward_kernel<Bf16, 1>);
  return launch(kernel,
                {"norm_rotate_backward", blocks_for(all_chunks(shape)), kRowThreads,
                 sums_bytes(shape, team) / 2},
                by_head(p), stream);
}

}  // namespace

Status launch_norm_rotate(const NormRotate& p, Stream stream) {
  if (!in_range(p.shape)) return kRefused;
  const int64_t rows = p.shape.all().rows();
  if (rows == 0) return {};
  const bool aligned = aligned_16(p.x) && aligned_16(p.gain) && aligned_16(p.cos) &&
                       aligned_16(p.sin) && aligned_16(p.y);
  const RowTeam team = pair_team(p.shape.width, aligned);
  const bool is_float = p.element == Element::kFloat;
  if (team.pieces == 0) {
    return launch(is_float ? norm_rotate_any_kernel<float> : norm_rotate_any_kernel<Bf16>,
                  {"norm_rotate_any", blocks_for(rows), kRowThreads, kWarps * sizeof(float)},
                  by_head(p), stream);
  }
  const int64_t teams = kRowThreads / team.lanes;
  return launch(is_float ? norm_rotate_kernel<float> : norm_rotate_kernel<Bf16>,
                {"norm_rotate", blocks_for((rows + teams - 1) / teams), kRowThreads}, by_head(p),
                stream);
}

Status launch_norm_rotate_backward(const NormRotateBackward& p, Stream stream) {
  if (!in_range(p.shape)) return kRefused;
  const bool aligned = aligned_16(p.x) && aligned_16(p.gain) && aligned_16(p.cos) &&
                       aligned_16(p.sin) && aligned_16(p.grad) && aligned_16(p.grad_x);
  const Status status = launch_backward(p, pair_team(p.shape.width, aligned), stream);
  if (!status.ok() || p.grad_gain == nullptr) return status;
  return launch_add_chunks(sums_of(p), stream);
}

}  // namespace praxino::kernels
