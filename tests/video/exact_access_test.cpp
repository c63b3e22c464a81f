// The promise of this module: whatever the codec, container and order, frame i is frame i, bit for
// bit.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <thread>

#include "praxino/base/random.h"
#include "praxino/video/reader.h"
#include "video/test_video.h"

namespace praxino {
namespace {

using test::kFrames;

struct VideoCase {
  std::string name;
  std::string file;
  std::string options;       // of the encoder
  std::string second = "";   // then a second call of ffmpeg makes `file` out of first.mp4
  std::string input = "30";  // frames per second of the input
  int64_t first = 0;         // number on the first frame
  std::string patch = "";    // a box that is made unreadable afterwards
  int64_t keys = -1;         // key frames in the index, -1: any
  int white = 232;           // of the bar code in RGB: limited range is widened
};

void PrintTo(const VideoCase& c, std::ostream* out) { *out << c.name; }

const std::string kX264 = "-c:v libx264 -preset veryfast ";
const std::string kX265 = "-c:v libx265 -preset veryfast -x265-params log-level=none:pools=1:";
const std::string kSvt = "-c:v libsvtav1 -preset 12 -g 40 -svtav1-params lp=1 ";

const std::vector<VideoCase> kCases = {
    {.name = "H264Gop2Mp4", .file = "a.mp4", .options = kX264 + "-g 2 -bf 0"},
    {.name = "H264Gop30Mp4", .file = "a.mp4", .options = kX264 + "-g 30 -bf 3", .keys = 4},
    {.name = "H264Gop250Mkv", .file = "a.mkv", .options = kX264 + "-g 250 -bf 3", .keys = 1},
    {.name = "H264OpenGopMp4",
     .file = "a.mp4",
     .options = kX264 + "-x264-params open-gop=1:keyint=12:bframes=3:scenecut=0",
     .keys = 10},
    {.name = "H264OpenGopMkv",
     .file = "a.mkv",
     .options = kX264 + "-x264-params open-gop=1:keyint=12:bframes=3:scenecut=0"},
    {.name = "H264OpenGopTs",
     .file = "a.ts",
     .options = kX264 + "-x264-params open-gop=1:keyint=12:bframes=3:scenecut=0"},
    {.name = "H264ShortOpenGopMp4",
     .file = "a.mp4",
     .options = kX264 + "-x264-params open-gop=1:keyint=3:bframes=2:b-pyramid=none:scenecut=0"},
    {.name = "H264IntraRefreshMp4",
     .file = "a.mp4",
     .options = kX264 + "-x264-params intra-refresh=1:keyint=30:bframes=0"},
    {.name = "H264Avi", .file = "a.avi", .options = kX264 + "-g 30 -bf 2"},
    {.name = "H264Interlaced",
     .file = "a.mp4",
     .options = kX264 + "-g 20 -bf 2 -flags +ilme+ildct"},
    {.name = "H264Fragmented",
     .file = "a.mp4",
     .options = kX264 + "-g 20 -bf 2 -movflags frag_keyframe+empty_moov"},
    {.name = "H264Chroma444", .file = "a.mp4", .options = kX264 + "-g 20 -bf 2 -pix_fmt yuv444p"},
    {.name = "H264TenBit", .file = "a.mkv", .options = kX264 + "-g 20 -bf 2 -pix_fmt yuv420p10le"},
    {.name = "HevcOpenGopMp4",
     .file = "a.mp4",
     .options = kX265 + "keyint=15:min-keyint=15:bframes=4:open-gop=1",
     .keys = 8},
    {.name = "HevcOpenGopMkv",
     .file = "a.mkv",
     .options = kX265 + "keyint=15:min-keyint=15:bframes=4:open-gop=1"},
    {.name = "HevcClosedGopTs", .file = "a.ts", .options = kX265 + "keyint=30:open-gop=0"},
    {.name = "HevcTenBit", .file = "a.mp4", .options = kX265 + "keyint=30 -pix_fmt yuv420p10le"},
    {.name = "Vp8Webm",
     .file = "a.webm",
     .options = "-c:v libvpx -deadline realtime -cpu-used 8 -g 40 -b:v 400k"},
    {.name = "Vp9RealtimeWebm",
     .file = "a.webm",
     .options = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 40 -b:v 400k"},
    {.name = "Vp9HiddenFramesMp4",
     .file = "a.mp4",
     .options = "-c:v libvpx-vp9 -deadline good -cpu-used 5 -auto-alt-ref 1 -lag-in-frames 16 -g "
                "40 -b:v 400k"},
    {.name = "Av1Mp4", .file = "a.mp4", .options = kSvt},
    {.name = "Av1Mkv", .file = "a.mkv", .options = kSvt},
    {.name = "Mpeg4Avi", .file = "a.avi", .options = "-c:v mpeg4 -q:v 3 -g 12"},
    {.name = "Mpeg4BFramesAvi", .file = "a.avi", .options = "-c:v mpeg4 -q:v 3 -g 12 -bf 2"},
    {.name = "Mpeg4BFramesMp4", .file = "a.mp4", .options = "-c:v mpeg4 -q:v 3 -g 12 -bf 2"},
    {.name = "Mpeg2Ts", .file = "a.ts", .options = "-c:v mpeg2video -q:v 3 -g 15 -bf 2"},
    {.name = "Mpeg1Mkv", .file = "a.mkv", .options = "-c:v mpeg1video -q:v 3 -g 15 -bf 2"},
    {.name = "Ffv1Mkv", .file = "a.mkv", .options = "-c:v ffv1 -g 12"},
    {.name = "MjpegAvi",
     .file = "a.avi",
     .options = "-c:v mjpeg -q:v 3 -color_range pc -pix_fmt yuvj420p"},
    {.name = "Vp9FullRange",
     .file = "a.webm",
     .options = "-vf scale=in_range=pc:out_range=pc -color_range pc -c:v libvpx-vp9 -deadline "
                "realtime -cpu-used 8 -g 40 -b:v 400k",
     .white = 215},
    {.name = "H264FullRange",
     .file = "a.mp4",
     .options = kX264 + "-vf scale=in_range=pc:out_range=pc -color_range pc -pix_fmt yuv420p",
     .white = 215},
    {.name = "VariableRate",
     .file = "a.mp4",
     .options = "-vf settb=1/1000,setpts=N*20+N*N/3 -fps_mode passthrough -enc_time_base 1:1000 " +
                kX264 + "-g 30 -bf 2"},
    {.name = "VariableRateMkv",
     .file = "a.mkv",
     .options = "-vf settb=1/1000,setpts=N*20+N*N/3 -fps_mode passthrough -enc_time_base 1:1000 " +
                kX264 + "-g 30 -bf 2"},
    {.name = "StartOffsetTs",
     .file = "a.ts",
     .options = "-output_ts_offset 7.3 " + kX264 + "-g 30 -bf 2"},
    {.name = "StartOffsetMkv",
     .file = "a.mkv",
     .options = "-output_ts_offset 7.3 " + kX264 + "-g 30 -bf 2"},
    {.name = "AudioFirst",
     .file = "a.mp4",
     .options = "-f lavfi -i sine=d=4 -map 1:a -map 0:v -c:a aac " + kX264 + "-g 30 -bf 2"},
    {.name = "NtscRate", .file = "a.mp4", .options = kX264 + "-g 30 -bf 2", .input = "30000/1001"},
    {.name = "EditList",
     .file = "a.mp4",
     .options = kX264 + "-g 30 -bf 2",
     .second = "-ss 1.05 -i first.mp4 -c copy",
     .first = 32},
    {.name = "EverySampleClaimsToBeAKeyFrame",
     .file = "a.mp4",
     .options = kX264 + "-g 30 -bf 2",
     .patch = "stss",
     .keys = 4},
};

std::string make_file(const test::TemporaryFolder& folder, const VideoCase& c) {
  const bool twice = !c.second.empty();
  std::string problem = test::run_ffmpeg(
      folder, test::bars_input(c.input) + " " + c.options + " " + (twice ? "first.mp4" : c.file));
  if (problem.empty() && twice) problem = test::run_ffmpeg(folder, c.second + " " + c.file);
  if (problem.empty() && !c.patch.empty()) {
    std::string bytes = test::read_text(folder / c.file);
    const size_t at = bytes.find(c.patch);
    if (at == std::string::npos) return "no box to patch";
    test::write_text(folder / c.file, bytes.replace(at, 4, "free"));
  }
  return problem;
}

// Random clips out of one file; returns how many frames were not the ones of the sequential pass.
int64_t count_wrong_frames(const std::filesystem::path& file,
                           const std::shared_ptr<const FrameIndex>& index, const Frames& truth,
                           uint64_t key) {
  Reader reader(file, index);
  Random random(key);
  int64_t wrong = 0;
  for (int request = 0; request < 12; ++request) {
    std::vector<int64_t> numbers;
    const int64_t start = random.integer(truth.count);
    const int64_t stride = random.integer(4);  // 0: unordered
    for (int64_t k = 0; k < 8; ++k) {
      numbers.push_back(stride == 0 ? random.integer(truth.count)
                                    : std::min(start + k * stride, truth.count - 1));
    }
    const Frames got = reader.read(numbers);
    for (size_t k = 0; k < numbers.size(); ++k) {
      wrong += !std::ranges::equal(got.frame(static_cast<int64_t>(k)), truth.frame(numbers[k]));
    }
  }
  return wrong;
}

int brightest(const Frames& frames, int64_t t) {
  std::vector<uint8_t> bar;  // the upper half: the bar code
  const auto frame = frames.frame(t);
  bar.assign(frame.begin(), frame.begin() + frame.size() / 2);
  std::ranges::nth_element(bar, bar.begin() + static_cast<int64_t>(bar.size() * 9 / 10));
  return bar[bar.size() * 9 / 10];
}

class ExactAccess : public ::testing::TestWithParam<VideoCase> {};

TEST_P(ExactAccess, GivesTheSameFramesInEveryOrder) {
  const VideoCase& c = GetParam();
  const test::TemporaryFolder folder;
  const std::string problem = make_file(folder, c);
  if (problem.find("ncoder") != std::string::npos ||
      problem.find("not installed") != std::string::npos)
    GTEST_SKIP() << problem;
  ASSERT_EQ(problem, "");

  const std::filesystem::path file = folder / c.file;
  const auto index = std::make_shared<const FrameIndex>(build_index(file));
  ASSERT_EQ(index->frame_count(), kFrames - c.first);
  if (c.keys >= 0) {
    EXPECT_EQ(std::ssize(index->keys), c.keys);
  }
  EXPECT_LE(serialize_index(*index).size(),
            16 * index->frames.size() + index->extradata.size() + 256);

  std::vector<int64_t> everything(index->frames.size());
  std::iota(everything.begin(), everything.end(), 0);
  const Frames truth = Reader(file, index).read(everything);
  for (int64_t i = 0; i < truth.count; ++i) {
    ASSERT_EQ(test::read_barcode(truth.frame(i), truth.height, truth.width), i + c.first);
  }
  EXPECT_NEAR(brightest(truth, 127 - c.first < truth.count ? 63 : 63 - c.first), c.white, 8);

  std::array<int64_t, 3> wrong{};
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] { wrong[t] = count_wrong_frames(file, index, truth, t + 1); });
  }
  threads.clear();
  EXPECT_THAT(wrong, ::testing::Each(0));
}

INSTANTIATE_TEST_SUITE_P(Matrix, ExactAccess, ::testing::ValuesIn(kCases),
                         [](const auto& c) { return c.param.name; });

}  // namespace
}  // namespace praxino
