#include "kernels/step_values.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/parameters.cuh"
#include "kernels/device/team.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kVerdictThreads = 512;
constexpr int kVerdictWarps = kVerdictThreads / kWarp;

template <class T>
PRAXINO_KERNEL(kUpdateThreads)
squared_sums_kernel(SquaredSums p) {
  constexpr int kAtOnce = 4, kStep = kUpdateThreads * kUpdateVector;
  for_chunks(p.list, [&](int number, const UpdatedParameter&, const ChunkElements& elements,
                         int64_t chunk) {
    const T* gradient = static_cast<const T*>(p.gradients.of[number]);
    const int64_t tail = tail_of(elements, aligned_16(gradient));
    float squares = 0;
    for (int64_t first = elements.begin + thread_index() * kUpdateVector; first < tail;
         first += kAtOnce * kStep) {
      RawVector<T, kUpdateVector> g[kAtOnce];
      PRAXINO_UNROLL
      for (int j = 0; j < kAtOnce; ++j)
        g[j] = load_or_zero<kUpdateVector>(gradient + first + j * kStep, first + j * kStep < tail);
      PRAXINO_UNROLL
      for (int j = 0; j < kAtOnce; ++j) {
        const Vector<kUpdateVector> part = floats_of(g[j]);
        PRAXINO_UNROLL
        for (int i = 0; i < kUpdateVector; ++i) squares += part.v[i] * part.v[i];
      }
    }
    for (int64_t at = tail + thread_index(); at < elements.end; at += kUpdateThreads) {
      const float g = load(gradient + at);
      squares += g * g;
    }
    squares = team_sum<true>(squares, kUpdateThreads, shared_floats());
    if (thread_index() == 0) store(p.sums + chunk, squares);
  });
}

PRAXINO_DEVICE bool is_finite(float x) { return x >= -3.40282347e38F && x <= 3.40282347e38F; }

// What one thread decides from the sum of all squares.
PRAXINO_DEVICE void decide(const StepVerdict& p, double squares) {
  const double norm = sqrt_exact(squares);
  const bool taken = is_finite(static_cast<float>(norm)) && is_finite(load(p.loss));
  const float steps = load(p.steps) + (taken ? 1.0F : 0.0F);
  if (taken) store(p.steps, steps);
  const auto number = static_cast<int64_t>(steps);
  const bool clipped = p.clip > 0 && norm > p.clip;
  store(p.values + kNorm, static_cast<float>(norm));
  store(p.values + kSkipped, taken ? 0.0F : 1.0F);
  store(p.values + kGradientScale, clipped ? static_cast<float>(p.clip / norm) : 1.0F);
  store(p.values + kRate, load(p.rate));
  store(p.values + kFirstCorrection, static_cast<float>(1 / (1 - power(p.beta1, number))));
  store(p.values + kSecondCorrection,
        static_cast<float>(1 / sqrt_exact(1 - power(p.beta2, number))));
  if (p.updates == nullptr) {
    store(p.values + kAverageWeight, 0.0F);
    return;
  }
  const float updates = load(p.updates);
  const double early = 9 / (10 + static_cast<double>(updates)), late = 1 - p.average_decay;
  store(p.values + kAverageWeight, static_cast<float>(early > late ? early : late));
  if (taken) store(p.updates, updates + 1);
}

PRAXINO_KERNEL(kVerdictThreads) step_verdict_kernel(StepVerdict p) {
  double* of_warps = reinterpret_cast<double*>(shared_floats());
  double squares = 0;
  for (int64_t i = thread_index(); i < p.count; i += kVerdictThreads)
    squares += static_cast<double>(load(p.sums + i));
  squares = group_sum(squares, kWarp);
  if (lane_index() == 0) store_raw(of_warps + warp_index(), squares, PRAXINO_HERE);
  sync_block();
  if (thread_index() != 0) return;
  squares = 0;
  for (int warp = 0; warp < kVerdictWarps; ++warp)
    squares += load_raw(of_warps + warp, PRAXINO_HERE);
  decide(p, squares);
}

}  // namespace

Status launch_squared_sums(const SquaredSums& p, Stream stream) {
  if (!in_range(p.list)) return kRefused;
  if (p.list.chunk_count == 0) return {};
  const auto kernel = p.gradients.element == Element::kFloat ? squared_sums_kernel<float>
                                                             : squared_sums_kernel<Bf16>;
  return launch(kernel,
                {"squared_sums", blocks_for(p.list.chunk_count), kUpdateThreads,
                 kUpdateThreads / kWarp * sizeof(float)},
                p, stream);
}

Status launch_step_verdict(const StepVerdict& p, Stream stream) {
  const bool complete = p.loss != nullptr && p.rate != nullptr && p.steps != nullptr &&
                        p.values != nullptr && (p.sums != nullptr || p.count == 0);
  if (!complete || p.count < 0) return kRefused;
  return launch(step_verdict_kernel,
                {"step_verdict", 1, kVerdictThreads, kVerdictWarps * sizeof(double)}, p, stream);
}

}  // namespace praxino::kernels
