#include "kernels/fsq.h"

#include "kernels/device/copy_async.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/raw_vectors.cuh"
#include "kernels/device/rounding.cuh"
#include "kernels/device/thread.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kThreads = 128;
constexpr int kRowsOfThread = 4;
constexpr int kRows = kThreads * kRowsOfThread;  // of a tile
constexpr int kPiecesOfThread = 2;               // of 16 bytes, backward

// What a launch adds to its parameters: of each channel the largest step, half of it, and what one
// half is divided by it, rounded.
struct FsqTables {
  Fsq p;
  float top[kMaxFsqChannels] = {};
  float half[kMaxFsqChannels] = {};
  float one_over_half[kMaxFsqChannels] = {};
};

FsqTables with_tables(const Fsq& p) {
  FsqTables q{.p = p};
  for (int c = 0; c < p.levels.channels; ++c) {
    q.top[c] = static_cast<float>(p.levels.of[c] - 1);
    q.half[c] = 0.5F * q.top[c];
    q.one_over_half[c] = 1.0F / q.half[c];
  }
  return q;
}

// From global to shared memory, or the way back: all threads together.
template <class T, int kVector>
PRAXINO_DEVICE void stage_tile(T* tile, const T* from, uint32_t elements) {
  const uint32_t whole = kVector == 1 ? 0 : elements / kVector * kVector;
  const auto own = static_cast<uint32_t>(thread_index());
  if constexpr (kVector > 1) {
    for (uint32_t i = own * kVector; i < whole; i += kThreads * kVector)
      copy_16_async(tile + i, from + i);
  }
  for (uint32_t i = whole + own; i < elements; i += kThreads) store(tile + i, load(from + i));
  commit_copies();
  wait_copies<0>();
}

template <class T, int kVector>
PRAXINO_DEVICE void write_tile(const T* tile, T* to, uint32_t elements) {
  const uint32_t whole = kVector == 1 ? 0 : elements / kVector * kVector;
  const auto own = static_cast<uint32_t>(thread_index());
  if constexpr (kVector > 1) {
    for (uint32_t i = own * kVector; i < whole; i += kThreads * kVector)
      store_words(to + i, load_words(tile + i, PRAXINO_HERE), PRAXINO_HERE);
  }
  for (uint32_t i = whole + own; i < elements; i += kThreads) store(to + i, load(tile + i));
}

// A thread takes whole rows; elements become codes in shared memory, where they lie.
template <class T, int kVector>
PRAXINO_KERNEL(kThreads)
fsq_kernel(PRAXINO_PARAMETERS FsqTables q) {
  const Fsq& p = q.p;
  const int channels = p.levels.channels;
  T* tile = reinterpret_cast<T*>(shared_floats());
  const int64_t tiles = (p.rows + kRows - 1) / kRows;
  for (int64_t number = block_index(); number < tiles; number += grid_blocks()) {
    const int64_t first = number * kRows, left = p.rows - first;
    const int rows = left < kRows ? static_cast<int>(left) : kRows;
    const auto elements = static_cast<uint32_t>(rows * channels);
    stage_tile<T, kVector>(tile, static_cast<const T*>(p.z) + first * channels, elements);
    sync_block();
    int64_t index[kRowsOfThread] = {};
    PRAXINO_NO_UNROLL
    for (int c = channels - 1; c >= 0; --c) {
      const float top = q.top[c], half = q.half[c], one_over_half = q.one_over_half[c];
      PRAXINO_UNROLL
      for (int r = 0; r < kRowsOfThread; ++r) {
        const int row = thread_index() + r * kThreads;
        if (row >= rows) break;
        const float z = load(tile + row * channels + c);
        // (tanh(z) + 1) / 2; NaN counts as step 0.
        const float share = sigmoid_fast(2.0F * z);
        const Whole step = nearest_product(share > 0.0F ? share : 0.0F, top);
        const float code = quotient_rounded(step.value, half, one_over_half) - 1.0F;
        store(tile + row * channels + c, z == z ? code : z);
        index[r] = index[r] * p.levels.of[c] + step.number;
      }
    }
    PRAXINO_UNROLL
    for (int r = 0; r < kRowsOfThread; ++r) {
      const int row = thread_index() + r * kThreads;
      if (row < rows) store(p.indices + first + row, index[r]);
    }
    sync_block();
    write_tile<T, kVector>(tile, static_cast<T*>(p.codes) + first * channels, elements);
    sync_block();  // before the tile is used again
  }
}

// 1 - tanh(z)^2 = 4 s (1 - s) for s = 1 / (1 + e^(2 |z|)), small where tanh is near its ends, and
// exact there.
PRAXINO_DEVICE float slope_of_tanh(float z) {
  const float tail = sigmoid_fast(-2.0F * (z < 0.0F ? -z : z));
  return 4.0F * tail * (1.0F - tail);
}

// 16 bytes at a time, several under way.
template <class T>
PRAXINO_KERNEL(kThreads)
fsq_backward_kernel(FsqBackward p) {
  constexpr int kVector = 16 / sizeof(T);
  const T* z = static_cast<const T*>(p.z);
  const T* grad = static_cast<const T*>(p.grad);
  T* grad_z = static_cast<T*>(p.grad_z);
  const int64_t pieces = p.elements / kVector;
  for (int64_t first = block_index() * kThreads * kPiecesOfThread + thread_index(); first < pieces;
       first += grid_blocks() * kThreads * kPiecesOfThread) {
    RawVector<T, kVector> x[kPiecesOfThread], g[kPiecesOfThread];
    PRAXINO_UNROLL
    for (int i = 0; i < kPiecesOfThread; ++i) {
      const int64_t at = first + i * kThreads;
      x[i] = load_or_zero<kVector>(z + at * kVector, at < pieces);
      g[i] = load_or_zero<kVector>(grad + at * kVector, at < pieces);
    }
    PRAXINO_UNROLL
    for (int i = 0; i < kPiecesOfThread; ++i) {
      const int64_t at = first + i * kThreads;
      const auto x_floats = floats_of(x[i]);
      auto y = floats_of(g[i]);
      PRAXINO_UNROLL
      for (int j = 0; j < kVector; ++j) y.v[j] *= slope_of_tanh(x_floats.v[j]);
      if (at < pieces) store_vector(grad_z + at * kVector, y);
    }
  }
}

// An element at a time.
template <class T>
PRAXINO_KERNEL(kThreads)
fsq_backward_any_kernel(FsqBackward p) {
  const T* z = static_cast<const T*>(p.z);
  const T* grad = static_cast<const T*>(p.grad);
  for (int64_t i = block_index() * kThreads + thread_index(); i < p.elements;
       i += grid_blocks() * kThreads)
    store(static_cast<T*>(p.grad_z) + i, load(grad + i) * slope_of_tanh(load(z + i)));
}

// What 16 bytes hold where the pointers allow it, else 1.
int vector_of(Element element, bool aligned) {
  return aligned ? static_cast<int>(16 / bytes_of(element)) : 1;
}

}  // namespace

Status launch_fsq(const Fsq& p, Stream stream) {
  if (!in_range(p.levels) || p.rows < 0 || p.rows > INT64_MAX / 64 / p.levels.channels)
    return kRefused;
  if (p.rows == 0) return {};
  const bool is_float = p.element == Element::kFloat;
  const auto kernel = vector_of(p.element, aligned_16(p.z) && aligned_16(p.codes)) == 1
                          ? (is_float ? fsq_kernel<float, 1> : fsq_kernel<Bf16, 1>)
                          : (is_float ? fsq_kernel<float, 4> : fsq_kernel<Bf16, 8>);
  const auto bytes = static_cast<size_t>(bytes_of(p.element) * kRows * p.levels.channels);
  return launch(kernel, {"fsq", blocks_for((p.rows + kRows - 1) / kRows), kThreads, bytes},
                with_tables(p), stream);
}

Status launch_fsq_backward(const FsqBackward& p, Stream stream) {
  if (p.elements < 0 || p.elements > INT64_MAX / 64) return kRefused;
  if (p.elements == 0) return {};
  const bool aligned = aligned_16(p.z) && aligned_16(p.grad) && aligned_16(p.grad_z);
  const bool is_float = p.element == Element::kFloat;
  const int vector = vector_of(p.element, aligned);
  if (vector == 1 || p.elements % vector != 0) {
    return launch(
        is_float ? fsq_backward_any_kernel<float> : fsq_backward_any_kernel<Bf16>,
        {"fsq_backward_any", blocks_for((p.elements + kThreads - 1) / kThreads), kThreads}, p,
        stream);
  }
  const int64_t of_block = int64_t{vector} * kThreads * kPiecesOfThread;
  return launch(is_float ? fsq_backward_kernel<float> : fsq_backward_kernel<Bf16>,
                {"fsq_backward", blocks_for((p.elements + of_block - 1) / of_block), kThreads}, p,
                stream);
}

}  // namespace praxino::kernels
