#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/warp.cuh"
#include "kernels/time_attention.h"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kStepThreads = 128;
constexpr int kStepWarps = kStepThreads / kWarp;
constexpr int kStepHeads = 2;  // query heads that a warp takes at once: more cost registers
constexpr float kNothing = -3.0e38F;

// The part of a head that a lane holds: 8 neighbours of its first half, and those of its second
// that rotate with them.
struct Halves {
  Vector<8> first, second;
};

template <class T>
PRAXINO_DEVICE Halves load_halves(const T* row, int column, int half) {
  return {load_vector<8>(row + column), load_vector<8>(row + half + column)};
}

PRAXINO_DEVICE void rotate(Halves& x, const float* cos, const float* sin) {
  const Vector<8> c = load_vector<8>(cos), s = load_vector<8>(sin);
  PRAXINO_UNROLL
  for (int i = 0; i < 8; ++i) {
    const float a = x.first.v[i], b = x.second.v[i];
    x.first.v[i] = a * c.v[i] - b * s.v[i];
    x.second.v[i] = b * c.v[i] + a * s.v[i];
  }
}

PRAXINO_DEVICE float product(const Halves& a, const Halves& b) {
  float sum = 0;
  PRAXINO_UNROLL
  for (int i = 0; i < 8; ++i) sum += a.first.v[i] * b.first.v[i] + a.second.v[i] * b.second.v[i];
  return sum;
}

PRAXINO_DEVICE void scale_add(Halves& to, float scale, float factor, const Halves& x) {
  PRAXINO_UNROLL
  for (int i = 0; i < 8; ++i) {
    to.first.v[i] = to.first.v[i] * scale + factor * x.first.v[i];
    to.second.v[i] = to.second.v[i] * scale + factor * x.second.v[i];
  }
}

// What one query head has seen: a softmax under way.
struct Seen {
  Halves sum = {};
  float most = kNothing, total = 0;
  PRAXINO_DEVICE void add(float score, bool there, const Halves& value) {
    const float now = there && score > most ? score : most;
    const float old = exp2_fast(most - now), weight = there ? exp2_fast(score - now) : 0.0F;
    scale_add(sum, old, weight, value);
    total = total * old + weight;
    most = now;
  }
  // With that of the lane `distance` away, in both.
  PRAXINO_DEVICE void join(int distance) {
    const float other = shuffle_xor(most, distance), now = other > most ? other : most;
    const float own = exp2_fast(most - now);
    total = total * own;
    total += shuffle_xor(total, distance);
    PRAXINO_UNROLL
    for (int i = 0; i < 8; ++i) {
      const float first = sum.first.v[i] * own, second = sum.second.v[i] * own;
      sum.first.v[i] = first + shuffle_xor(first, distance);
      sum.second.v[i] = second + shuffle_xor(second, distance);
    }
    most = now;
  }
};

// Queries of one warp, ready for products.
PRAXINO_DEVICE Halves load_query(const TimeAttentionStep& p, int64_t row, int place, int column,
                                 int lanes) {
  const int width = static_cast<int>(p.width), half = width / 2;
  Halves q = p.query_element == Element::kFloat
                 ? load_halves(static_cast<const float*>(p.q) + row * width, column, half)
                 : load_halves(static_cast<const Bf16*>(p.q) + row * width, column, half);
  const float inverse = inverse_rms(group_sum(product(q, q), lanes), width);
  const Halves gain = load_halves(p.queries.gain, column, half);
  PRAXINO_UNROLL
  for (int i = 0; i < 8; ++i) {
    q.first.v[i] *= inverse * gain.first.v[i];
    q.second.v[i] *= inverse * gain.second.v[i];
  }
  const int64_t angle = int64_t{place} * half + column;
  rotate(q, p.queries.cos + angle, p.queries.sin + angle);
  return q;
}

// A warp a place, key/value head and up to kStepHeads of its query heads. Teams of width / 16 lanes
// take every so many-th frame; what they have seen is joined in a fixed order.
template <class T>
PRAXINO_KERNEL(kStepThreads)
time_attention_step_kernel(TimeAttentionStep p) {
  const int width = static_cast<int>(p.width), half = width / 2, lanes = width / 16;
  const int team = lane_index() / lanes, teams = kWarp / lanes;
  const int column = lane_index() % lanes * 8;
  const int64_t parts = (p.group + kStepHeads - 1) / kStepHeads;
  const int64_t works = p.batch * p.places * p.kv_heads * parts;
  const float scale = 1.44269504F * rsqrt_fast(static_cast<float>(width));
  const int64_t of_frame = p.places * p.kv_heads * width;
  for (int64_t work = block_index() * kStepWarps + warp_index(); work < works;
       work += grid_blocks() * kStepWarps) {
    const int64_t sequence = work / parts, part = work - sequence * parts;
    const int64_t batch = sequence / (p.places * p.kv_heads);
    const int64_t in_batch = sequence - batch * p.places * p.kv_heads;
    const int place = static_cast<int>(in_batch / p.kv_heads);
    const int64_t first_head = sequence * p.group + part * kStepHeads;
    const int64_t left = p.group - part * kStepHeads;
    const int heads = static_cast<int>(left < kStepHeads ? left : kStepHeads);
    Halves q[kStepHeads];
    Seen seen[kStepHeads];
    PRAXINO_UNROLL
    for (int h = 0; h < kStepHeads; ++h) {
      q[h] = {};
      if (h < heads) q[h] = load_query(p, first_head + h, place, column, lanes);
    }
    for (int64_t first = 0; first < p.frames; first += teams) {
      const int64_t frame = first + team;
      const bool there = frame < p.frames;
      Halves k = {}, v = {};
      if (there) {
        const int64_t at = batch * p.cache_batch + frame * of_frame + in_batch * width;
        k = load_halves(static_cast<const T*>(p.k) + at, column, half);
        v = load_halves(static_cast<const T*>(p.v) + at, column, half);
        const int64_t angle = (frame * p.places + place) * half + column;
        rotate(k, p.keys.cos + angle, p.keys.sin + angle);
      }
      PRAXINO_UNROLL
      for (int h = 0; h < kStepHeads; ++h) {
        if (h < heads) seen[h].add(scale * group_sum(product(q[h], k), lanes), there, v);
      }
    }
    PRAXINO_UNROLL
    for (int h = 0; h < kStepHeads; ++h) {
      if (h >= heads) continue;
      for (int distance = lanes; distance < kWarp; distance *= 2) seen[h].join(distance);
      if (team != 0) continue;
      Halves o = {};
      scale_add(o, 0, reciprocal_fast(seen[h].total), seen[h].sum);
      T* row = static_cast<T*>(p.o) + (first_head + h) * width;
      store_vector(row + column, o.first);
      store_vector(row + half + column, o.second);
    }
  }
}

}  // namespace

bool in_range(const TimeAttentionStep& p) {
  const int64_t most = INT32_MAX;
  if (p.batch < 0 || p.batch > most || p.places < 0 || p.places > most) return false;
  if (p.frames < 1 || p.frames > most || p.kv_heads < 1 || p.group < 1) return false;
  if (p.width != 64 && p.width != 128) return false;
  if (p.kv_heads > most / p.group || p.cache_batch < 0 || p.cache_batch % 8 != 0) return false;
  return p.places == 0 || p.kv_heads * p.group <= most / p.places;
}

Status launch_time_attention_step(const TimeAttentionStep& p, Stream stream) {
  if (!in_range(p)) return kRefused;
  for (const void* pointer : {p.q, p.k, p.v, static_cast<const void*>(p.o)}) {
    if (!aligned_16(pointer)) return kRefused;
  }
  for (const TimeNorm& norm : {p.queries, p.keys}) {
    if (!aligned_16(norm.gain) || !aligned_16(norm.cos) || !aligned_16(norm.sin)) return kRefused;
  }
  const int64_t works = p.batch * p.places * p.kv_heads * ((p.group + kStepHeads - 1) / kStepHeads);
  if (works == 0) return {};
  return launch(
      p.element == Element::kFloat ? time_attention_step_kernel<float>
                                   : time_attention_step_kernel<Bf16>,
      {"time_attention_step", blocks_for((works + kStepWarps - 1) / kStepWarps), kStepThreads}, p,
      stream);
}

}  // namespace praxino::kernels
