// One new frame over a cache, against its definition in double.
#include <gtest/gtest.h>

#include "support/cuda_on_cpu/cuda_on_cpu.h"
#include "time_reference.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using namespace testing;

struct StepShape {
  int64_t batch, places, kv_heads, group, frames, width;
  int64_t slots;  // of the cache, at least `frames`
};

// The cache in T, the query in Q.
template <class T, class Q>
struct StepCase {
  StepShape s;
  std::vector<Q> q;
  std::vector<T> k, v;
  std::vector<float> gain, query_cos, query_sin, key_cos, key_sin;

  explicit StepCase(const StepShape& shape)
      : s(shape),
        q(normal<Q>(s.batch * s.places * s.kv_heads * s.group * s.width, 1)),
        k(normal<T>(s.batch * s.slots * s.places * s.kv_heads * s.width, 2)),
        v(normal<T>(static_cast<int64_t>(k.size()), 3)),
        gain(normal<float>(s.width, 4)),
        query_cos(normal<float>(s.places * s.width / 2, 5)),
        query_sin(normal<float>(s.places * s.width / 2, 6)),
        key_cos(normal<float>(s.frames * s.places * s.width / 2, 7)),
        key_sin(normal<float>(s.frames * s.places * s.width / 2, 8)) {}

  // A head turned by row `position` of two tables.
  Doubles turned(const Doubles& x, const std::vector<float>& cos, const std::vector<float>& sin,
                 int64_t position) const {
    Doubles y(x.size());
    const size_t half = x.size() / 2, row = static_cast<size_t>(position) * half;
    for (size_t i = 0; i < half; ++i) {
      y[i] = x[i] * cos[row + i] - x[half + i] * sin[row + i];
      y[half + i] = x[half + i] * cos[row + i] + x[i] * sin[row + i];
    }
    return y;
  }
  template <class E>
  Doubles head(const std::vector<E>& all, int64_t row) const {
    const auto first = all.begin() + row * s.width;
    return exact(std::vector<E>(first, first + s.width));
  }

  Doubles by_definition() const {
    Doubles o;
    for (int64_t row = 0; row < s.batch * s.places * s.kv_heads * s.group; ++row) {
      const int64_t sequence = row / s.group, b = sequence / (s.places * s.kv_heads);
      const int64_t in_batch = sequence % (s.places * s.kv_heads), n = in_batch / s.kv_heads;
      Doubles query = head(q, row);
      double squares = 0;
      for (const double x : query) squares += x * x;
      const double inverse = 1 / std::sqrt(squares / static_cast<double>(s.width) + 1e-6);
      for (size_t i = 0; i < query.size(); ++i) query[i] *= inverse * gain[i];
      query = turned(query, query_cos, query_sin, n);
      Doubles weights, sum(query.size());
      double most = -1e300, total = 0;
      const auto at = [&](int64_t f) {
        return (b * s.slots + f) * s.places * s.kv_heads + in_batch;
      };
      for (int64_t f = 0; f < s.frames; ++f) {
        const Doubles key = turned(head(k, at(f)), key_cos, key_sin, f * s.places + n);
        double score = 0;
        for (size_t i = 0; i < key.size(); ++i) score += query[i] * key[i];
        weights.push_back(score / std::sqrt(static_cast<double>(s.width)));
        most = std::max(most, weights.back());
      }
      for (double& weight : weights) total += weight = std::exp(weight - most);
      for (int64_t f = 0; f < s.frames; ++f) {
        const Doubles value = head(v, at(f));
        for (size_t i = 0; i < sum.size(); ++i)
          sum[i] += weights[static_cast<size_t>(f)] / total * value[i];
      }
      o.insert(o.end(), sum.begin(), sum.end());
    }
    return o;
  }

  Doubles by_kernel(uint64_t seed) const {
    CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
    T* o = cuda.allocate<T>(q.size(), "o");
    const TimeAttentionStep p{
        .q = cuda.upload(q, "q"),
        .k = cuda.upload(k, "k"),
        .v = cuda.upload(v, "v"),
        .o = o,
        .cache_batch = s.slots * s.places * s.kv_heads * s.width,
        .queries = {cuda.upload(gain, "gain"), cuda.upload(query_cos, "query cos"),
                    cuda.upload(query_sin, "query sin")},
        .keys = {nullptr, cuda.upload(key_cos, "key cos"), cuda.upload(key_sin, "key sin")},
        .batch = s.batch,
        .places = s.places,
        .kv_heads = s.kv_heads,
        .group = s.group,
        .frames = s.frames,
        .width = s.width,
        .query_element = kElementOf<Q>,
        .element = kElementOf<T>};
    EXPECT_TRUE(launch_time_attention_step(p, nullptr).ok());
    return exact(cuda.download(o, q.size()));
  }
};

constexpr StepShape kStepShapes[] = {{1, 1, 1, 1, 1, 64, 1},    {2, 3, 2, 1, 7, 64, 9},
                                     {1, 2, 1, 6, 33, 128, 33}, {2, 3, 2, 3, 4, 128, 8},
                                     {0, 3, 2, 1, 4, 64, 4},    {1, 5, 1, 4, 16, 64, 20}};

template <class T, class Q>
void expect_definition() {
  for (const StepShape& shape : kStepShapes) {
    const StepCase<T, Q> in(shape);
    const Doubles want = in.by_definition(), got = in.by_kernel(1);
    EXPECT_LE(distance(got, want), bound<T>(want)) << shape.frames << " frames";
    EXPECT_EQ(in.by_kernel(2), got);
  }
}

TEST(TimeAttentionStepKernel, EqualsItsDefinitionOverACacheInFloat) {
  expect_definition<float, float>();
  expect_definition<float, Bf16>();
}

TEST(TimeAttentionStepKernel, EqualsItsDefinitionOverACacheInBf16) {
  expect_definition<Bf16, Bf16>();
  expect_definition<Bf16, float>();
}

TEST(TimeAttentionStepKernel, RefusesWhatItDoesNotTake) {
  const CudaOnCpu cuda;
  const TimeAttentionStep p{.cache_batch = 64,
                            .queries = {},
                            .keys = {},
                            .batch = 1,
                            .places = 1,
                            .kv_heads = 1,
                            .group = 1,
                            .frames = 1,
                            .width = 64};
  EXPECT_TRUE(in_range(p));
  const auto refused = [&](int64_t TimeAttentionStep::*member, int64_t value) {
    TimeAttentionStep changed = p;
    changed.*member = value;
    return launch_time_attention_step(changed, nullptr).code == kRefused.code;
  };
  EXPECT_TRUE(refused(&TimeAttentionStep::frames, 0));
  EXPECT_TRUE(refused(&TimeAttentionStep::width, 96));
  EXPECT_TRUE(refused(&TimeAttentionStep::group, 0));
  EXPECT_TRUE(refused(&TimeAttentionStep::cache_batch, 68));
  EXPECT_TRUE(refused(&TimeAttentionStep::places, int64_t{1} << 32));
  TimeAttentionStep skewed = p;
  skewed.k = reinterpret_cast<const void*>(uintptr_t{8});
  EXPECT_EQ(launch_time_attention_step(skewed, nullptr).code, kRefused.code);
}

}  // namespace
}  // namespace praxino::kernels
