#include "fused_cpu.h"

#include <bit>
#include <cmath>
#include <cstring>

// Each entry point is compiled for three instruction sets and the processor's best is taken at load
// time. The bodies are always inlined, so that they are vectorized for the set of the clone that
// they land in.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define PRAXINO_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PRAXINO_CLONES
#endif
#define PRAXINO_INLINE inline __attribute__((always_inline))

namespace praxino::ops::cpu {
namespace {

constexpr float kEpsilon = 1e-6F;

PRAXINO_INLINE float load(float v) { return v; }
PRAXINO_INLINE float load(Bf16 v) { return std::bit_cast<float>(static_cast<uint32_t>(v) << 16); }
PRAXINO_INLINE void store(float& to, float v) { to = v; }
PRAXINO_INLINE void store(Bf16& to, float v) {  // round to nearest, ties to even; NaN stays NaN
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  to = static_cast<Bf16>(v != v ? 0x7fc0U : rounded);
}

// exp with a relative error below 2e-7 over the range of float, in operations that vectorize.
PRAXINO_INLINE float exp_approx(float x) {
  x = x > 88.0F ? 88.0F : x;
  x = x < -87.0F ? -87.0F : x;  // written so that NaN stays NaN
  // No integer holds a NaN: it takes its way through r.
  const float scaled = (x == x ? x : 0.0F) * 1.44269504F;
  const int32_t n = static_cast<int32_t>(scaled + (scaled < 0 ? -0.5F : 0.5F));
  const float nf = static_cast<float>(n);
  const float r = (x - nf * 0.693359375F) + nf * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  return p * std::bit_cast<float>((n + 127) << 23);
}

PRAXINO_INLINE float sigmoid(float x) { return 1.0F / (1.0F + exp_approx(-x)); }

template <class T>
PRAXINO_INLINE float sum_of_squares(const T* x, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += load(x[i]) * load(x[i]);
  return sum;
}

template <class T>
PRAXINO_INLINE void norm_modulate_body(const NormModulate& p, T* y, int64_t begin, int64_t end) {
  const int64_t d = p.width;
  for (int64_t frame = begin; frame < end; ++frame) {
    const float* scale = p.scale + frame * d;
    const float* shift = p.shift + frame * d;
    for (int64_t row = frame * p.tokens; row < (frame + 1) * p.tokens; ++row) {
      const float* x = p.x + row * d;
      T* out = y + row * d;
      const float inverse =
          1.0F / std::sqrt(sum_of_squares(x, d) / static_cast<float>(d) + kEpsilon);
      p.inverse[row] = inverse;
      for (int64_t i = 0; i < d; ++i) store(out[i], x[i] * inverse * (1.0F + scale[i]) + shift[i]);
    }
  }
}

template <class T>
PRAXINO_INLINE void norm_modulate_backward_body(const NormModulateBackward& p, const T* grad,
                                                int64_t begin, int64_t end) {
  const int64_t d = p.width;
  for (int64_t frame = begin; frame < end; ++frame) {
    const float* scale = p.scale + frame * d;
    float* __restrict grad_scale = p.grad_scale + frame * d;
    float* __restrict grad_shift = p.grad_shift + frame * d;
    std::memset(grad_scale, 0, static_cast<size_t>(d) * sizeof(float));
    std::memset(grad_shift, 0, static_cast<size_t>(d) * sizeof(float));
    for (int64_t row = frame * p.tokens; row < (frame + 1) * p.tokens; ++row) {
      const float* x = p.x + row * d;
      const T* g = grad + row * d;
      float* __restrict grad_x = p.grad_x + row * d;
      const float inverse = p.inverse[row];
      float projection = 0;
      for (int64_t i = 0; i < d; ++i) {
        const float gi = load(g[i]);
        const float normalized = x[i] * inverse;
        grad_shift[i] += gi;
        grad_scale[i] += gi * normalized;
        projection += gi * (1.0F + scale[i]) * normalized;
      }
      projection /= static_cast<float>(d);
      for (int64_t i = 0; i < d; ++i) {
        grad_x[i] = inverse * (load(g[i]) * (1.0F + scale[i]) - x[i] * inverse * projection);
      }
    }
  }
}

template <class T>
PRAXINO_INLINE void gate_add_body(const GateAdd& p, const T* branch, int64_t begin, int64_t end) {
  const int64_t d = p.width;
  for (int64_t frame = begin; frame < end; ++frame) {
    const float* gate = p.gate + frame * d;
    for (int64_t row = frame * p.tokens; row < (frame + 1) * p.tokens; ++row) {
      for (int64_t i = 0; i < d; ++i)
        p.y[row * d + i] = p.x[row * d + i] + gate[i] * load(branch[row * d + i]);
    }
  }
}

template <class T>
PRAXINO_INLINE void gate_add_backward_body(const GateAddBackward& p, const T* branch,
                                           T* grad_branch, int64_t begin, int64_t end) {
  const int64_t d = p.width;
  for (int64_t frame = begin; frame < end; ++frame) {
    const float* gate = p.gate + frame * d;
    float* __restrict grad_gate = p.grad_gate + frame * d;
    std::memset(grad_gate, 0, static_cast<size_t>(d) * sizeof(float));
    for (int64_t row = frame * p.tokens; row < (frame + 1) * p.tokens; ++row) {
      const float* g = p.grad + row * d;
      const T* b = branch + row * d;
      T* __restrict out = grad_branch + row * d;
      for (int64_t i = 0; i < d; ++i) {
        grad_gate[i] += g[i] * load(b[i]);
        store(out[i], g[i] * gate[i]);
      }
    }
  }
}

template <class T>
PRAXINO_INLINE void swiglu_body(const T* ab, T* y, int64_t half, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* a = ab + row * 2 * half;
    const T* b = a + half;
    T* __restrict out = y + row * half;
    for (int64_t i = 0; i < half; ++i) {
      const float ai = load(a[i]);
      store(out[i], ai * sigmoid(ai) * load(b[i]));
    }
  }
}

template <class T>
PRAXINO_INLINE void swiglu_backward_body(const T* ab, const T* grad, T* grad_ab, int64_t half,
                                         int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* a = ab + row * 2 * half;
    const T* b = a + half;
    const T* g = grad + row * half;
    T* __restrict ga = grad_ab + row * 2 * half;
    T* __restrict gb = ga + half;
    for (int64_t i = 0; i < half; ++i) {
      const float ai = load(a[i]), gi = load(g[i]), s = sigmoid(ai);
      store(ga[i], gi * load(b[i]) * s * (1.0F + ai * (1.0F - s)));
      store(gb[i], gi * ai * s);
    }
  }
}

template <class T>
PRAXINO_INLINE void norm_rotate_body(const NormRotate& p, const T* x, T* y, int64_t begin,
                                     int64_t end) {
  const int64_t k = p.head_width, half = k / 2;
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t s = 0; s < p.positions; ++s) {
      const float* c = p.cos + s * half;
      const float* n = p.sin + s * half;
      for (int64_t h = 0; h < p.heads; ++h) {
        const int64_t row = (r * p.positions + s) * p.heads + h;
        const T* in = x + row * k;
        T* __restrict out = y + row * k;
        const float inverse =
            1.0F / std::sqrt(sum_of_squares(in, k) / static_cast<float>(k) + kEpsilon);
        p.inverse[row] = inverse;
        for (int64_t i = 0; i < half; ++i) {
          const float x1 = load(in[i]) * inverse * p.gain[i];
          const float x2 = load(in[half + i]) * inverse * p.gain[half + i];
          store(out[i], x1 * c[i] - x2 * n[i]);
          store(out[half + i], x2 * c[i] + x1 * n[i]);
        }
      }
    }
  }
}

// One head: un-rotates the gradient into `scratch`, then the backward of RMSNorm with a gain.
template <class T>
PRAXINO_INLINE void norm_rotate_backward_row(const NormRotate& p, const T* in, const T* g,
                                             T* grad_x, float* grad_gain, int64_t row,
                                             int64_t position, float* scratch) {
  const int64_t k = p.head_width, half = k / 2;
  const float* c = p.cos + position * half;
  const float* n = p.sin + position * half;
  const float inverse = p.inverse[row];
  for (int64_t i = 0; i < half; ++i) {
    const float g1 = load(g[i]), g2 = load(g[half + i]);
    scratch[i] = g1 * c[i] + g2 * n[i];
    scratch[half + i] = g2 * c[i] - g1 * n[i];
  }
  float projection = 0;
  for (int64_t i = 0; i < k; ++i) {
    const float normalized = load(in[i]) * inverse;
    grad_gain[i] += scratch[i] * normalized;
    scratch[i] *= p.gain[i];
    projection += scratch[i] * normalized;
  }
  projection /= static_cast<float>(k);
  for (int64_t i = 0; i < k; ++i)
    store(grad_x[i], inverse * (scratch[i] - load(in[i]) * inverse * projection));
}

template <class T>
PRAXINO_INLINE void norm_rotate_backward_body(const NormRotate& p, const T* x, const T* grad,
                                              T* grad_x, float* grad_gain, int64_t begin,
                                              int64_t end) {
  const int64_t k = p.head_width;
  float scratch[1024];  // head widths above 1024 are refused by the caller
  for (int64_t r = begin; r < end; ++r) {
    float* gain = grad_gain + r * k;
    std::memset(gain, 0, static_cast<size_t>(k) * sizeof(float));
    for (int64_t s = 0; s < p.positions; ++s) {
      for (int64_t h = 0; h < p.heads; ++h) {
        const int64_t row = (r * p.positions + s) * p.heads + h;
        norm_rotate_backward_row(p, x + row * k, grad + row * k, grad_x + row * k, gain, row, s,
                                 scratch);
      }
    }
  }
}

template <class T>
PRAXINO_INLINE void softmax_body(T* rows, int64_t width, float scale, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    T* x = rows + row * width;
    float top = load(x[0]);
    for (int64_t i = 1; i < width; ++i) top = load(x[i]) > top ? load(x[i]) : top;
    float sum = 0;
    for (int64_t i = 0; i < width; ++i) {
      const float e = exp_approx((load(x[i]) - top) * scale);
      store(x[i], e);
      sum += e;
    }
    const float inverse = 1.0F / sum;
    for (int64_t i = 0; i < width; ++i) store(x[i], load(x[i]) * inverse);
  }
}

template <class T>
PRAXINO_INLINE void softmax_backward_body(const T* p, T* grad, int64_t width, float scale,
                                          int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* prob = p + row * width;
    T* __restrict g = grad + row * width;
    float dot = 0;
    for (int64_t i = 0; i < width; ++i) dot += load(prob[i]) * load(g[i]);
    for (int64_t i = 0; i < width; ++i) store(g[i], scale * load(prob[i]) * (load(g[i]) - dot));
  }
}

}  // namespace

PRAXINO_CLONES void softmax(float* rows, int64_t width, float scale, int64_t b, int64_t e) {
  softmax_body(rows, width, scale, b, e);
}
PRAXINO_CLONES void softmax(Bf16* rows, int64_t width, float scale, int64_t b, int64_t e) {
  softmax_body(rows, width, scale, b, e);
}
PRAXINO_CLONES void softmax_backward(const float* p, float* grad, int64_t width, float scale,
                                     int64_t b, int64_t e) {
  softmax_backward_body(p, grad, width, scale, b, e);
}
PRAXINO_CLONES void softmax_backward(const Bf16* p, Bf16* grad, int64_t width, float scale,
                                     int64_t b, int64_t e) {
  softmax_backward_body(p, grad, width, scale, b, e);
}
PRAXINO_CLONES void norm_modulate(const NormModulate& p, float* y, int64_t b, int64_t e) {
  norm_modulate_body(p, y, b, e);
}
PRAXINO_CLONES void norm_modulate(const NormModulate& p, Bf16* y, int64_t b, int64_t e) {
  norm_modulate_body(p, y, b, e);
}
PRAXINO_CLONES void norm_modulate_backward(const NormModulateBackward& p, const float* g, int64_t b,
                                           int64_t e) {
  norm_modulate_backward_body(p, g, b, e);
}
PRAXINO_CLONES void norm_modulate_backward(const NormModulateBackward& p, const Bf16* g, int64_t b,
                                           int64_t e) {
  norm_modulate_backward_body(p, g, b, e);
}
PRAXINO_CLONES void gate_add(const GateAdd& p, const float* branch, int64_t b, int64_t e) {
  gate_add_body(p, branch, b, e);
}
PRAXINO_CLONES void gate_add(const GateAdd& p, const Bf16* branch, int64_t b, int64_t e) {
  gate_add_body(p, branch, b, e);
}
PRAXINO_CLONES void gate_add_backward(const GateAddBackward& p, const float* branch, float* out,
                                      int64_t b, int64_t e) {
  gate_add_backward_body(p, branch, out, b, e);
}
PRAXINO_CLONES void gate_add_backward(const GateAddBackward& p, const Bf16* branch, Bf16* out,
                                      int64_t b, int64_t e) {
  gate_add_backward_body(p, branch, out, b, e);
}
PRAXINO_CLONES void add(const float* x, float* to, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) to[i] += x[i];
}

PRAXINO_CLONES void swiglu(const float* ab, float* y, int64_t half, int64_t b, int64_t e) {
  swiglu_body(ab, y, half, b, e);
}
PRAXINO_CLONES void swiglu(const Bf16* ab, Bf16* y, int64_t half, int64_t b, int64_t e) {
  swiglu_body(ab, y, half, b, e);
}
PRAXINO_CLONES void swiglu_backward(const float* ab, const float* g, float* out, int64_t half,
                                    int64_t b, int64_t e) {
  swiglu_backward_body(ab, g, out, half, b, e);
}
PRAXINO_CLONES void swiglu_backward(const Bf16* ab, const Bf16* g, Bf16* out, int64_t half,
                                    int64_t b, int64_t e) {
  swiglu_backward_body(ab, g, out, half, b, e);
}
PRAXINO_CLONES void norm_rotate(const NormRotate& p, const float* x, float* y, int64_t b,
                                int64_t e) {
  norm_rotate_body(p, x, y, b, e);
}
PRAXINO_CLONES void norm_rotate(const NormRotate& p, const Bf16* x, Bf16* y, int64_t b, int64_t e) {
  norm_rotate_body(p, x, y, b, e);
}
PRAXINO_CLONES void norm_rotate_backward(const NormRotate& p, const float* x, const float* g,
                                         float* out, float* gain, int64_t b, int64_t e) {
  norm_rotate_backward_body(p, x, g, out, gain, b, e);
}
PRAXINO_CLONES void norm_rotate_backward(const NormRotate& p, const Bf16* x, const Bf16* g,
                                         Bf16* out, float* gain, int64_t b, int64_t e) {
  norm_rotate_backward_body(p, x, g, out, gain, b, e);
}

}  // namespace praxino::ops::cpu
