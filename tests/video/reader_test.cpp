#include "praxino/video/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "praxino/video/writer.h"
#include "video/test_video.h"

namespace praxino {
namespace {

// Clips of the writer's own making, so that these run wherever praxino does.
class ReaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    VideoWriterOptions options;
    options.height = test::kHeight;
    options.width = test::kWidth;
    options.b_frames = true;
    VideoWriter writer(file_, options);
    for (int64_t n = 0; n < test::kFrames; ++n) writer.add(test::barcode_rgb(n));
    writer.finish();
    index_ = std::make_shared<const FrameIndex>(build_index(file_));
  }
  Frames read(std::vector<int64_t> numbers, const PixelLayout& layout = {}) {
    return Reader(file_, index_).read(numbers, layout);
  }
  VideoFault fault_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const VideoError& error) {
      text_ = error.what();
      return error.fault();
    }
    ADD_FAILURE() << "nothing was thrown";
    return VideoFault::kCorrupt;
  }

  test::TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "clip.mp4";
  std::shared_ptr<const FrameIndex> index_;
  std::string text_;
};

TEST_F(ReaderTest, KeepsTheOrderAndTheRepeatsThatWereAsked) {
  const std::vector<int64_t> numbers = {70, 3, 3, 119, 0, 70, 31};
  const Frames frames = read(numbers);
  for (size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_EQ(
        test::read_barcode(frames.frame(static_cast<int64_t>(i)), frames.height, frames.width),
        numbers[i]);
  }
}

TEST_F(ReaderTest, GoesOnForwardWithoutSeeking) {
  Reader reader(file_, index_);
  for (int64_t n = 0; n < test::kFrames; ++n) {
    const Frames one = reader.read(std::vector{n});
    ASSERT_EQ(test::read_barcode(one.frame(0), one.height, one.width), n);
  }
  // The second request shows that reading goes on; the decoder had been emptied for the first.
  EXPECT_EQ(reader.stats().seeks, 2);
  EXPECT_LE(reader.stats().frames_decoded, test::kFrames + 1);
  EXPECT_EQ(reader.stats().frames_delivered, test::kFrames);
}

TEST_F(ReaderTest, DecodesOnlyWhatItNeeds) {
  Reader reader(file_, index_);
  (void)reader.read(
      std::vector<int64_t>{29});  // 29 frames after a key frame, many of them not referred to
  EXPECT_LT(reader.stats().frames_decoded, 25);
  (void)reader.read(std::vector<int64_t>{90});
  EXPECT_EQ(reader.stats().seeks, 2);
}

TEST_F(ReaderTest, PlanarHoldsTheSamePixels) {
  for (const int64_t width : {96, 64, 37}) {
    PixelLayout layout;
    layout.height = 32;
    layout.width = width;
    const Frames packed = read({40, 41}, layout);
    layout.planar = true;
    std::vector<uint8_t> planar(packed.pixels.size());
    Reader(file_, index_).read(std::vector<int64_t>{40, 41}, layout, planar);
    int64_t different = 0;
    for (int64_t t = 0; t < 2; ++t) {
      for (int64_t i = 0; i < 32 * width * 3; ++i) {
        const int64_t at = t * 32 * width * 3 + i % 3 * 32 * width + i / 3;
        different += planar[static_cast<size_t>(at)] != packed.frame(t)[static_cast<size_t>(i)];
      }
    }
    EXPECT_EQ(different, 0) << width;
  }
}

TEST_F(ReaderTest, ScalesWithEveryFilter) {
  for (const char* name : {"area", "bilinear", "bicubic"}) {
    PixelLayout layout{32, 48, parse_resize_filter(name), false};
    const Frames small = read({77}, layout);
    EXPECT_EQ(test::read_barcode(small.frame(0), 32, 48), 77) << name;
  }
  EXPECT_THROW(parse_resize_filter("nearest"), Error);
}

TEST_F(ReaderTest, EqualsTheFfmpegProgramForTheSameGraph) {
  const std::string problem = test::run_ffmpeg(
      folder_,
      "-i clip.mp4 -vf scale=48:32:flags=area+accurate_rnd+full_chroma_int+bitexact,format=rgb24 "
      "-f rawvideo out.rgb");
  if (!problem.empty()) GTEST_SKIP() << problem;
  const std::string truth = test::read_text(folder_ / "out.rgb");
  std::vector<int64_t> all(test::kFrames);
  std::iota(all.begin(), all.end(), 0);
  const Frames frames = read(all, {32, 48, ResizeFilter::kArea, false});
  ASSERT_EQ(truth.size(), frames.pixels.size());
  EXPECT_TRUE(std::equal(frames.pixels.begin(), frames.pixels.end(), truth.begin(),
                         [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); }));
}

TEST_F(ReaderTest, TurnsPicturesUpright) {
  const Frames lying = read({85});
  std::string bytes = test::read_text(file_);
  const size_t matrix = bytes.find("tkhd") + 44;
  ASSERT_NE(bytes.find("tkhd"), std::string::npos);
  // Clockwise by 90, 180, 270 degrees, as phones write it (ISO 14496-12, 8.3.2; 16.16 fixed point).
  const std::array<std::array<int, 4>, 3> turns = {{{0, 1, -1, 0}, {-1, 0, 0, -1}, {0, -1, 1, 0}}};
  for (int turn = 1; turn <= 3; ++turn) {
    constexpr std::array kPlaces = {0, 4, 12, 16};  // a b, c d
    for (size_t k = 0; k < 4; ++k) {
      const auto fixed = static_cast<uint32_t>(turns[static_cast<size_t>(turn - 1)][k] * 65536);
      for (size_t b = 0; b < 4; ++b)
        bytes[matrix + kPlaces[k] + b] = static_cast<char>(fixed >> (24 - 8 * b));
    }
    const std::filesystem::path turned = folder_ / "turned.mp4";
    test::write_text(turned, bytes);
    const auto index = std::make_shared<const FrameIndex>(build_index(turned));
    EXPECT_EQ(index->rotation, turn);
    const Frames upright = Reader(turned, index).read(std::vector<int64_t>{85});
    ASSERT_EQ(upright.height, turn == 2 ? test::kHeight : test::kWidth);
    // Where the pixel (y, x) of the stored picture goes.
    for (const auto& [y, x] : {std::pair<int64_t, int64_t>{3, 5}, {40, 90}, {63, 0}}) {
      int64_t to_y = test::kHeight - 1 - y, to_x = test::kWidth - 1 - x;
      if (turn == 1) to_y = x, to_x = test::kHeight - 1 - y;
      if (turn == 3) to_y = test::kWidth - 1 - x, to_x = y;
      EXPECT_EQ(upright.frame(0)[static_cast<size_t>((to_y * upright.width + to_x) * 3)],
                lying.frame(0)[static_cast<size_t>((y * lying.width + x) * 3)]);
    }
  }
}

TEST_F(ReaderTest, NamesFileAndFrameThatDoNotExist) {
  Reader reader(file_, index_);
  EXPECT_EQ(fault_of([&] {
              (void)reader.read(std::vector<int64_t>{3, 120});
            }),
            VideoFault::kMismatch);
  EXPECT_THAT(text_,
              ::testing::AllOf(::testing::HasSubstr("clip.mp4"), ::testing::HasSubstr("frame 120"),
                               ::testing::HasSubstr("0 to 119")));
  EXPECT_EQ(fault_of([&] { (void)reader.read(std::vector<int64_t>{-1}); }), VideoFault::kMismatch);
  EXPECT_EQ(test::read_barcode(reader.read(std::vector<int64_t>{5}).frame(0), test::kHeight,
                               test::kWidth),
            5);
}

TEST_F(ReaderTest, RefusesAFileThatChanged) {
  const auto written = std::filesystem::last_write_time(file_);
  std::filesystem::last_write_time(file_, written + std::chrono::seconds(1));
  EXPECT_EQ(fault_of([&] { Reader(file_, index_); }), VideoFault::kMismatch);
  test::write_text(file_, test::read_text(file_) + "x");
  std::filesystem::last_write_time(file_, written);
  EXPECT_EQ(fault_of([&] { Reader(file_, index_); }), VideoFault::kMismatch);
}

TEST_F(ReaderTest, RefusesMemoryOfTheWrongSize) {
  std::vector<uint8_t> pixels(100);
  EXPECT_THROW(Reader(file_, index_).read(std::vector<int64_t>{1}, {}, pixels), Error);
}

TEST_F(ReaderTest, StopsAtTheTimeLimitAndGoesOnAfterwards) {
  VideoLimits limits;
  limits.clip_seconds = -1;
  Reader hurried(file_, index_, limits);
  EXPECT_EQ(fault_of([&] { (void)hurried.read(std::vector<int64_t>{60}); }), VideoFault::kTimeout);
}

TEST_F(ReaderTest, AFalseIndexIsAnErrorNeverAnotherFrame) {
  FrameIndex wrong = *index_;
  wrong.frames[50].pts += 1;  // no frame has this time
  Reader reader(file_, std::make_shared<const FrameIndex>(wrong));
  EXPECT_EQ(fault_of([&] { (void)reader.read(std::vector<int64_t>{50}); }), VideoFault::kCorrupt);
  EXPECT_THAT(text_, ::testing::HasSubstr("frame 50"));
  EXPECT_EQ(test::read_barcode(reader.read(std::vector<int64_t>{51}).frame(0), test::kHeight,
                               test::kWidth),
            51);

  FrameIndex moved = *index_;
  moved.keys[1].pts += 1;
  Reader lost(file_, std::make_shared<const FrameIndex>(moved));
  EXPECT_EQ(fault_of([&] { (void)lost.read(std::vector<int64_t>{40}); }), VideoFault::kMismatch);
}

}  // namespace
}  // namespace praxino
