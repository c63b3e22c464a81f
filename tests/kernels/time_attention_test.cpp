// Attention along time, forward and backward, in bfloat16 and in float, against its definition in
// double.
#include "kernels/time_attention.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "support/cuda_on_cpu/cuda_on_cpu.h"
#include "time_reference.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using namespace testing;

constexpr size_t kSharedOfHopper = 227 * 1024, kSharedOfSmallChips = 99 * 1024;

struct Settings {
  uint64_t seed = 1;
  size_t shared = kSharedOfHopper;
  int multiprocessors = 3;
  bool one_projection = false;  // q, k and v are parts of one tensor
  bool one_table = false;       // keys are turned as queries are
};

// q, k and v of each token side by side.
template <class T>
std::vector<T> joined(const TimeCase<T>& in) {
  const int64_t q = in.shape.heads() * in.shape.width, k = in.shape.kv_heads * in.shape.width;
  std::vector<T> all;
  for (int64_t token = 0; token < in.shape.batch * in.shape.frames * in.shape.places; ++token) {
    all.insert(all.end(), in.q.begin() + token * q, in.q.begin() + (token + 1) * q);
    all.insert(all.end(), in.k.begin() + token * k, in.k.begin() + (token + 1) * k);
    all.insert(all.end(), in.v.begin() + token * k, in.v.begin() + (token + 1) * k);
  }
  return all;
}

template <class T>
TimeInputs<T> upload(CudaOnCpu& cuda, const TimeCase<T>& in, const Settings& settings) {
  const int64_t q = in.shape.heads() * in.shape.width, k = in.shape.kv_heads * in.shape.width;
  TimeInputs<T> inputs{.queries = {}, .keys = {}, .shape = in.shape};
  if (in.normed) {
    inputs.queries = {cuda.upload(in.query_gain, "query gain"),
                      cuda.upload(in.query_cos, "query cos"),
                      cuda.upload(in.query_sin, "query sin")};
    inputs.keys = {cuda.upload(in.key_gain, "key gain"), cuda.upload(in.key_cos, "key cos"),
                   cuda.upload(in.key_sin, "key sin")};
    if (settings.one_table) {
      inputs.keys.cos = inputs.queries.cos;
      inputs.keys.sin = inputs.queries.sin;
    }
  }
  if (settings.one_projection) {
    inputs.q = cuda.upload(joined(in), "q k v");
    inputs.k = inputs.q + q;
    inputs.v = inputs.k + k;
    inputs.q_token = inputs.k_token = inputs.v_token = q + 2 * k;
  } else {
    inputs.q = cuda.upload(in.q, "q");
    inputs.k = cuda.upload(in.k, "k");
    inputs.v = cuda.upload(in.v, "v");
    inputs.q_token = q;
    inputs.k_token = inputs.v_token = k;
  }
  return inputs;
}

template <class T>
std::vector<T> forward(const TimeCase<T>& in, const Settings& settings) {
  CudaOnCpu cuda({.seed = settings.seed,
                  .multiprocessors = settings.multiprocessors,
                  .shared_limit = settings.shared});
  const TimeAttention<T> p{.in = upload(cuda, in, settings),
                           .o = cuda.allocate<T>(in.q.size(), "o"),
                           .plan = time_plan(in.shape, forward_tiles<T>(), time_device())};
  EXPECT_TRUE(launch_time_attention(p, nullptr).ok());
  return cuda.download(p.o, in.q.size());
}

template <class T>
struct Gradients {
  std::vector<T> q, k, v;
  std::vector<float> query_gain, key_gain;
};

template <class T>
Gradients<T> backward(const TimeCase<T>& in, const Settings& settings) {
  CudaOnCpu cuda({.seed = settings.seed,
                  .multiprocessors = settings.multiprocessors,
                  .shared_limit = settings.shared});
  const TimePlan plan = time_plan(in.shape, backward_tiles<T>(), time_device());
  const auto workspace =
      static_cast<size_t>(in.normed ? chunk_workspace(time_sums(in.shape, plan), 2) : 0);
  const auto gains = static_cast<size_t>(in.normed ? in.shape.width : 0);
  const TimeAttentionBackward<T> p{
      .in = upload(cuda, in, settings),
      .grad = cuda.upload(in.grad, "grad"),
      .grad_q = cuda.allocate<T>(in.q.size(), "grad q"),
      .grad_k = cuda.allocate<T>(in.k.size(), "grad k"),
      .grad_v = cuda.allocate<T>(in.v.size(), "grad v"),
      .grad_query_gain = cuda.allocate<float>(gains, "grad query gain"),
      .grad_key_gain = cuda.allocate<float>(gains, "grad key gain"),
      .workspace = cuda.allocate<float>(workspace, "workspace"),
      .plan = plan};
  EXPECT_TRUE(launch_time_attention_backward(p, nullptr).ok());
  return {cuda.download(p.grad_q, in.q.size()), cuda.download(p.grad_k, in.k.size()),
          cuda.download(p.grad_v, in.v.size()), cuda.download(p.grad_query_gain, gains),
          cuda.download(p.grad_key_gain, gains)};
}

// In bfloat16 at most twice as far from the exact values as the formula; in float as far as sums in
// another order are.
template <class T>
void expect_near(const Doubles& got, const Doubles& want, const Doubles& formula,
                 const char* what) {
  const bool floats = kElementOf<T> == Element::kFloat;
  EXPECT_LE(distance(got, want),
            floats ? kFloatTolerance * largest(want) : 2 * distance(formula, want))
      << what;
}

std::vector<TimeShape> shapes() {
  return {
      {.batch = 1, .places = 1, .kv_heads = 1, .group = 1, .frames = 1, .width = 64},
      {.batch = 2, .places = 3, .kv_heads = 3, .group = 1, .frames = 5, .width = 64},
      {.batch = 1, .places = 5, .kv_heads = 2, .group = 1, .frames = 16, .width = 128},
      {.batch = 1, .places = 3, .kv_heads = 1, .group = 3, .frames = 17, .width = 64},
      {.batch = 1, .places = 2, .kv_heads = 2, .group = 2, .frames = 31, .width = 128, .window = 7},
      {.batch = 1, .places = 3, .kv_heads = 1, .group = 1, .frames = 47, .width = 64, .window = 1},
      {.batch = 1, .places = 1, .kv_heads = 3, .group = 1, .frames = 64, .width = 64},
      {.batch = 1,
       .places = 1,
       .kv_heads = 1,
       .group = 2,
       .frames = 61,
       .width = 128,
       .window = 20,
       .sinks = 3},
      // The last tile sees the first by its sinks, and not the second.
      {.batch = 1,
       .places = 2,
       .kv_heads = 1,
       .group = 1,
       .frames = 63,
       .width = 64,
       .window = 5,
       .sinks = 2},
  };
}

template <class T>
void expect_result(const TimeCase<T>& in, const Settings& settings) {
  const Doubles want = TimeReference(in, false).run().o, formula = TimeReference(in, true).run().o;
  expect_near<T>(exact(forward(in, settings)), want, formula, "o");
}

template <class T>
void expect_gradients(const TimeCase<T>& in, const Settings& settings) {
  const TimeResults want = TimeReference(in, false).run(), near = TimeReference(in, true).run();
  const Gradients<T> got = backward(in, settings);
  expect_near<T>(exact(got.q), want.grad_q, near.grad_q, "grad q");
  expect_near<T>(exact(got.k), want.grad_k, near.grad_k, "grad k");
  expect_near<T>(exact(got.v), want.grad_v, near.grad_v, "grad v");
  if (!in.normed) return;
  expect_near<T>(exact(got.query_gain), want.grad_query_gain, near.grad_query_gain, "query gain");
  expect_near<T>(exact(got.key_gain), want.grad_key_gain, near.grad_key_gain, "key gain");
}

std::string name_of(const TimeShape& s) {
  return "T" + std::to_string(s.frames) + " K" + std::to_string(s.width) + " group " +
         std::to_string(s.group) + " window " + std::to_string(s.window);
}

template <class T>
class TimeAttentionKernels : public ::testing::Test {};
using Elements = ::testing::Types<Bf16, float>;
TYPED_TEST_SUITE(TimeAttentionKernels, Elements);

TYPED_TEST(TimeAttentionKernels, EqualTheirDefinition) {
  for (const TimeShape& shape : shapes()) {
    SCOPED_TRACE(name_of(shape));
    expect_result(time_case<TypeParam>(shape), {});
  }
}

TYPED_TEST(TimeAttentionKernels, HaveTheGradientsOfTheirDefinition) {
  for (const TimeShape& shape : shapes()) {
    SCOPED_TRACE(name_of(shape));
    expect_gradients(time_case<TypeParam>(shape), {});
  }
}

TYPED_TEST(TimeAttentionKernels, TakeRowsAsTheyAre) {
  for (const TimeShape& shape : shapes()) {
    SCOPED_TRACE(name_of(shape));
    TimeCase<TypeParam> in = time_case<TypeParam>(shape);
    in.normed = false;
    expect_result(in, {});
    expect_gradients(in, {});
  }
}

template <class T>
std::vector<uint32_t> bits(const std::vector<T>& values) {
  std::vector<uint32_t> result;
  for (const T value : values) result.push_back(bits_of(to_float(value)));
  return result;
}

template <class T>
void expect_equal_bits(const Gradients<T>& a, const Gradients<T>& b) {
  EXPECT_EQ(bits(a.q), bits(b.q));
  EXPECT_EQ(bits(a.k), bits(b.k));
  EXPECT_EQ(bits(a.v), bits(b.v));
  EXPECT_EQ(a.query_gain, b.query_gain);
  EXPECT_EQ(a.key_gain, b.key_gain);
}

TYPED_TEST(TimeAttentionKernels, GiveEqualBitsUnderAllSchedules) {
  const auto in = time_case<TypeParam>(shapes()[4]);
  const auto first = forward(in, {});
  const auto gradients = backward(in, {});
  for (uint64_t seed = 2; seed <= 4; ++seed) {
    EXPECT_EQ(bits(forward(in, {.seed = seed})), bits(first));
    expect_equal_bits(backward(in, {.seed = seed}), gradients);
  }
}

// Teams take several sequences one after the other, over the ends of places and batch rows.
TYPED_TEST(TimeAttentionKernels, WalkOverManySequences) {
  for (const TimeShape& shape :
       {TimeShape{.batch = 1, .places = 35, .kv_heads = 1, .group = 1, .frames = 2, .width = 128},
        TimeShape{.batch = 5, .places = 2, .kv_heads = 3, .group = 1, .frames = 18, .width = 64},
        TimeShape{.batch = 3, .places = 1, .kv_heads = 2, .group = 2, .frames = 33, .width = 64}}) {
    const auto in = time_case<TypeParam>(shape);
    for (const int multiprocessors : {1, 2}) {
      expect_result(in, {.multiprocessors = multiprocessors});
      expect_gradients(in, {.multiprocessors = multiprocessors});
    }
  }
}

TYPED_TEST(TimeAttentionKernels, TurnQueriesAndKeysByOneTable) {
  for (const TimeShape& shape : {shapes()[1], shapes()[3], shapes()[4], shapes()[6]}) {
    auto in = time_case<TypeParam>(shape);
    in.key_cos = in.query_cos;
    in.key_sin = in.query_sin;
    EXPECT_EQ(bits(forward(in, {.one_table = true})), bits(forward(in, {})));
    expect_equal_bits(backward(in, {.one_table = true}), backward(in, {}));
  }
}

TYPED_TEST(TimeAttentionKernels, TakePartsOfOneProjection) {
  for (const TimeShape& shape : {shapes()[3], shapes()[4]}) {
    const auto in = time_case<TypeParam>(shape);
    EXPECT_EQ(bits(forward(in, {.one_projection = true})), bits(forward(in, {})));
    expect_equal_bits(backward(in, {.one_projection = true}), backward(in, {}));
  }
}

TYPED_TEST(TimeAttentionKernels, WorkOnChipsWithLessSharedMemory) {
  for (const TimeShape& shape : {shapes()[1], shapes()[3], shapes()[6]}) {
    const auto in = time_case<TypeParam>(shape);
    EXPECT_EQ(bits(forward(in, {.shared = kSharedOfSmallChips / 2})), bits(forward(in, {})));
    expect_gradients(in, {.shared = kSharedOfSmallChips});
  }
}

TYPED_TEST(TimeAttentionKernels, TakeAnEmptyBatchFrameOrSequence) {
  for (const auto& [batch, places, frames] :
       {std::array<int64_t, 3>{0, 3, 4}, {2, 0, 4}, {2, 3, 0}}) {
    const auto in = time_case<TypeParam>({.batch = batch,
                                          .places = places,
                                          .kv_heads = 1,
                                          .group = 2,
                                          .frames = frames,
                                          .width = 64});
    EXPECT_TRUE(forward(in, {}).empty());
    const auto got = backward(in, {});
    const std::vector<float> zeros(64);
    EXPECT_EQ(got.query_gain, zeros);
    EXPECT_EQ(got.key_gain, zeros);
  }
}

TYPED_TEST(TimeAttentionKernels, RefuseWhatTheyDoNotTake) {
  CudaOnCpu cuda;
  const auto in = time_case<TypeParam>(shapes()[0]);
  TimeAttention<TypeParam> p{
      .in = upload(cuda, in, {}),
      .o = cuda.allocate<TypeParam>(in.q.size() + 8, "o"),
      .plan = time_plan(in.shape, forward_tiles<TypeParam>(), time_device())};
  const auto refused = [](const TimeAttention<TypeParam>& changed) {
    return launch_time_attention(changed, nullptr).code == kRefused.code;
  };
  TimeAttention<TypeParam> wrong = p;
  wrong.in.shape.frames = kMostFrames + 1;
  wrong.plan = time_plan(wrong.in.shape, forward_tiles<TypeParam>(), time_device());
  EXPECT_TRUE(refused(wrong));
  wrong = p;
  wrong.in.shape.width = 96;
  EXPECT_TRUE(refused(wrong));
  wrong = p;
  wrong.plan.blocks = 2;  // of another plan
  EXPECT_TRUE(refused(wrong));
  wrong = p;
  wrong.o += 1;
  EXPECT_TRUE(refused(wrong));
  wrong = p;
  wrong.in.k_token = 68;
  EXPECT_TRUE(refused(wrong));
  wrong = p;
  wrong.in.keys.cos += 1;
  EXPECT_TRUE(refused(wrong));
  wrong = p;
  wrong.in.keys.gain = nullptr;
  EXPECT_TRUE(refused(wrong));
  wrong = p;
  wrong.plan = {};
  EXPECT_TRUE(refused(wrong));
  EXPECT_EQ(cuda.launches(), 0);
  EXPECT_FALSE(refused(p));
}

TYPED_TEST(TimeAttentionKernels, RefuseBackwardWhatTheyDoNotTake) {
  CudaOnCpu cuda;
  const auto in = time_case<TypeParam>(shapes()[1]);
  const TimePlan plan = time_plan(in.shape, backward_tiles<TypeParam>(), time_device());
  const auto gradient = [&](size_t size) { return cuda.allocate<TypeParam>(size + 8, "gradient"); };
  const auto sums = [&](int64_t count) {
    return cuda.allocate<float>(static_cast<size_t>(count), "sums");
  };
  const TimeAttentionBackward<TypeParam> p{
      .in = upload(cuda, in, {}),
      .grad = cuda.upload(in.grad, "grad"),
      .grad_q = gradient(in.q.size()),
      .grad_k = gradient(in.k.size()),
      .grad_v = gradient(in.v.size()),
      .grad_query_gain = sums(in.shape.width),
      .grad_key_gain = sums(in.shape.width),
      .workspace = sums(chunk_workspace(time_sums(in.shape, plan), 2)),
      .plan = plan};
  const auto refused = [&](auto change) {
    TimeAttentionBackward<TypeParam> wrong = p;
    change(wrong);
    return launch_time_attention_backward(wrong, nullptr).code == kRefused.code;
  };
  EXPECT_TRUE(refused([](auto& wrong) { wrong.grad += 1; }));
  EXPECT_TRUE(refused([](auto& wrong) { wrong.grad_q += 1; }));
  EXPECT_TRUE(refused([](auto& wrong) { wrong.grad_k += 1; }));
  EXPECT_TRUE(refused([](auto& wrong) { wrong.grad_v += 1; }));
  EXPECT_TRUE(refused([](auto& wrong) { wrong.in.v += 1; }));
  EXPECT_TRUE(refused([](auto& wrong) { wrong.in.q_token = 4; }));
  EXPECT_TRUE(refused([](auto& wrong) { wrong.plan = {}; }));
  EXPECT_TRUE(refused([&](auto& wrong) {  // of the other pass
    wrong.plan = time_plan(in.shape, forward_tiles<TypeParam>(), time_device());
  }));
  EXPECT_EQ(cuda.launches(), 0);
  EXPECT_FALSE(refused([](auto&) {}));
}

}  // namespace
}  // namespace praxino::kernels
