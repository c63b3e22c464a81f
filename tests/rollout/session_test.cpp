#include "praxino/rollout/session.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>

#include <limits>

#include "praxino/base/error.h"
#include "rollout/tiny_world.h"
#include "support/run_again_recorder.h"

namespace praxino {
namespace {

using testing_world::actions;
using testing_world::pictures;
using testing_world::tiny_world;

constexpr int64_t kContext = 2;

/// `frames` imagined ones after two given ones: B (2 + frames) C Y X.
at::Tensor imagined(const World& world, int64_t batch, int64_t frames,
                    const SessionOptions& options = {}) {
  Session session(world, batch, options);
  return roll_out(session, pictures(batch, kContext), actions(batch, kContext + frames), kContext);
}

TEST(Session, GivesTheSameBitsForTheSameSeedAndOthersForAnother) {
  const World world = tiny_world();
  const at::Tensor first = imagined(world, 2, 8, {.seed = 5});
  EXPECT_TRUE(first.equal(imagined(world, 2, 8, {.seed = 5})));
  EXPECT_FALSE(first.equal(imagined(world, 2, 8, {.seed = 6})));
  EXPECT_TRUE(first.narrow(1, 0, kContext).equal(pictures(2, kContext)));
}

TEST(Session, ImaginesPicturesThatAreNotConstant) {
  const at::Tensor frames = imagined(tiny_world(), 1, 6);
  EXPECT_EQ(frames.scalar_type(), at::kByte);
  EXPECT_FALSE(frames.select(1, kContext).equal(frames.select(1, kContext + 1)));
  EXPECT_GT(frames.select(1, kContext).to(at::kFloat).std().item<float>(), 5.0F);
}

TEST(Session, GivesARowOfABatchWhatABatchOfOneGets) {
  const World world = tiny_world();
  constexpr int64_t kFrames = 4;
  const at::Tensor batch = imagined(world, 3, kFrames);
  Session alone(world, 1, {.first_row = 2});
  const ActionBatch all = actions(3, kContext + kFrames);
  const at::Tensor row =
      roll_out(alone, pictures(3, kContext).narrow(0, 2, 1),
               {all.values.narrow(0, 2, 1), all.known.narrow(0, 2, 1)}, kContext);
  // Matrix products of other heights round differently: a pixel in a hundred may fall on the other
  // side of a half.
  const at::Tensor distance = (row.to(at::kInt) - batch.narrow(0, 2, 1).to(at::kInt)).abs();
  EXPECT_LE(distance.max().item<int>(), 1);
  EXPECT_LE(distance.gt(0).to(at::kFloat).mean().item<float>(), 0.01F);
}

TEST(Session, NeedsConstantMemoryOverTwoHundredFrames) {
  const World world = tiny_world();
  Session session(world, 1);
  const int64_t bytes = session.bytes();
  EXPECT_GT(bytes, 0);
  roll_out(session, pictures(1, kContext), actions(1, kContext + 200), kContext);
  EXPECT_EQ(session.bytes(), bytes);
  EXPECT_EQ(session.frames(), kContext + 200);
}

TEST(Session, BranchesContinueOnePastIndependently) {
  const World world = tiny_world();
  const auto into = [](uint64_t stream) { return actions(1, 1, stream); };
  Session session(world, 1);
  session.observe(pictures(1, kContext), actions(1, kContext));
  session.imagine(into(0));

  Session same = session.branch(), other = session.branch();
  const at::Tensor strayed = other.imagine({-into(0).values - 1, into(0).known});
  other.imagine(into(1));
  const at::Tensor expected = same.imagine(into(0));
  EXPECT_TRUE(session.imagine(into(0)).equal(expected));
  EXPECT_FALSE(strayed.equal(expected)) << "actions make no difference";
  EXPECT_TRUE(session.imagine(into(0)).equal(same.imagine(into(0))));
}

TEST(Session, ContinuesFromItsOwnPictures) {
  const World world = tiny_world();
  const at::Tensor whole = imagined(world, 1, 6);
  Session later(world, 1);
  const at::Tensor resumed = roll_out(later, whole, actions(1, kContext + 6), /*context=*/5);
  EXPECT_TRUE(resumed.equal(whole));
}

TEST(Session, ForgetsWhatLeavesItsWindow) {
  const World world = tiny_world();
  const at::Tensor past = pictures(1, 8);
  const at::Tensor other = at::cat({255 - past.narrow(1, 0, 4), past.narrow(1, 4, 4)}, 1);
  const auto next = [&](const at::Tensor& frames, int64_t window) {
    SessionOptions options;
    options.window = window;
    Session session(world, 1, options);
    session.observe(frames, actions(1, 8));
    return session.imagine(actions(1, 1));
  };
  EXPECT_TRUE(next(past, 3).equal(next(other, 3)));
  EXPECT_FALSE(next(past, 6).equal(next(other, 6)));
}

// Replays of one recording, the newest frame in another slot each time.
TEST(Session, ImaginesTheSameByReplays) {
  for (const char* attention : {"space_time", "frame_causal"}) {
    RunConfig config = testing_world::tiny_config();
    config.model.attention = attention;
    config.model.sinks = 1;
    const World world = tiny_world(testing_world::tiny_fields(), config);
    const SessionOptions options{.window = 3, .cuda_graphs = true};
    const at::Tensor plain = imagined(world, 2, 9, {.window = 3});
    const testing::WithRunAgainRecorder recorder;
    Session session(world, 2, options);
    const at::Tensor got =
        roll_out(session, pictures(2, kContext), actions(2, kContext + 9), kContext);
    EXPECT_TRUE(got.equal(plain)) << attention;
    // Frames 0, 1, 2 fill the cache and see fewer; each later one is decoded thrice (two sampler
    // steps, and once to be remembered), three decodes run as they are first.
    EXPECT_EQ(testing::run_again_counts().recordings, 1);
    EXPECT_EQ(session.replays(), 3 * 8 - 3);
  }
}

TEST(Session, RecordsOnlyOverAFullCacheAndWhereItIsAsked) {
  const World world = tiny_world();
  const testing::WithRunAgainRecorder recorder;
  imagined(world, 1, 3, {.window = 6, .cuda_graphs = true});
  imagined(world, 1, 9, {.window = 3, .cuda_graphs = false});
  imagined(world, 1, 9, {.window = 3});  // the run's run.cuda_graphs is off
  EXPECT_EQ(testing::run_again_counts().recordings, 0);
  RunConfig config = testing_world::tiny_config();
  config.run.cuda_graphs = true;
  imagined(tiny_world(testing_world::tiny_fields(), config), 1, 9, {.window = 3});
  EXPECT_EQ(testing::run_again_counts().recordings, 1);
}

TEST(Session, BranchesRecordForThemselves) {
  const World world = tiny_world();
  const auto frames = [&](bool cuda_graphs) {
    Session session(world, 1, {.window = 2, .cuda_graphs = cuda_graphs});
    session.observe(pictures(1, 4), actions(1, 4));
    Session other = session.branch();
    std::vector<at::Tensor> seen;
    for (uint64_t i = 0; i < 4; ++i) {
      seen.push_back(session.imagine(actions(1, 1, i)));
      seen.push_back(other.imagine(actions(1, 1, i + 10)));
    }
    return at::stack(seen);
  };
  const at::Tensor plain = frames(false);
  const testing::WithRunAgainRecorder recorder;
  EXPECT_TRUE(frames(true).equal(plain));
  EXPECT_EQ(testing::run_again_counts().recordings, 2);
}

TEST(Session, RunsAsItIsWhereThereAreNoCudaGraphs) {
  const World world = tiny_world();
  Session session(world, 1, {.window = 2, .cuda_graphs = true});
  const at::Tensor got =
      roll_out(session, pictures(1, kContext), actions(1, kContext + 4), kContext);
  EXPECT_TRUE(got.equal(imagined(world, 1, 4, {.window = 2})));
  EXPECT_EQ(session.replays(), 0);
}

TEST(Session, RefusesToImagineBeforeItHasSeenAFrame) {
  const World world = tiny_world();
  Session session(world, 1);
  EXPECT_THROW(session.imagine(actions(1, 1)), c10::Error);
}

TEST(Session, RefusesActionsOfAnotherShape) {
  const World world = tiny_world();
  Session session(world, 2);
  EXPECT_THROW(session.observe(pictures(2, 1), actions(1, 1)), c10::Error);
  EXPECT_THROW(session.observe(pictures(2, 1), actions(2, 2)), c10::Error);
}

TEST(Session, SaysThatAPredictionIsNotFinite) {
  World world = tiny_world();
  {
    const at::NoGradGuard no_grad;
    at::Tensor value = world.model->parameters().all().back().value;
    value.fill_(std::numeric_limits<float>::quiet_NaN());
  }
  Session session(world, 1);
  session.observe(pictures(1, 1), actions(1, 1));
  EXPECT_THROW(session.imagine(actions(1, 1)), Error);
  EXPECT_EQ(session.frames(), 1);
}

TEST(Session, RunsAWorldWithoutActions) {
  const World world = tiny_world({});
  Session session(world, 1);
  const ActionBatch none{at::zeros({1, 5, 0}), at::zeros({1, 5}, at::kBool)};
  EXPECT_EQ(roll_out(session, pictures(1, kContext), none, kContext).size(1), 5);
}

}  // namespace
}  // namespace praxino
