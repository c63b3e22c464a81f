#include "praxino/video/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "praxino/video/reader.h"
#include "video/test_video.h"

namespace praxino {
namespace {

Frames bars(int64_t count) {
  Frames frames(count, test::kHeight, test::kWidth);
  for (int64_t t = 0; t < count; ++t)
    std::ranges::copy(test::barcode_rgb(t), frames.frame(t).begin());
  return frames;
}

Frames read_all(const std::filesystem::path& file) {
  const auto index = std::make_shared<const FrameIndex>(build_index(file));
  std::vector<int64_t> all(index->frames.size());
  std::iota(all.begin(), all.end(), 0);
  return Reader(file, index).read(all);
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  return names;
}

TEST(VideoWriter, FramesComeBack) {
  const test::TemporaryFolder folder;
  const Frames frames = bars(40);
  write_mp4(folder / "a.mp4", frames, Rational(30000, 1001), 10);
  const FrameIndex index = build_index(folder / "a.mp4");
  EXPECT_EQ(index.seconds(30), Rational(1001, 1000));
  const Frames back = read_all(folder / "a.mp4");
  ASSERT_EQ(back.pixels.size(), frames.pixels.size());
  double error = 0;
  for (size_t i = 0; i < frames.pixels.size(); ++i)
    error += std::abs(int{frames.pixels[i]} - int{back.pixels[i]});
  EXPECT_LT(error / static_cast<double>(frames.pixels.size()), 2.5);
}

TEST(VideoWriter, ColoursComeBack) {
  const test::TemporaryFolder folder;
  Frames frames(2, 32, 32);
  const std::array<uint8_t, 3> color = {200, 60, 30};
  for (size_t i = 0; i < frames.pixels.size(); ++i) frames.pixels[i] = color[i % 3];
  write_mp4(folder / "a.mp4", frames, 30, 1);
  const Frames back = read_all(folder / "a.mp4");
  for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(back.pixels[16 * 32 * 3 + 48 + c], color[c], 4);
}

TEST(VideoWriter, SameFramesGiveTheSameBytes) {
  const test::TemporaryFolder folder;
  const Frames frames = bars(50);
  write_mp4(folder / "a.mp4", frames, 30);
  write_mp4(folder / "b.mp4", frames, 30);
  EXPECT_EQ(test::read_text(folder / "a.mp4"), test::read_text(folder / "b.mp4"));
}

TEST(VideoWriter, PutsKeyFramesWhereTheyWereAsked) {
  const test::TemporaryFolder folder;
  VideoWriterOptions options;
  options.height = test::kHeight;
  options.width = test::kWidth;
  options.key_every = 10;
  options.b_frames = true;
  VideoWriter writer(folder / "a.mp4", options);
  for (int64_t n = 0; n < 50; ++n) writer.add(test::barcode_rgb(n));
  writer.finish();
  const FrameIndex index = build_index(folder / "a.mp4");
  EXPECT_EQ(index.keys.size(), 5);
  EXPECT_GT(index.reorder_depth, 0);
}

TEST(VideoWriter, OddSizesAreFilledUp) {
  const test::TemporaryFolder folder;
  Frames frames(3, 33, 35);
  std::ranges::fill(frames.pixels, uint8_t{200});
  write_mp4(folder / "a.mp4", frames, 10);
  const Frames back = read_all(folder / "a.mp4");
  EXPECT_EQ(back.height, 34);
  EXPECT_EQ(back.width, 36);
  EXPECT_THAT(back.pixels,
              ::testing::Each(::testing::AllOf(::testing::Ge(197), ::testing::Le(203))));
}

TEST(VideoWriter, LeavesNothingBehindWithoutFinish) {
  const test::TemporaryFolder folder;
  {
    VideoWriter writer(folder / "a.mp4", {.height = test::kHeight, .width = test::kWidth});
    for (int64_t n = 0; n < 20; ++n) writer.add(test::barcode_rgb(n));
    EXPECT_THAT(names_in(folder.path()), ::testing::Not(::testing::Contains("a.mp4")));
  }
  EXPECT_THAT(names_in(folder.path()), ::testing::IsEmpty());
}

TEST(VideoWriter, RefusesWhatItCannotWrite) {
  const test::TemporaryFolder folder;
  const auto open = [&](const VideoWriterOptions& options) {
    VideoWriter writer(folder / "a.mp4", options);
  };
  EXPECT_THROW(open({}), Error);
  EXPECT_THROW(open({.height = 10, .width = 10, .fps = 0}), Error);
  EXPECT_THROW(open({.height = 10, .width = 10, .quality = 99}), Error);
  EXPECT_THAT([&] { write_mp4(folder / "none" / "a.mp4", bars(2), 30); },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr("No such file")));
  VideoWriter writer(folder / "a.mp4", {.height = 32, .width = 32});
  EXPECT_THROW(writer.add(std::vector<uint8_t>(10)), Error);
  EXPECT_THROW(writer.finish(), Error);
}

TEST(Png, HoldsTheExactPixels) {
  const test::TemporaryFolder folder;
  const Frames frames = bars(3);
  write_png(folder / "a.png", frames, 2);
  const std::vector<uint8_t> bytes = encode_png(frames, 2);
  EXPECT_EQ(test::read_text(folder / "a.png"), std::string(bytes.begin(), bytes.end()));
  EXPECT_EQ(std::string(bytes.begin() + 1, bytes.begin() + 4), "PNG");
  EXPECT_THROW(encode_png(frames, 3), Error);
  if (const std::string problem =
          test::run_ffmpeg(folder, "-i a.png -f rawvideo -pix_fmt rgb24 a.rgb");
      !problem.empty())
    GTEST_SKIP() << problem;
  const std::string pixels = test::read_text(folder / "a.rgb");
  EXPECT_EQ(std::vector<uint8_t>(pixels.begin(), pixels.end()), test::barcode_rgb(2));
}

}  // namespace
}  // namespace praxino
