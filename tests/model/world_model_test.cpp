#include "praxino/model/world_model.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "praxino/ops/planned_device.h"
#include "support/tensors.h"

namespace praxino {
namespace {

using testing::normal;
using testing::relative_error;
using testing::uniform;

constexpr int64_t kBatch = 2, kFrames = 6;

ModelConfig small(const std::string& attention) {
  ModelConfig config;
  config.width = 32;
  config.depth = 4;
  config.heads = 2;
  config.kv_heads = 1;
  config.time_every = 2;
  config.registers = 2;
  config.attention = attention;
  return config;
}

const TokenGrid kGrid{.rows = 2, .columns = 3, .width = 12};

std::vector<ActionField> fields() {
  return {{.name = "fire", .kind = "button", .unit = ""},
          {.name = "turn", .kind = "delta", .low = -4, .high = 4, .unit = ""},
          {.name = "weapon", .kind = "discrete", .size = 3, .unit = ""}};
}

// A model whose every part speaks: the zero-initialized matrices get values.
std::unique_ptr<WorldModel> make_model(const ModelConfig& config, bool bf16 = false) {
  auto model = std::make_unique<WorldModel>(
      config, kGrid, fields(), WorldModelOptions{.bf16 = bf16, .clip_frames = kFrames});
  const at::NoGradGuard off;
  uint64_t seed = 100;
  for (const Parameter& p : model->parameters().all())
    p.value.add_(normal(p.value.sizes(), seed++), 0.1);
  return model;
}

TEST(WorldModel, DrawsLaterTheWeightsThatItWouldHaveHad) {
  const WorldModelOptions options{.clip_frames = kFrames, .seed = 9};
  WorldModelOptions without = options;
  without.drawn = false;
  const WorldModel drawn(small("space_time"), kGrid, fields(), options);
  const WorldModel later(small("space_time"), kGrid, fields(), without);
  Parameters all, some;  // every third
  size_t number = 0;
  for (const Parameter& p : later.parameters().all()) {
    EXPECT_TRUE(p.value.isnan().all().item<bool>()) << p.name;
    EXPECT_LE(p.value.storage().nbytes(), sizeof(float)) << p.name;
    all.add(p.name, at::empty(p.value.sizes()), p.role);
    if (number++ % 3 == 0) some.add(p.name, at::empty(p.value.sizes()), p.role);
  }
  ASSERT_EQ(all.all().size(), drawn.parameters().all().size());
  for (const Parameters* kept : {&all, &some}) {
    later.draw_weights(*kept);
    for (const Parameter& p : kept->all()) {
      EXPECT_TRUE(p.value.equal(drawn.parameters().find(p.name)->value)) << p.name;
    }
  }
}

struct Input {
  at::Tensor z = normal({kBatch, kFrames, kGrid.count(), kGrid.width}, 1);
  at::Tensor signal = uniform({kBatch, kFrames}, 2);
  ActionBatch actions{.values = normal({kBatch, kFrames, 3}, 3).sign().clamp(0, 1),
                      .known = at::ones({kBatch, kFrames}, at::kBool)};
  Input frames(int64_t first, int64_t count) const {
    return {z.narrow(1, first, count),
            signal.narrow(1, first, count),
            {actions.values.narrow(1, first, count), actions.known.narrow(1, first, count)}};
  }
};

at::Tensor forward(const WorldModel& model, const Input& in) {
  const at::NoGradGuard off;
  return model.forward(in.z, in.signal, in.actions);
}

class Models : public ::testing::TestWithParam<std::string> {};

TEST_P(Models, AFrameDependsOnNothingAfterIt) {
  const auto model = make_model(small(GetParam()));
  const Input in;
  Input other;
  other.z = in.z.clone();
  other.z.narrow(1, 4, 2).add_(1);
  other.signal = in.signal.clone();
  other.signal.narrow(1, 4, 2).fill_(0.3);
  other.actions.values = in.actions.values.clone();
  other.actions.values.narrow(1, 4, 2).fill_(0);
  const at::Tensor a = forward(*model, in), b = forward(*model, other);
  EXPECT_LT(relative_error(b.narrow(1, 0, 4), a.narrow(1, 0, 4)), 1e-5);
  EXPECT_GT(relative_error(b.narrow(1, 4, 1), a.narrow(1, 4, 1)), 1e-2);
}

TEST_P(Models, EveryInputOfTheOwnAndEarlierFramesMatters) {
  const auto model = make_model(small(GetParam()));
  const Input in;
  const at::Tensor last = forward(*model, in).narrow(1, 5, 1);
  const auto changed = [&](auto change) {
    Input other{
        in.z.clone(), in.signal.clone(), {in.actions.values.clone(), in.actions.known.clone()}};
    change(other);
    return relative_error(forward(*model, other).narrow(1, 5, 1), last);
  };
  EXPECT_GT(changed([](Input& i) { i.z.narrow(1, 0, 1).add_(1); }), 1e-4);
  EXPECT_GT(changed([](Input& i) { i.signal.narrow(1, 5, 1).fill_(0.9); }), 1e-4);
  for (int64_t field = 0; field < 3; ++field) {
    EXPECT_GT(changed([&](Input& i) { i.actions.values.narrow(1, 5, 1).select(2, field).add_(1); }),
              1e-4)
        << field;
  }
  EXPECT_GT(changed([](Input& i) { i.actions.known.narrow(1, 5, 1).fill_(false); }), 1e-4);
}

TEST_P(Models, UnknownActionsHideTheirValues) {
  const auto model = make_model(small(GetParam()));
  Input a, b;
  a.actions.known = b.actions.known = at::zeros({kBatch, kFrames}, at::kBool);
  b.actions.values = at::full({kBatch, kFrames, 3}, 2.0F);
  EXPECT_TRUE(forward(*model, a).equal(forward(*model, b)));
}

// Decoding frame by frame with a cache gives what forward gives over the same frames.
void expect_decode_equals_forward(const ModelConfig& config, int64_t frames_checked,
                                  int64_t window = 0) {
  const auto model = make_model(config);
  const Input in;
  const at::Tensor want = forward(*model, in);
  const auto cache = model->make_cache(kBatch, window);
  const int64_t bytes = cache->bytes();
  const at::NoGradGuard off;
  for (int64_t t = 0; t < frames_checked; ++t) {
    const Input now = in.frames(t, 1);
    const Input noise{normal(now.z.sizes(), 77), now.signal * 0.5, now.actions};
    model->decode(noise.z, noise.signal, noise.actions, *cache,
                  /*append=*/false);  // must leave no trace
    const at::Tensor got = model->decode(now.z, now.signal, now.actions, *cache, /*append=*/true);
    EXPECT_LT(relative_error(got, want.narrow(1, t, 1)), 1e-4) << "frame " << t;
  }
  EXPECT_EQ(cache->frames_seen(), frames_checked);
  EXPECT_EQ(cache->bytes(), bytes);
}

TEST_P(Models, DecodingEqualsForward) { expect_decode_equals_forward(small(GetParam()), kFrames); }

TEST_P(Models, DecodingEqualsForwardPastTheWindow) {
  ModelConfig config = small(GetParam());
  config.window = 3;
  expect_decode_equals_forward(config, kFrames);
}

TEST_P(Models, DecodingWithSinksEqualsForwardUntilTheWindowMoves) {
  ModelConfig config = small(GetParam());
  config.window = 3;
  config.sinks = 1;
  expect_decode_equals_forward(config, 4);
}

// What a GPU's kernels take: keys and values that came out of bfloat16 products, as they are.
TEST_P(Models, ACacheOnAGpuHoldsWhatTheModelComputesIn) {
  const ops::PlannedDevice gpu(at::kCUDA);
  const auto bytes = [](bool bf16, at::Device device) {
    const WorldModel model(small(GetParam()), kGrid, fields(),
                           {.device = device, .bf16 = bf16, .clip_frames = kFrames});
    return model.make_cache(kBatch)->bytes();
  };
  const int64_t whole = bytes(false, at::kMeta);
  EXPECT_EQ(bytes(false, at::kCPU), whole);
  EXPECT_EQ(bytes(true, at::kCPU), whole);
  const int64_t frame = kBatch * (kGrid.count() * kGrid.width + 1) * 4;  // the last one's tokens
  EXPECT_EQ(2 * (bytes(true, at::kMeta) - frame), whole - frame);
}

TEST_P(Models, ACacheBranches) {
  const auto model = make_model(small(GetParam()));
  const Input in;
  const at::NoGradGuard off;
  const auto cache = model->make_cache(kBatch);
  for (int64_t t = 0; t < 3; ++t) {
    const Input now = in.frames(t, 1);
    model->decode(now.z, now.signal, now.actions, *cache, true);
  }
  const auto branch = cache->clone();
  const Input other = in.frames(5, 1), next = in.frames(3, 1);
  model->decode(other.z, other.signal, other.actions, *branch, true);
  const at::Tensor got = model->decode(next.z, next.signal, next.actions, *cache, true);
  EXPECT_LT(relative_error(got, forward(*model, in).narrow(1, 3, 1)), 1e-4);
}

// What a recording of decode_at() replays for later frames: the host's count of frames is not in
// it.
TEST_P(Models, ADecodeFindsItsPlaceInTensorsAlone) {
  ModelConfig config = small(GetParam());
  config.window = 3;
  config.temporal_preconditioning = false;  // it has the last frame in tensors, too
  const auto model = make_model(config);
  const Input in;
  const at::NoGradGuard off;
  const auto cache = model->make_cache(kBatch);
  for (int64_t t = 0; t < 4; ++t) {
    const Input now = in.frames(t, 1);
    EXPECT_EQ(cache->full(), t >= 2) << t;
    model->decode(now.z, now.signal, now.actions, *cache, true);
  }
  const Input next = in.frames(4, 1);
  const CachePlace place = model->place(*cache);
  const auto later = cache->clone();
  model->append(next.z, next.signal, *later);
  EXPECT_FALSE(model->place(*later).times.equal(place.times));
  const auto decoded = [&](KeyValueCache& over, const CachePlace& at) {
    return model->decode_at(next.z, next.signal, next.actions, at, over);
  };
  const at::Tensor want = decoded(*cache, place);
  EXPECT_TRUE(decoded(*later, place).equal(want));
  EXPECT_FALSE(decoded(*later, model->place(*later)).equal(want));
}

TEST_P(Models, CheckpointingChangesNoGradient) {
  ModelConfig config = small(GetParam());
  const Input in;
  std::vector<std::vector<at::Tensor>> gradients;
  for (const bool checkpointing : {false, true}) {
    config.activation_checkpointing = checkpointing;
    const auto model = make_model(config);
    model->forward(in.z, in.signal, in.actions).square().sum().backward();
    gradients.emplace_back();
    for (const Parameter& p : model->parameters().all()) {
      ASSERT_TRUE(p.value.grad().defined()) << p.name;
      gradients.back().push_back(p.value.grad());
    }
  }
  for (size_t i = 0; i < gradients[0].size(); ++i)
    EXPECT_TRUE(gradients[0][i].equal(gradients[1][i])) << i;
}

TEST_P(Models, Bfloat16StaysNearFloat32) {
  const Input in;
  const at::Tensor exact = forward(*make_model(small(GetParam())), in);
  const at::Tensor rounded = forward(*make_model(small(GetParam()), /*bf16=*/true), in);
  EXPECT_EQ(rounded.scalar_type(), at::kFloat);
  EXPECT_LT(relative_error(rounded, exact), 0.05);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Models, ::testing::Values("space_time", "frame_causal"));

TEST_P(Models, PureNoiseEntersAsNothingAndACleanFrameAsItIs) {
  const auto model = make_model(small(GetParam()));
  Input noise;
  noise.signal = at::zeros({kBatch, kFrames});
  Input other = noise;
  other.z = normal({kBatch, kFrames, kGrid.count(), kGrid.width}, 9);
  EXPECT_EQ(relative_error(forward(*model, noise), forward(*model, other)), 0);

  ModelConfig config = small(GetParam());
  config.input_scaling = false;
  const auto unscaled = make_model(config);
  EXPECT_GT(relative_error(forward(*unscaled, noise), forward(*unscaled, other)), 0.1);
  Input clean;
  clean.signal = at::ones({kBatch, kFrames});
  EXPECT_LT(relative_error(forward(*unscaled, clean), forward(*model, clean)), 1e-6);

  // In between, as the linear estimate: at tau = 2/3 and deviation 1/2, power = 1/6 and
  // z enters times (1/6) / (1/9 + 1/9) = 3/4.
  Input between, by_hand;
  between.signal = at::full({kBatch, kFrames}, 2.0 / 3);
  by_hand.signal = between.signal;
  by_hand.z = between.z * 0.75;
  EXPECT_LT(relative_error(forward(*unscaled, by_hand), forward(*model, between)), 1e-5);
}

TEST(WorldModel, StartsByPredictingNothing) {
  const WorldModel model(small("space_time"), kGrid, fields(), {});
  const Input in;
  EXPECT_EQ(forward(model, in).abs().max().item<float>(), 0.0F);
}

TEST(WorldModel, NamesAreModulePathsAndSeedsDecide) {
  const WorldModel a(small("space_time"), kGrid, fields(), {.seed = 1}),
      b(small("space_time"), kGrid, fields(), {.seed = 1}),
      c(small("space_time"), kGrid, fields(), {.seed = 2});
  EXPECT_NE(a.parameters().find("blocks.0.attention.query.weight"), nullptr);
  EXPECT_NE(a.parameters().find("actions.fields.turn.weight"), nullptr);
  const auto weight = [](const WorldModel& m) {
    return m.parameters().find("blocks.1.feed_forward.up.weight")->value;
  };
  EXPECT_TRUE(weight(a).equal(weight(b)));
  EXPECT_FALSE(weight(a).equal(weight(c)));
}

TEST(WorldModel, WorksWithoutActions) {
  const WorldModel model(small("frame_causal"), kGrid, {}, {});
  const Input in;
  const at::NoGradGuard off;
  const ActionBatch none{.values = at::zeros({kBatch, kFrames, 0}),
                         .known = at::zeros({kBatch, kFrames}, at::kBool)};
  EXPECT_EQ(model.forward(in.z, in.signal, none).sizes(), in.z.sizes());
}

}  // namespace
}  // namespace praxino
