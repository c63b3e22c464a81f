#include "kernels/parameter_update.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/parameters.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

// Null is aligned, too.
PRAXINO_DEVICE bool aligned(const UpdatedParameter& p) {
  return aligned_16(p.weight) && aligned_16(p.first) && aligned_16(p.second) &&
         aligned_16(p.average) && aligned_16(p.copy);
}

PRAXINO_DEVICE bool skipped(const float* values) { return load(values + kSkipped) != 0; }

// Before anything is stored, so that all loads of a piece are under way together.
template <int N>
PRAXINO_DEVICE Vector<N> load_average(const UpdatedParameter& from, int64_t at) {
  if (from.average == nullptr) return {};
  return load_piece<N>(from.average + at);
}

// Writes new weights, and what follows them.
template <int N>
PRAXINO_DEVICE void store_weights(const UpdatedParameter& to, int64_t at, const Vector<N>& w,
                                  Vector<N> average, float average_weight, Element copy) {
  store_piece(to.weight + at, w);
  if (to.average != nullptr) {
    PRAXINO_UNROLL
    for (int i = 0; i < N; ++i) average.v[i] += average_weight * (w.v[i] - average.v[i]);
    store_piece(to.average + at, average);
  }
  if (to.copy == nullptr) return;
  if (copy == Element::kBf16) {
    store_piece(static_cast<Bf16*>(to.copy) + at, w);
  } else {
    store_piece(static_cast<float*>(to.copy) + at, w);
  }
}

template <class T>
PRAXINO_KERNEL(kUpdateThreads)
adamw_kernel(AdamW p) {
  if (skipped(p.values)) return;
  const float scale = load(p.values + kGradientScale), factor = load(p.values + kRate);
  const float first_correction = load(p.values + kFirstCorrection);
  const float second_correction = load(p.values + kSecondCorrection);
  const float average_weight = load(p.values + kAverageWeight);
  for_chunks(p.list,
             [&](int number, const UpdatedParameter& to, const ChunkElements& elements, int64_t) {
               const T* gradient = static_cast<const T*>(p.gradients.of[number]);
               const float rate = factor * to.rate, keep = 1.0F - rate * to.decay;
               const float step = rate * first_correction;
               for_pieces(elements, aligned(to) && aligned_16(gradient), [&]<int N>(int64_t at) {
                 const Vector<N> g = load_piece<N>(gradient + at);
                 Vector<N> w = load_piece<N>(to.weight + at), m = load_piece<N>(to.first + at),
                           v = load_piece<N>(to.second + at);
                 const Vector<N> average = load_average<N>(to, at);
                 PRAXINO_UNROLL
                 for (int i = 0; i < N; ++i) {
                   const float clipped = g.v[i] * scale;
                   m.v[i] = p.beta1 * m.v[i] + (1.0F - p.beta1) * clipped;
                   v.v[i] = p.beta2 * v.v[i] + (1.0F - p.beta2) * clipped * clipped;
                   const float deviation = sqrt_fast(v.v[i]) * second_correction + p.epsilon;
                   w.v[i] = keep * w.v[i] - step * m.v[i] * reciprocal_fast(deviation);
                 }
                 store_piece(to.first + at, m);
                 store_piece(to.second + at, v);
                 store_weights(to, at, w, average, average_weight, p.copy);
               });
             });
}

template <class T>
PRAXINO_KERNEL(kUpdateThreads)
muon_momentum_kernel(MuonMomentum p) {
  const bool skip = skipped(p.values);
  const float share = (1.0F - p.momentum) * load(p.values + kGradientScale);
  for_chunks(
      p.list, [&](int number, const UpdatedParameter& to, const ChunkElements& elements, int64_t) {
        const T* gradient = static_cast<const T*>(p.gradients.of[number]);
        float* direction = p.directions + to.offset;
        const bool whole = aligned_16(to.first) && aligned_16(gradient) && aligned_16(direction);
        for_pieces(elements, whole, [&]<int N>(int64_t at) {
          Vector<N> u = {};
          if (!skip) {
            const Vector<N> g = load_piece<N>(gradient + at);
            Vector<N> m = load_piece<N>(to.first + at);
            PRAXINO_UNROLL
            for (int i = 0; i < N; ++i) {
              const float fresh = share * g.v[i];
              m.v[i] = p.momentum * m.v[i] + fresh;
              u.v[i] = fresh + p.momentum * m.v[i];
            }
            store_piece(to.first + at, m);
          }
          store_piece(direction + at, u);
        });
      });
}

template <class T>
PRAXINO_KERNEL(kUpdateThreads)
muon_apply_kernel(MuonApply p) {
  if (skipped(p.values)) return;
  const float factor = load(p.values + kRate), average_weight = load(p.values + kAverageWeight);
  for_chunks(p.list, [&](int, const UpdatedParameter& to, const ChunkElements& elements, int64_t) {
    const T* direction = static_cast<const T*>(p.directions) + to.offset;
    const float rate = factor * to.rate, keep = 1.0F - rate * to.decay, step = rate * p.scale;
    const bool whole = aligned_16(to.weight) && aligned_16(to.average) && aligned_16(to.copy) &&
                       aligned_16(direction);
    for_pieces(elements, whole, [&]<int N>(int64_t at) {
      const Vector<N> u = load_piece<N>(direction + at);
      const Vector<N> average = load_average<N>(to, at);
      Vector<N> w = load_piece<N>(to.weight + at);
      PRAXINO_UNROLL
      for (int i = 0; i < N; ++i) w.v[i] = keep * w.v[i] - step * u.v[i];
      store_weights(to, at, w, average, average_weight, p.copy);
    });
  });
}

template <class Params>
Status launch_update(const char* name, const Params& p, void (*kernel)(Params), Stream stream) {
  if (!in_range(p.list) || p.values == nullptr) return kRefused;
  if (p.list.chunk_count == 0) return {};
  return launch(kernel, {name, blocks_for(p.list.chunk_count), kUpdateThreads}, p, stream);
}

}  // namespace

Status launch_adamw(const AdamW& p, Stream stream) {
  const bool is_float = p.gradients.element == Element::kFloat;
  return launch_update("adamw", p, is_float ? adamw_kernel<float> : adamw_kernel<Bf16>, stream);
}

Status launch_muon_momentum(const MuonMomentum& p, Stream stream) {
  const bool is_float = p.gradients.element == Element::kFloat;
  return launch_update("muon_momentum", p,
                       is_float ? muon_momentum_kernel<float> : muon_momentum_kernel<Bf16>, stream);
}

Status launch_muon_apply(const MuonApply& p, Stream stream) {
  const bool is_float = p.direction == Element::kFloat;
  return launch_update("muon_apply", p,
                       is_float ? muon_apply_kernel<float> : muon_apply_kernel<Bf16>, stream);
}

}  // namespace praxino::kernels
