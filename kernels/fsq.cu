#include "kernels/fsq.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/thread.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kThreads = 256;
constexpr int kRows = kThreads;  // of a tile

// Half of 1 - |tanh(x)|, small where tanh is near its ends, and exact there.
PRAXINO_DEVICE float tanh_tail(float x) { return sigmoid_fast(-2.0F * (x < 0.0F ? -x : x)); }

PRAXINO_DEVICE float tanh_of(float x) {
  const float size = 1.0F - 2.0F * tanh_tail(x);
  return x < 0.0F ? -size : size;
}

// Shared memory: the channels' levels, then what each element of the tile adds to its row's index
// in units of its channel.
PRAXINO_DEVICE uint32_t* shared_levels() { return reinterpret_cast<uint32_t*>(shared_floats()); }

template <class T, int kVector>
PRAXINO_KERNEL(kThreads)
fsq_kernel(PRAXINO_PARAMETERS Fsq p) {
  const auto channels = static_cast<uint32_t>(p.levels.channels);
  uint32_t* steps = shared_levels() + kMaxFsqChannels;
  const int own = thread_index();
  if (own < p.levels.channels)
    store(shared_levels() + own, static_cast<uint32_t>(p.levels.of[own]));
  sync_block();
  const int64_t tiles = (p.rows + kRows - 1) / kRows;
  for (int64_t tile = block_index(); tile < tiles; tile += grid_blocks()) {
    const int64_t first = tile * kRows, left = p.rows - first;
    const uint32_t rows = left < kRows ? static_cast<uint32_t>(left) : kRows;
    const T* z = static_cast<const T*>(p.z) + first * channels;
    T* codes = static_cast<T*>(p.codes) + first * channels;
    const uint32_t elements = rows * channels;
    for (uint32_t i = static_cast<uint32_t>(thread_index()) * kVector; i < elements;
         i += kThreads * kVector) {
      // The last elements of the last tile may be fewer than a vector.
      const bool whole = i + kVector <= elements;
      const Vector<kVector> x = whole ? load_vector<kVector>(z + i) : Vector<kVector>{};
      Vector<kVector> y;
      uint32_t channel = i % channels;
      PRAXINO_UNROLL
      for (int j = 0; j < kVector; ++j) {
        const auto at = i + static_cast<uint32_t>(j);
        if (at >= elements) break;
        const float half = 0.5F * (static_cast<float>(load(shared_levels() + channel)) - 1.0F);
        const float u = tanh_of(whole ? x.v[j] : load(z + at));
        const float place = (u + 1.0F) * half;
        const int step = place > 0.0F ? nearest_int(place) : 0;
        y.v[j] = u == u ? static_cast<float>(step) / half - 1.0F : u;
        if (!whole) store(codes + at, y.v[j]);
        store(steps + at, static_cast<uint32_t>(step));
        channel = channel + 1 == channels ? 0 : channel + 1;
      }
      if (whole) store_vector(codes + i, y);
    }
    sync_block();
    const auto row = static_cast<uint32_t>(thread_index());
    if (row < rows) {
      int64_t index = 0;
      for (uint32_t c = channels; c-- > 0;)
        index = index * load(shared_levels() + c) + load(steps + row * channels + c);
      store(p.indices + first + row, index);
    }
    sync_block();  // before the steps are used again
  }
}

template <class T, int kVector>
PRAXINO_KERNEL(kThreads)
fsq_backward_kernel(FsqBackward p) {
  const T* z = static_cast<const T*>(p.z);
  const T* grad = static_cast<const T*>(p.grad);
  T* grad_z = static_cast<T*>(p.grad_z);
  const int64_t pieces = p.elements / kVector;
  for (int64_t i = block_index() * kThreads + thread_index(); i < pieces;
       i += grid_blocks() * kThreads) {
    const Vector<kVector> x = load_vector<kVector>(z + i * kVector);
    Vector<kVector> g = load_vector<kVector>(grad + i * kVector);
    PRAXINO_UNROLL
    for (int j = 0; j < kVector; ++j) {
      const float tail = tanh_tail(x.v[j]);
      g.v[j] *= 4.0F * tail * (1.0F - tail);
    }
    store_vector(grad_z + i * kVector, g);
  }
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
  const size_t words = kMaxFsqChannels + static_cast<size_t>(kRows * p.levels.channels);
  return launch(
      kernel, {"fsq", blocks_for((p.rows + kRows - 1) / kRows), kThreads, sizeof(uint32_t) * words},
      p, stream);
}

Status launch_fsq_backward(const FsqBackward& p, Stream stream) {
  if (p.elements < 0 || p.elements > INT64_MAX / 64) return kRefused;
  if (p.elements == 0) return {};
  const bool aligned = aligned_16(p.z) && aligned_16(p.grad) && aligned_16(p.grad_z);
  const bool is_float = p.element == Element::kFloat;
  const int vector = vector_of(p.element, aligned);
  const bool whole = p.elements % vector == 0;
  const int64_t pieces = whole ? p.elements / vector : p.elements;
  const auto kernel =
      vector == 1 || !whole
          ? (is_float ? fsq_backward_kernel<float, 1> : fsq_backward_kernel<Bf16, 1>)
          : (is_float ? fsq_backward_kernel<float, 4> : fsq_backward_kernel<Bf16, 8>);
  return launch(kernel, {"fsq_backward", blocks_for((pieces + kThreads - 1) / kThreads), kThreads},
                p, stream);
}

}  // namespace praxino::kernels
