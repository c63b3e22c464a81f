#include "praxino/rollout/clips.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "praxino/base/error.h"
#include "praxino/video/writer.h"
#include "rollout/tiny_world.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_world::tiny_config;
using testing_world::tiny_fields;

constexpr int64_t kFrames = 20;

/// A data set of one video of 20 frames at 10 frames a second: frame t is 10 t bright, and row t of
/// the sidecar turns by t / 100.
class VideoFolder : public testing::Test {
 protected:
  VideoFolder()
      : folder_(fs::path(testing::TempDir()) / "praxino_clips_test" /
                testing::UnitTest::GetInstance()->current_test_info()->name()),
        world_(build_world(tiny_config(), tiny_fields())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    Frames frames(kFrames, 32, 32);
    std::ofstream sidecar(folder_ / "a.actions.csv");
    sidecar << "turn,fire\n";
    for (int64_t t = 0; t < kFrames; ++t) {
      std::ranges::fill(frames.frame(t), static_cast<uint8_t>(10 * t));
      sidecar << static_cast<double>(t) / 100 << "," << t % 2 << "\n";
    }
    write_mp4(folder_ / "a.mp4", frames, 10, /*quality=*/4);
    std::ofstream(folder_ / "dataset.yaml")
        << "fps: 10\nactions:\n  - {name: turn, kind: axis}\n  - {name: fire, kind: button}\n";
    world_.dataset.fps = 10;
    world_.config.data.path = folder_.string();
    world_.config.data.split.val = 0.5;
  }
  ~VideoFolder() override { fs::remove_all(folder_); }

  /// Which of the source frames a picture shows.
  static int64_t number(const at::Tensor& picture) {
    return static_cast<int64_t>(std::lround(picture.to(at::kFloat).mean().item<float>() / 10));
  }

  fs::path folder_;
  World world_;
};

TEST_F(VideoFolder, ReadsAVideoFromASecondOnWithItsActions) {
  const Clips clip = read_video_clip(world_, {folder_ / "a.mp4", 0.5, 4});
  ASSERT_EQ(clip.frames.sizes(), at::IntArrayRef({1, 4, 3, 16, 16}));
  EXPECT_THAT(clip.names, ElementsAre("a.mp4 @ frame 5"));
  for (int64_t t = 0; t < 4; ++t) {
    EXPECT_EQ(number(clip.frames[0][t]), 5 + t);
    EXPECT_TRUE(clip.known[0][t].item<bool>());
    // action_at_frame: row k leads into frame k + 1
    EXPECT_NEAR(clip.actions[0][t][0].item<float>(), static_cast<double>(4 + t) / 100, 1e-6);
    EXPECT_EQ(clip.actions[0][t][1].item<float>(), t % 2);
  }
}

TEST_F(VideoFolder, LeavesTheFirstActionOfAVideoOpenAndAllWithoutASidecar) {
  const Clips start = read_video_clip(world_, {folder_ / "a.mp4", 0, 2});
  EXPECT_FALSE(start.known[0][0].item<bool>());
  EXPECT_TRUE(start.known[0][1].item<bool>());
  fs::remove(folder_ / "a.actions.csv");
  EXPECT_FALSE(read_video_clip(world_, {folder_ / "a.mp4", 0.5, 2}).known.any().item<bool>());
}

TEST_F(VideoFolder, FollowsTheFrameRateOfTheWorld) {
  world_.config.data.fps = 5;
  const Clips clip = read_video_clip(world_, {folder_ / "a.mp4", 0.2, 3});
  EXPECT_EQ(clip.fps, Rational(5));
  for (int64_t t = 0; t < 3; ++t) EXPECT_EQ(number(clip.frames[0][t]), 2 + 2 * t);
  EXPECT_EQ(clip.actions[0][1][1].item<float>(), 1) << "the button was held in one of the two rows";
}

// At double rate the first frame is shown twice; 9.99 stands for the file's 10.
TEST_F(VideoFolder, IsTheClipThatADataSetOfTheVideoHolds) {
  const auto dataset = std::make_shared<const Dataset>(Dataset::open(folder_, 1));
  for (const double rate : {0.0, 20.0, 7.0, 9.99}) {
    world_.config.data.fps = rate;
    const Rational fps = dataset->fps(world_.config.data);
    for (const int64_t first : {0, 1, 6}) {
      const Clips clip =
          read_video_clip(world_, {folder_ / "a.mp4", static_cast<double>(first) / 10, 4});
      const Clips want = read_clips(world_.config, dataset,
                                    {plan_clip(*dataset, {0, 0, kFrames}, first, 4, fps).value()});
      EXPECT_EQ(clip.names, want.names);
      EXPECT_EQ(clip.fps, want.fps);
      EXPECT_TRUE(clip.frames.equal(want.frames)) << rate << ", frame " << first;
      EXPECT_TRUE(clip.actions.equal(want.actions)) << rate << ", frame " << first;
      EXPECT_TRUE(clip.known.equal(want.known)) << rate << ", frame " << first;
    }
  }
}

TEST_F(VideoFolder, TakesATimeThatWasRoundedDownForItsFrame) {
  EXPECT_THAT(read_video_clip(world_, {folder_ / "a.mp4", 0.49995, 1}).names,
              ElementsAre("a.mp4 @ frame 5"));
  EXPECT_THAT(read_video_clip(world_, {folder_ / "a.mp4", 0.499, 1}).names,
              ElementsAre("a.mp4 @ frame 4"));
}

TEST_F(VideoFolder, TakesAStillWithoutAnyRate) {
  Frames still(1, 32, 32);
  std::ranges::fill(still.frame(0), uint8_t{70});
  write_mp4(folder_ / "still.mp4", still, 10, /*quality=*/4);
  world_.dataset.fps = 0;
  EXPECT_EQ(number(read_video_clip(world_, {folder_ / "still.mp4", 0, 1}).frames[0][0]), 7);
}

TEST_F(VideoFolder, RefusesAClipThatLeavesTheVideo) {
  try {
    read_video_clip(world_, {folder_ / "a.mp4", 1.5, 9});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("9 frames at 10 frames a second last 0.90 s, but from "
                                        "second 1.5 on 0.50 s are left"));
  }
  EXPECT_THROW(read_video_clip(world_, {folder_ / "a.mp4", -1, 1}), Error);
}

TEST_F(VideoFolder, RefusesASidecarOfAnotherLength) {
  std::ofstream(folder_ / "a.actions.csv", std::ios::app) << "0,0\n";
  EXPECT_THROW(read_video_clip(world_, {folder_ / "a.mp4", 0, 2}), Error);
}

TEST_F(VideoFolder, SpreadsHeldOutClipsEvenlyWithoutRepeats) {
  const auto dataset = std::make_shared<const Dataset>(Dataset::open(folder_, 1));
  const Split split = split_dataset(*dataset, world_.config.data.split);
  std::set<int64_t> starts;
  for (const ClipPlan& plan : spread_clips(world_.config, *dataset, split.val, 4, 3)) {
    starts.insert(plan.numbers.front());
    EXPECT_GE(plan.numbers.front(), split.val.front().first);
    EXPECT_LT(plan.numbers.back(), split.val.front().last);
  }
  EXPECT_EQ(starts.size(), 3);
  const auto all = spread_clips(world_.config, *dataset, split.val, 4, 1000);
  EXPECT_EQ(static_cast<int64_t>(all.size()), split.val.front().last - split.val.front().first - 3);
  EXPECT_THROW(spread_clips(world_.config, *dataset, split.val, 19, 1), Error);
  EXPECT_THROW(spread_clips(world_.config, *dataset, {}, 4, 1), Error);
}

TEST_F(VideoFolder, ReadsPlannedClipsOfTheDataSet) {
  const auto dataset = std::make_shared<const Dataset>(Dataset::open(folder_, 1));
  const std::vector<ClipPlan> plans =
      spread_clips(world_.config, *dataset, {{0, 0, kFrames}}, 4, 3);
  const Clips clips = read_clips(world_.config, dataset, plans);
  ASSERT_EQ(clips.count(), 3);
  for (int64_t n = 0; n < 3; ++n) {
    const ClipPlan& plan = plans[static_cast<size_t>(n)];
    EXPECT_EQ(number(clips.frames[n][3]), plan.numbers[3]);
    EXPECT_EQ(clips.actions[n][3][0].item<float>(), plan.actions[6]);
  }
  EXPECT_EQ(clips.fps, Rational(10));
}

}  // namespace
}  // namespace praxino
