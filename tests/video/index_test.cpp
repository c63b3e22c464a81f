#include "praxino/video/index.h"

#include <gtest/gtest.h>

#include "praxino/video/reader.h"
#include "video/test_video.h"

namespace praxino {
namespace {

FrameIndex sample_index() {
  FrameIndex index;
  index.time_base = Rational(1, 1000);
  index.frames = {{100, 0}, {133, 0}, {200, 0}, {201, 0}};
  index.keys = {{100, 100, 0}};
  index.end_pts = 250;
  return index;
}

TEST(FrameIndex, GivesTheFrameBeingShown) {
  const FrameIndex index = sample_index();
  EXPECT_EQ(index.frame_at(Rational(-1)), 0);
  EXPECT_EQ(index.frame_at(Rational(0)), 0);
  EXPECT_EQ(index.frame_at(Rational(329, 10000)), 0);
  EXPECT_EQ(index.frame_at(Rational(33, 1000)), 1);
  EXPECT_EQ(index.frame_at(Rational(999, 10000)), 1);
  EXPECT_EQ(index.frame_at(Rational(100, 1000)), 2);
  EXPECT_EQ(index.frame_at(Rational(101, 1000)), 3);
  EXPECT_EQ(index.frame_at(Rational(1'000'000)), 3);
}

TEST(FrameIndex, TimesAreExact) {
  const FrameIndex index = sample_index();
  EXPECT_EQ(index.seconds(0), Rational(0));
  EXPECT_EQ(index.seconds(2), Rational(1, 10));
  EXPECT_EQ(index.duration(), Rational(3, 20));
  EXPECT_DOUBLE_EQ(index.mean_fps(), 3 / 0.101);
}

TEST(FrameIndex, RotationSwapsTheShownSize) {
  FrameIndex index = sample_index();
  index.width = 320;
  index.height = 180;
  index.rotation = 3;
  EXPECT_EQ(index.shown_width(), 180);
  EXPECT_EQ(index.shown_height(), 320);
}

TEST(FrameIndex, KnowsTheRealClips) {
  const std::filesystem::path file =
      std::filesystem::path(PRAXINO_SOURCE_DIR) / "tests/data/freedoom/freedoom1_demo3.mp4";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is not there";
  const FrameIndex index = build_index(file);
  EXPECT_EQ(index.frame_count(), 1241);  // one header line and one line a frame in the sidecar
  EXPECT_EQ(index.width, 160);
  EXPECT_EQ(index.height, 120);
  EXPECT_EQ(index.codec, "h264");
  EXPECT_NEAR(index.mean_fps(), 35, 1e-9);
  EXPECT_EQ(index.seconds(35), Rational(1));
  EXPECT_EQ(index.duration(), Rational(1241, 35));
  EXPECT_LE(serialize_index(index).size(), 4 * index.frames.size());
  EXPECT_TRUE(index_is_current(index, file));
}

class MadeIndex : public ::testing::Test {
 protected:
  void make(const std::string& name, const std::string& options) {
    const test::MadeVideo made = test::make_video(folder_, name, options);
    if (!made.problem.empty()) GTEST_SKIP() << made.problem;
    file_ = made.file;
  }
  test::TemporaryFolder folder_;
  std::filesystem::path file_;
};

TEST_F(MadeIndex, LeadingFramesBelongToThePreviousKeyFrame) {
  make("open.mp4", "-c:v libx264 -x264-params open-gop=1:keyint=12:bframes=3:scenecut=0:b-adapt=0");
  if (file_.empty()) return;
  const FrameIndex index = build_index(file_);
  ASSERT_EQ(index.keys.size(), 10);
  int64_t leading = 0;
  for (const FrameEntry& frame : index.frames) {
    const KeyEntry& key = index.keys[static_cast<size_t>(frame.key)];
    EXPECT_LE(key.pts, frame.pts);
    const bool has_next = static_cast<size_t>(frame.key) + 1 < index.keys.size();
    // Decoded after the next key frame, but shown before it and governed by this one.
    leading += has_next && frame.pts > key.pts &&
               frame.pts < index.keys[static_cast<size_t>(frame.key) + 1].pts;
  }
  EXPECT_GT(leading, 0);
}

TEST_F(MadeIndex, EndsWhereTheSizeChanges) {
  make("a.h264", "-c:v libx264 -g 30 -bf 0 -frames:v 50");
  if (file_.empty()) return;
  ASSERT_EQ(
      test::run_ffmpeg(folder_, test::bars_input() + " -vf scale=64:48 -c:v libx264 -bf 0 b.h264"),
      "");
  test::write_text(folder_ / "both.h264",
                   test::read_text(folder_ / "a.h264") + test::read_text(folder_ / "b.h264"));
  ASSERT_EQ(test::run_ffmpeg(folder_, "-r 30 -i both.h264 -c copy both.ts"), "");
  const FrameIndex index = build_index(folder_ / "both.ts");
  EXPECT_EQ(index.frame_count(), 50);
  EXPECT_EQ(index.width, test::kWidth);
  const Frames last = Reader(folder_ / "both.ts", std::make_shared<FrameIndex>(index))
                          .read(std::vector<int64_t>{49});
  EXPECT_EQ(test::read_barcode(last.frame(0), last.height, last.width), 49);
}

TEST_F(MadeIndex, RecordingsThatStartInMidStreamBeginAtTheFirstKeyFrame) {
  make("a.ts", "-c:v libx264 -g 20 -bf 2");
  if (file_.empty()) return;
  const std::string bytes = test::read_text(file_);
  // The program tables (two packets) stay, then a quarter of the recording is missing.
  const size_t cut = bytes.size() / 4 / 188 * 188;
  test::write_text(folder_ / "late.ts", bytes.substr(0, 3 * 188) + bytes.substr(cut));
  const auto index = std::make_shared<FrameIndex>(build_index(folder_ / "late.ts"));
  EXPECT_LT(index->frame_count(), test::kFrames);
  Reader reader(folder_ / "late.ts", index);
  const Frames first = reader.read(std::vector<int64_t>{0});
  EXPECT_EQ(test::read_barcode(first.frame(0), first.height, first.width),
            test::kFrames - index->frame_count());
}

TEST_F(MadeIndex, IsNotCurrentAfterAChange) {
  make("a.mp4", "-c:v mpeg4");
  if (file_.empty()) return;
  const FrameIndex index = build_index(file_);
  EXPECT_TRUE(index_is_current(index, file_));
  std::filesystem::last_write_time(
      file_, std::filesystem::last_write_time(file_) + std::chrono::seconds(2));
  EXPECT_FALSE(index_is_current(index, file_));
  EXPECT_FALSE(index_is_current(index, folder_ / "gone.mp4"));
}

}  // namespace
}  // namespace praxino
