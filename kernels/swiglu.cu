#include "kernels/swiglu.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/thread.cuh"
#include "kernels/swiglu_index.h"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kThreads = 256;

template <class Params>
struct ByPiece {
  Params params;
  Divisor pieces_of_row;
};

// kVector elements at a time; 1 where rows or pointers are not aligned.
template <class T, int kVector>
PRAXINO_KERNEL(kThreads)
swiglu_kernel(ByPiece<SwiGlu> q) {
  const SwiGlu& p = q.params;
  const T* ab = static_cast<const T*>(p.ab);
  const int64_t pieces = swiglu_pieces(p.rows, p.half, kVector);
  for (int64_t i = block_index() * kThreads + thread_index(); i < pieces;
       i += grid_blocks() * kThreads) {
    const SwiGluSpot at = swiglu_spot(i, q.pieces_of_row, kVector);
    const Vector<kVector> a = load_vector<kVector>(ab + at.a);
    const Vector<kVector> b = load_vector<kVector>(ab + at.b);
    Vector<kVector> y;
    PRAXINO_UNROLL
    for (int j = 0; j < kVector; ++j) y.v[j] = a.v[j] * sigmoid_fast(a.v[j]) * b.v[j];
    store_vector(static_cast<T*>(p.y) + at.y, y);
  }
}

template <class T, int kVector>
PRAXINO_KERNEL(kThreads)
swiglu_backward_kernel(ByPiece<SwiGluBackward> q) {
  const SwiGluBackward& p = q.params;
  const T* ab = static_cast<const T*>(p.ab);
  const T* grad = static_cast<const T*>(p.grad);
  T* grad_ab = static_cast<T*>(p.grad_ab);
  const int64_t pieces = swiglu_pieces(p.rows, p.half, kVector);
  for (int64_t i = block_index() * kThreads + thread_index(); i < pieces;
       i += grid_blocks() * kThreads) {
    const SwiGluSpot at = swiglu_spot(i, q.pieces_of_row, kVector);
    const Vector<kVector> a = load_vector<kVector>(ab + at.a);
    const Vector<kVector> b = load_vector<kVector>(ab + at.b);
    const Vector<kVector> g = load_vector<kVector>(grad + at.y);
    Vector<kVector> grad_a, grad_b;
    PRAXINO_UNROLL
    for (int j = 0; j < kVector; ++j) {
      const float s = sigmoid_fast(a.v[j]);
      grad_a.v[j] = g.v[j] * b.v[j] * s * (1.0F + a.v[j] * (1.0F - s));
      grad_b.v[j] = g.v[j] * a.v[j] * s;
    }
    store_vector(grad_ab + at.a, grad_a);
    store_vector(grad_ab + at.b, grad_b);
  }
}

// What 16 bytes hold, where every piece of that size is aligned; else 1.
int vector_of(Element element, int64_t half, bool aligned) {
  const int vector = static_cast<int>(16 / bytes_of(element));
  return aligned && half % vector == 0 ? vector : 1;
}

template <class Params>
Status launch_by_rows(const char* name, const Params& p, int vector,
                      void (*kernel)(ByPiece<Params>), Stream stream) {
  const int64_t pieces = swiglu_pieces(p.rows, p.half, vector);
  if (pieces == 0) return {};
  return launch(kernel, {name, blocks_for((pieces + kThreads - 1) / kThreads), kThreads},
                ByPiece<Params>{p, Divisor(p.half / vector)}, stream);
}

template <class Params>
bool in_range(const Params& p) {
  return p.rows >= 0 && p.half >= 1 && p.rows <= INT64_MAX / 4 / p.half;
}

}  // namespace

Status launch_swiglu(const SwiGlu& p, Stream stream) {
  if (!in_range(p)) return kRefused;
  const int vector = vector_of(p.element, p.half, aligned_16(p.ab) && aligned_16(p.y));
  const bool is_float = p.element == Element::kFloat;
  const auto kernel = vector == 1 ? (is_float ? swiglu_kernel<float, 1> : swiglu_kernel<Bf16, 1>)
                                  : (is_float ? swiglu_kernel<float, 4> : swiglu_kernel<Bf16, 8>);
  return launch_by_rows("swiglu", p, vector, kernel, stream);
}

Status launch_swiglu_backward(const SwiGluBackward& p, Stream stream) {
  if (!in_range(p)) return kRefused;
  const bool aligned = aligned_16(p.ab) && aligned_16(p.grad) && aligned_16(p.grad_ab);
  const int vector = vector_of(p.element, p.half, aligned);
  const bool is_float = p.element == Element::kFloat;
  const auto kernel =
      vector == 1 ? (is_float ? swiglu_backward_kernel<float, 1> : swiglu_backward_kernel<Bf16, 1>)
                  : (is_float ? swiglu_backward_kernel<float, 4> : swiglu_backward_kernel<Bf16, 8>);
  return launch_by_rows("swiglu_backward", p, vector, kernel, stream);
}

}  // namespace praxino::kernels
