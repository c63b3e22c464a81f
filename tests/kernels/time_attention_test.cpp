// Attention along time, forward and backward, against its definition in double.
#include "kernels/time_attention.h"

#include <gtest/gtest.h>

#include <array>

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
std::vector<Bf16> joined(const TimeCase& in) {
  const int64_t q = in.shape.heads() * in.shape.width, k = in.shape.kv_heads * in.shape.width;
  std::vector<Bf16> all;
  for (int64_t token = 0; token < in.shape.batch * in.shape.frames * in.shape.places; ++token) {
    all.insert(all.end(), in.q.begin() + token * q, in.q.begin() + (token + 1) * q);
    all.insert(all.end(), in.k.begin() + token * k, in.k.begin() + (token + 1) * k);
    all.insert(all.end(), in.v.begin() + token * k, in.v.begin() + (token + 1) * k);
  }
  return all;
}

TimeInputs upload(CudaOnCpu& cuda, const TimeCase& in, const Settings& settings) {
  const int64_t q = in.shape.heads() * in.shape.width, k = in.shape.kv_heads * in.shape.width;
  TimeInputs inputs{.queries = {}, .keys = {}, .shape = in.shape};
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

std::vector<Bf16> forward(const TimeCase& in, const Settings& settings) {
  CudaOnCpu cuda({.seed = settings.seed,
                  .multiprocessors = settings.multiprocessors,
                  .shared_limit = settings.shared});
  const TimeAttention p{.in = upload(cuda, in, settings),
                        .o = cuda.allocate<Bf16>(in.q.size(), "o"),
                        .plan = time_plan(in.shape, kForwardTiles, time_device())};
  EXPECT_TRUE(launch_time_attention(p, nullptr).ok());
  return cuda.download(p.o, in.q.size());
}

struct Gradients {
  std::vector<Bf16> q, k, v;
  std::vector<float> query_gain, key_gain;
};

Gradients backward(const TimeCase& in, const Settings& settings) {
  CudaOnCpu cuda({.seed = settings.seed,
                  .multiprocessors = settings.multiprocessors,
                  .shared_limit = settings.shared});
  const TimePlan plan = time_plan(in.shape, kBackwardTiles, time_device());
  const auto workspace =
      static_cast<size_t>(in.normed ? chunk_workspace(time_sums(in.shape, plan), 2) : 0);
  const auto gains = static_cast<size_t>(in.normed ? in.shape.width : 0);
  const TimeAttentionBackward p{.in = upload(cuda, in, settings),
                                .grad = cuda.upload(in.grad, "grad"),
                                .grad_q = cuda.allocate<Bf16>(in.q.size(), "grad q"),
                                .grad_k = cuda.allocate<Bf16>(in.k.size(), "grad k"),
                                .grad_v = cuda.allocate<Bf16>(in.v.size(), "grad v"),
                                .grad_query_gain = cuda.allocate<float>(gains, "grad query gain"),
                                .grad_key_gain = cuda.allocate<float>(gains, "grad key gain"),
                                .workspace = cuda.allocate<float>(workspace, "workspace"),
                                .plan = plan};
  EXPECT_TRUE(launch_time_attention_backward(p, nullptr).ok());
  return {cuda.download(p.grad_q, in.q.size()), cuda.download(p.grad_k, in.k.size()),
          cuda.download(p.grad_v, in.v.size()), cuda.download(p.grad_query_gain, gains),
          cuda.download(p.grad_key_gain, gains)};
}

// At most twice as far from the exact values as the formula in bfloat16.
void expect_near(const Doubles& got, const Doubles& want, const Doubles& formula,
                 const char* what) {
  EXPECT_LE(distance(got, want), 2 * distance(formula, want)) << what;
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
  };
}

void expect_gradients(const TimeCase& in, const Settings& settings) {
  const TimeResults want = TimeReference(in, false).run(), near = TimeReference(in, true).run();
  const Gradients got = backward(in, settings);
  expect_near(exact(got.q), want.grad_q, near.grad_q, "grad q");
  expect_near(exact(got.k), want.grad_k, near.grad_k, "grad k");
  expect_near(exact(got.v), want.grad_v, near.grad_v, "grad v");
  if (!in.normed) return;
  expect_near(exact(got.query_gain), want.grad_query_gain, near.grad_query_gain, "query gain");
  expect_near(exact(got.key_gain), want.grad_key_gain, near.grad_key_gain, "key gain");
}

class TimeAttentionKernel : public ::testing::TestWithParam<TimeShape> {};

TEST_P(TimeAttentionKernel, EqualsItsDefinition) {
  const TimeCase in = time_case(GetParam());
  const Doubles want = TimeReference(in, false).run().o, formula = TimeReference(in, true).run().o;
  expect_near(exact(forward(in, {})), want, formula, "o");
}

TEST_P(TimeAttentionKernel, HasTheGradientsOfItsDefinition) {
  expect_gradients(time_case(GetParam()), {});
}

INSTANTIATE_TEST_SUITE_P(Shapes, TimeAttentionKernel, ::testing::ValuesIn(shapes()));

TEST_P(TimeAttentionKernel, TakesRowsAsTheyAre) {
  TimeCase in = time_case(GetParam());
  in.normed = false;
  const Doubles want = TimeReference(in, false).run().o, formula = TimeReference(in, true).run().o;
  expect_near(exact(forward(in, {})), want, formula, "o");
  expect_gradients(in, {});
}

std::vector<uint32_t> bits(const std::vector<Bf16>& values) {
  std::vector<uint32_t> result;
  for (const Bf16 value : values) result.push_back(value.bits);
  return result;
}

void expect_equal_bits(const Gradients& a, const Gradients& b) {
  EXPECT_EQ(bits(a.q), bits(b.q));
  EXPECT_EQ(bits(a.k), bits(b.k));
  EXPECT_EQ(bits(a.v), bits(b.v));
  EXPECT_EQ(a.query_gain, b.query_gain);
  EXPECT_EQ(a.key_gain, b.key_gain);
}

TEST(TimeAttentionKernels, GiveEqualBitsUnderAllSchedules) {
  const TimeCase in = time_case(shapes()[4]);
  const auto first = forward(in, {});
  const Gradients gradients = backward(in, {});
  for (uint64_t seed = 2; seed <= 4; ++seed) {
    EXPECT_EQ(bits(forward(in, {.seed = seed})), bits(first));
    expect_equal_bits(backward(in, {.seed = seed}), gradients);
  }
}

// Teams take several sequences one after the other, over the ends of places and batch rows.
TEST(TimeAttentionKernels, WalkOverManySequences) {
  for (const TimeShape& shape :
       {TimeShape{.batch = 1, .places = 35, .kv_heads = 1, .group = 1, .frames = 2, .width = 128},
        TimeShape{.batch = 5, .places = 2, .kv_heads = 3, .group = 1, .frames = 18, .width = 64},
        TimeShape{.batch = 3, .places = 1, .kv_heads = 2, .group = 2, .frames = 33, .width = 64}}) {
    const TimeCase in = time_case(shape);
    const auto formula = TimeReference(in, true).run().o, want = TimeReference(in, false).run().o;
    for (const int multiprocessors : {1, 2}) {
      expect_near(exact(forward(in, {.multiprocessors = multiprocessors})), want, formula, "o");
      expect_gradients(in, {.multiprocessors = multiprocessors});
    }
  }
}

TEST(TimeAttentionKernels, TurnQueriesAndKeysByOneTable) {
  for (const TimeShape& shape : {shapes()[1], shapes()[3], shapes()[4], shapes()[6]}) {
    TimeCase in = time_case(shape);
    in.key_cos = in.query_cos;
    in.key_sin = in.query_sin;
    EXPECT_EQ(bits(forward(in, {.one_table = true})), bits(forward(in, {})));
    expect_equal_bits(backward(in, {.one_table = true}), backward(in, {}));
  }
}

TEST(TimeAttentionKernels, TakePartsOfOneProjection) {
  for (const TimeShape& shape : {shapes()[3], shapes()[4]}) {
    const TimeCase in = time_case(shape);
    EXPECT_EQ(bits(forward(in, {.one_projection = true})), bits(forward(in, {})));
    expect_equal_bits(backward(in, {.one_projection = true}), backward(in, {}));
  }
}

TEST(TimeAttentionKernels, WorkOnChipsWithLessSharedMemory) {
  for (const TimeShape& shape : {shapes()[1], shapes()[3], shapes()[6]}) {
    const TimeCase in = time_case(shape);
    EXPECT_EQ(bits(forward(in, {.shared = kSharedOfSmallChips / 2})), bits(forward(in, {})));
    expect_gradients(in, {.shared = kSharedOfSmallChips});
  }
}

TEST(TimeAttentionKernels, TakeAnEmptyBatchFrameOrSequence) {
  for (const auto& [batch, places, frames] :
       {std::array<int64_t, 3>{0, 3, 4}, {2, 0, 4}, {2, 3, 0}}) {
    const TimeCase in = time_case({.batch = batch,
                                   .places = places,
                                   .kv_heads = 1,
                                   .group = 2,
                                   .frames = frames,
                                   .width = 64});
    EXPECT_TRUE(forward(in, {}).empty());
    const Gradients got = backward(in, {});
    const std::vector<float> zeros(64);
    EXPECT_EQ(got.query_gain, zeros);
    EXPECT_EQ(got.key_gain, zeros);
  }
}

TEST(TimeAttentionKernels, RefuseWhatTheyDoNotTake) {
  CudaOnCpu cuda;
  const TimeCase in = time_case(shapes()[0]);
  TimeAttention p{.in = upload(cuda, in, {}),
                  .o = cuda.allocate<Bf16>(in.q.size() + 8, "o"),
                  .plan = time_plan(in.shape, kForwardTiles, time_device())};
  const auto refused = [](TimeAttention changed) {
    return launch_time_attention(changed, nullptr).code == kRefused.code;
  };
  TimeAttention wrong = p;
  wrong.in.shape.frames = kMostFrames + 1;
  wrong.plan = time_plan(wrong.in.shape, kForwardTiles, time_device());
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

}  // namespace
}  // namespace praxino::kernels
