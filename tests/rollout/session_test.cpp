#include "praxino/rollout/session.h"

#include <ATen/ops/cat.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>

#include <limits>

#include "praxino/base/error.h"
#include "rollout/tiny_world.h"

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
