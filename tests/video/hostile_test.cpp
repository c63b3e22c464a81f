// Files that want to do harm, and files that are broken: typed errors, no crash, no hang, nothing
// else read.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "praxino/base/random.h"
#include "praxino/video/reader.h"
#include "video/test_video.h"

namespace praxino {
namespace {

class Hostile : public ::testing::Test {
 protected:
  // The fault with which indexing the file fails; the text is kept.
  std::string fault(const std::filesystem::path& file, const VideoLimits& limits = {}) {
    try {
      (void)build_index(file, limits);
      return "none";
    } catch (const VideoError& error) {
      text_ = error.what();
      EXPECT_THAT(text_, ::testing::HasSubstr(file.filename().string()));
      return to_string(error.fault());
    }
  }
  std::string fault_of_bytes(const std::string& name, const std::string& bytes) {
    test::write_text(folder_ / name, bytes);
    return fault(folder_ / name);
  }
  bool make(const std::string& name,
            const std::string& options = "-c:v libx264 -preset veryfast -g 30 -bf 2") {
    const test::MadeVideo made = test::make_video(folder_, name, options);
    file_ = made.file;
    problem_ = made.problem;
    return problem_.empty();
  }

  test::TemporaryFolder folder_;
  std::filesystem::path file_;
  std::string text_;
  std::string problem_;
};

TEST_F(Hostile, PlaylistsAreRefusedAtTheProbe) {
  const bool made = make("secret.mp4");
  if (!made) GTEST_SKIP() << problem_;
  EXPECT_EQ(fault_of_bytes("concat.mp4", "ffconcat version 1.0\nfile 'secret.mp4'\n"),
            "unsupported");
  EXPECT_THAT(text_, ::testing::HasSubstr("concat"));
  EXPECT_EQ(fault_of_bytes(
                "hls.mp4",
                "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.mp4\n#EXT-X-ENDLIST\n"),
            "unsupported");
  EXPECT_EQ(fault_of_bytes("dash.mp4",
                           "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
                           "type=\"static\"></MPD>"),
            "unsupported");
  EXPECT_EQ(
      fault_of_bytes("sdp.mp4", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n"),
      "unsupported");
}

TEST_F(Hostile, WhatIsNoVideoIsRefused) {
  EXPECT_EQ(fault_of_bytes("empty.mp4", ""), "corrupt");
  EXPECT_EQ(fault_of_bytes("text.mp4", "hello"), "unsupported");
  EXPECT_EQ(fault(folder_ / "missing.mp4"), "unsupported");
  EXPECT_THAT(text_, ::testing::HasSubstr("No such file"));
  EXPECT_EQ(fault(folder_.path()), "unsupported");
  ASSERT_EQ(::mkfifo((folder_ / "pipe.mp4").c_str(), 0600), 0);
  EXPECT_EQ(fault(folder_ / "pipe.mp4"), "unsupported");
}

TEST_F(Hostile, OtherCodecsAndAudioAreRefused) {
  if (const std::string problem =
          test::run_ffmpeg(folder_, "-f lavfi -i sine=d=1 -c:a aac sound.mp4");
      !problem.empty())
    GTEST_SKIP() << problem;
  EXPECT_EQ(fault(folder_ / "sound.mp4"), "unsupported");
  EXPECT_THAT(text_, ::testing::HasSubstr("no video stream"));
  ASSERT_TRUE(make("a.avi", "-c:v huffyuv")) << problem_;
  EXPECT_EQ(fault(file_), "unsupported");
  EXPECT_THAT(text_, ::testing::HasSubstr("huffyuv"));
  ASSERT_TRUE(make("a.flv", "-c:v flv")) << problem_;
  EXPECT_EQ(fault(file_), "unsupported");
}

TEST_F(Hostile, HugePicturesAreALimit) {
  const std::string bomb = "-f lavfi -i color=black:s=8192x8192:d=0.04 -c:v mjpeg bomb.avi";
  if (const std::string problem = test::run_ffmpeg(folder_, bomb); !problem.empty())
    GTEST_SKIP() << problem;
  EXPECT_EQ(fault(folder_ / "bomb.avi"), "limit");
  // The header may lie: then the decoder is the one that stops it.
  std::string bytes = test::read_text(folder_ / "bomb.avi");
  const std::string large("\x00\x20\x00\x00\x00\x20\x00\x00", 8),
      small("\x40\x00\x00\x00\x40\x00\x00\x00", 8);
  for (size_t at = bytes.find(large); at != std::string::npos && at < 4096;
       at = bytes.find(large, at))
    bytes.replace(at, 8, small);
  EXPECT_EQ(fault_of_bytes("liar.avi", bytes), "limit");
  EXPECT_THAT(text_, ::testing::HasSubstr("pixel"));
}

TEST_F(Hostile, EveryLimitHolds) {
  if (!make("a.ts")) GTEST_SKIP() << problem_;
  const auto with = [&](auto change) {
    VideoLimits limits;
    change(limits);
    return fault(file_, limits);
  };
  EXPECT_EQ(with([](VideoLimits&) {}), "none");
  EXPECT_EQ(with([](VideoLimits& l) { l.max_pixels = 1000; }), "limit");
  EXPECT_EQ(with([](VideoLimits& l) { l.max_frames = 100; }), "limit");
  EXPECT_EQ(with([](VideoLimits& l) { l.max_streams = 0; }), "limit");
  EXPECT_EQ(with([](VideoLimits& l) { l.max_packet_bytes = 20; }), "limit");
  EXPECT_EQ(with([](VideoLimits& l) { l.index_seconds = -1; }), "timeout");
}

TEST_F(Hostile, TruncatedFilesAreCorrupt) {
  if (!make("a.mp4", "-c:v libx264 -movflags +faststart")) GTEST_SKIP() << problem_;
  const std::string bytes = test::read_text(file_);
  EXPECT_EQ(fault_of_bytes("header.mp4", bytes.substr(0, 600)), "corrupt");
  EXPECT_EQ(fault_of_bytes("half.mp4", bytes.substr(0, bytes.size() / 2)), "corrupt");
  EXPECT_EQ(fault_of_bytes("almost.mp4", bytes.substr(0, bytes.size() - 20)), "corrupt");
  ASSERT_TRUE(make("b.mp4"));
  const std::string late = test::read_text(file_);
  EXPECT_EQ(fault_of_bytes("no-moov.mp4", late.substr(0, late.size() / 2)), "corrupt");
}

TEST_F(Hostile, DamagedPicturesAreCorrupt) {
  if (!make("a.mkv")) GTEST_SKIP() << problem_;
  std::string bytes = test::read_text(file_);
  for (size_t i = bytes.size() / 3; i < bytes.size() / 3 + 400; ++i) bytes[i] = '\x55';
  EXPECT_EQ(fault_of_bytes("damaged.mkv", bytes), "corrupt");
}

TEST_F(Hostile, FlippedBytesGiveFramesOrTypedErrors) {
  Random random(5);
  const int64_t rounds = test::long_tests() ? 300 : 8;
  int64_t refused = 0, accepted = 0;
  VideoLimits limits;
  limits.index_seconds = 20;
  for (const char* name : {"a.mp4", "a.mkv", "a.ts", "a.avi"}) {
    if (!make(name)) GTEST_SKIP() << problem_;
    const std::string bytes = test::read_text(file_);
    for (int64_t round = 0; round < rounds; ++round) {
      std::string changed = bytes;
      for (int64_t flips = 1 + random.integer(60); flips > 0; --flips) {
        changed[static_cast<size_t>(random.integer(static_cast<int64_t>(bytes.size())))] =
            static_cast<char>(random.bits());
      }
      test::write_text(file_, changed);
      try {
        const auto index = std::make_shared<const FrameIndex>(build_index(file_, limits));
        Reader reader(file_, index);
        const int64_t count = index->frame_count();
        (void)reader.read(std::vector<int64_t>{count - 1, 0, count / 2});
        ++accepted;
      } catch (const VideoError&) {
        ++refused;
      }
    }
  }
  RecordProperty("refused", static_cast<int>(refused));
  EXPECT_EQ(refused + accepted, 4 * rounds);
  EXPECT_GT(refused, 0);
}

TEST(VideoFault, HasWords) {
  EXPECT_STREQ(to_string(VideoFault::kCorrupt), "corrupt");
  EXPECT_STREQ(to_string(VideoFault::kMismatch), "mismatch");
}

}  // namespace
}  // namespace praxino
