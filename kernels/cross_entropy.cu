#include "kernels/cross_entropy.h"

#include <algorithm>

#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/raw_vectors.cuh"
#include "kernels/device/team.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
// Of rows that do not fit registers. Few blocks: what all of them read must fit the second-level
// cache until they read it again.
constexpr int kLongRowThreads = 512;
constexpr int kLongRowBlocks = 2;  // of a multiprocessor, at most
constexpr int64_t kCachedBytes = 24 << 20;
constexpr int kVector = 8;
constexpr int kPieces = 4;  // of a thread, in registers
constexpr float kLog2E = 1.44269504F, kLn2 = 0.693147181F;
constexpr float kLowest = -3.40282347e38F;

// What a row is judged by.
struct Row {
  int64_t target;
  float weight;  // NaN where the target is no class
  bool ignored;
};

PRAXINO_DEVICE Row row_of(const CrossEntropy& p, int64_t row) {
  const int64_t target = load_raw(p.targets + row, PRAXINO_HERE);
  const bool exists = target >= 0 && target < p.classes;
  const float weight = p.weights == nullptr ? 1.0F : load(p.weights + row);
  return {target, exists ? weight : float_of(0x7fc00000U), target == p.ignore};
}

// e^(x - largest); `largest` is finite.
PRAXINO_DEVICE float exp_below(float x, float largest) { return exp2_fast((x - largest) * kLog2E); }

PRAXINO_DEVICE float loss_of(const Row& row, float largest, float sum, float logit) {
  return row.ignored ? 0.0F : row.weight * (largest + log2_fast(sum) * kLn2 - logit);
}

// The gradient of element `column`, whose share of the probability is known.
PRAXINO_DEVICE float gradient_of(const Row& row, float share, int64_t column) {
  return row.ignored ? 0.0F : row.weight * (share - (column == row.target ? 1.0F : 0.0F));
}

// Rows in registers: a warp a row, or a block.
template <class T, bool kWholeBlock>
PRAXINO_KERNEL(kThreads)
cross_entropy_kernel(CrossEntropy p) {
  constexpr int kLanes = kWholeBlock ? kThreads : kWarp, kTeams = kThreads / kLanes;
  const int lane = thread_index() % kLanes, classes = static_cast<int>(p.classes);
  for (int64_t first = block_index() * kTeams; first < p.rows; first += grid_blocks() * kTeams) {
    const int64_t number = first + thread_index() / kLanes;
    const bool exists = number < p.rows;
    const Row row = exists ? row_of(p, number) : Row{0, 0, true};
    T* logits = static_cast<T*>(p.logits) + number * p.classes;
    Vector<kVector> x[kPieces] = {};
    float largest = kLowest, logit = 0;
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const int column = (piece * kLanes + lane) * kVector;
      if (!exists || column >= classes) continue;
      x[piece] = load_vector<kVector>(logits + column);
      PRAXINO_UNROLL
      for (int i = 0; i < kVector; ++i) {
        largest = maximum(largest, x[piece].v[i]);
        if (column + i == row.target) logit = x[piece].v[i];
      }
    }
    largest = team_max<kWholeBlock>(largest, kLanes, shared_floats());
    float sum = 0;
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const int column = (piece * kLanes + lane) * kVector;
      if (!exists || column >= classes) continue;
      PRAXINO_UNROLL
      for (int i = 0; i < kVector; ++i) {
        x[piece].v[i] = exp_below(x[piece].v[i], largest);
        sum += x[piece].v[i];
      }
    }
    sum = team_sum<kWholeBlock>(sum, kLanes, shared_floats());
    if (!exists) continue;
    const bool is_class = row.target >= 0 && row.target < p.classes;
    const int holder = is_class ? static_cast<int>(row.target) / kVector % kLanes : 0;
    if (lane == holder) store(p.losses + number, loss_of(row, largest, sum, logit));
    if (!p.gradient) continue;
    const float inverse = reciprocal_fast(sum);
    PRAXINO_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const int column = (piece * kLanes + lane) * kVector;
      if (column >= classes) continue;
      PRAXINO_UNROLL
      for (int i = 0; i < kVector; ++i)
        x[piece].v[i] = gradient_of(row, x[piece].v[i] * inverse, column + i);
      store_vector(logits + column, x[piece]);
    }
  }
}

// Calls piece(first element, its and its neighbours' values) for the elements of a row: vectors,
// several of them loaded before the first is looked at, but for the row's ends.
template <int kThreads, class T, class Piece>
PRAXINO_DEVICE void for_row(const T* row, int64_t count, Piece piece) {
  constexpr int kAtOnce = 4, kStep = kThreads * kVector;
  const auto first = static_cast<int64_t>(reinterpret_cast<uintptr_t>(row) / sizeof(T) % kVector);
  const RowParts parts = row_parts(first, count, kVector);
  for (int64_t i = thread_index(); i < parts.body; i += kThreads) piece(i, load_vector<1>(row + i));
  for (int64_t i = parts.body + thread_index() * kVector; i < parts.tail; i += kAtOnce * kStep) {
    RawVector<T, kVector> x[kAtOnce];
    PRAXINO_UNROLL
    for (int j = 0; j < kAtOnce; ++j)
      x[j] = load_or_zero<kVector>(row + i + j * kStep, i + j * kStep < parts.tail);
    PRAXINO_UNROLL
    for (int j = 0; j < kAtOnce; ++j) {
      if (i + j * kStep < parts.tail) piece(i + j * kStep, floats_of(x[j]));
    }
  }
  for (int64_t i = parts.tail + thread_index(); i < count; i += kThreads)
    piece(i, load_vector<1>(row + i));
}

// Any number of classes, a block a row, which is read twice: the second time from the cache, if the
// rows of all blocks fit it.
template <class T>
PRAXINO_KERNEL(kLongRowThreads, kLongRowBlocks)
cross_entropy_any_kernel(CrossEntropy p) {
  for (int64_t number = block_index(); number < p.rows; number += grid_blocks()) {
    const Row row = row_of(p, number);
    T* logits = static_cast<T*>(p.logits) + number * p.classes;
    const bool is_class = row.target >= 0 && row.target < p.classes;
    const float logit = thread_index() == 0 && is_class ? load(logits + row.target) : 0.0F;
    // The sum so far is relative to the largest so far.
    float largest = kLowest, sum = 0;
    for_row<kLongRowThreads>(logits, p.classes, [&]<int N>(int64_t, const Vector<N>& x) {
      float most = largest;
      PRAXINO_UNROLL
      for (int i = 0; i < N; ++i) most = maximum(most, x.v[i]);
      sum *= exp_below(largest, most);
      largest = most;
      PRAXINO_UNROLL
      for (int i = 0; i < N; ++i) sum += exp_below(x.v[i], largest);
    });
    const float own = largest;
    largest = team_max<true>(own, kLongRowThreads, shared_floats());
    sum = team_sum<true>(sum * exp_below(own, largest), kLongRowThreads, shared_floats());
    if (thread_index() == 0) store(p.losses + number, loss_of(row, largest, sum, logit));
    if (!p.gradient) continue;
    const float inverse = reciprocal_fast(sum);
    for_row<kLongRowThreads>(logits, p.classes, [&]<int N>(int64_t at, Vector<N> x) {
      PRAXINO_UNROLL
      for (int i = 0; i < N; ++i)
        x.v[i] = gradient_of(row, exp_below(x.v[i], largest) * inverse, at + i);
      store_vector(logits + at, x);
    });
  }
}

template <class T>
PRAXINO_KERNEL(kThreads)
scale_rows_kernel(ScaleRows p) {
  for (int64_t number = block_index(); number < p.rows; number += grid_blocks()) {
    const float factor = load(p.factors + number);
    if (factor == 1.0F) continue;
    T* row = static_cast<T*>(p.rows_of) + number * p.width;
    for_row<kThreads>(row, p.width, [&]<int N>(int64_t at, Vector<N> x) {
      PRAXINO_UNROLL
      for (int i = 0; i < N; ++i) x.v[i] *= factor;
      store_vector(row + at, x);
    });
  }
}

constexpr bool in_range(int64_t rows, int64_t width) {
  return rows >= 0 && width >= 1 && width <= INT32_MAX && rows <= INT64_MAX / 8 / width;
}

}  // namespace

Status launch_cross_entropy(const CrossEntropy& p, Stream stream) {
  if (!in_range(p.rows, p.classes)) return kRefused;
  if (p.rows == 0) return {};
  const bool is_float = p.element == Element::kFloat;
  const bool whole = p.classes % kVector == 0 && aligned_16(p.logits);
  constexpr size_t kShared = kWarps * sizeof(float);
  if (whole && p.classes <= kWarp * kVector * kPieces) {
    const auto kernel =
        is_float ? cross_entropy_kernel<float, false> : cross_entropy_kernel<Bf16, false>;
    return launch(kernel, {"cross_entropy", blocks_for((p.rows + kWarps - 1) / kWarps), kThreads},
                  p, stream);
  }
  if (whole && p.classes <= kThreads * kVector * kPieces) {
    const auto kernel =
        is_float ? cross_entropy_kernel<float, true> : cross_entropy_kernel<Bf16, true>;
    return launch(kernel, {"cross_entropy", blocks_for(p.rows), kThreads, kShared}, p, stream);
  }
  const auto kernel = is_float ? cross_entropy_any_kernel<float> : cross_entropy_any_kernel<Bf16>;
  const int64_t all = blocks_for(INT64_MAX) / 32, bytes = all * p.classes * bytes_of(p.element);
  const int64_t blocks = !p.gradient || kLongRowBlocks * bytes <= kCachedBytes ? kLongRowBlocks : 1;
  return launch(kernel,
                {"cross_entropy_any", std::min(p.rows, blocks * all), kLongRowThreads,
                 kLongRowThreads / kWarp * sizeof(float)},
                p, stream);
}

Status launch_scale_rows(const ScaleRows& p, Stream stream) {
  if (!in_range(p.rows, p.width)) return kRefused;
  if (p.rows == 0) return {};
  const auto kernel =
      p.element == Element::kFloat ? scale_rows_kernel<float> : scale_rows_kernel<Bf16>;
  return launch(kernel, {"scale_rows", blocks_for(p.rows), kThreads}, p, stream);
}

}  // namespace praxino::kernels
