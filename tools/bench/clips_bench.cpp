// How many random clips a core reads in a second, beside the usual way (a fresh open with probing,
// a naive seek, full-size RGB first) on the same file, in the same process, clip by clip in turns.
// Every frame of both is checked against the frame number drawn in it.
//
//   clips_bench [clips] [size] [gop] [crf] [b-frames 0|1]
//
// Default: 200 clips of 16 frames, 640x480 H.264 with a key frame every 30 frames, CRF 23 and
// B-frames, to 64x64.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "clips_baseline.h"
#include "praxino/base/error.h"
#include "praxino/base/random.h"
#include "praxino/video/reader.h"
#include "praxino/video/writer.h"
#include "video/stopwatch.h"

namespace praxino::bench {
namespace {

constexpr int64_t kHeight = 480, kWidth = 640;
constexpr int64_t kFrames = 1200;
constexpr int64_t kClip = 16;
constexpr int64_t kBits = 12;  // of the frame number, drawn as a 6 x 2 bar code over the upper half

// Soft waves that move past each other at different speeds, a hard edge that moves against them,
// and grain: at the writer's quality about as many bits a pixel as ordinary footage.
void draw(int64_t number, std::vector<uint8_t>& rgb) {
  const auto wave = [](double phase) { return 128 + 70 * std::sin(phase); };
  for (int64_t y = 0; y < kHeight; ++y) {
    const double across = wave(static_cast<double>(y) * 0.031 - static_cast<double>(number) * 0.11);
    for (int64_t x = 0; x < kWidth; ++x) {
      uint8_t* pixel = rgb.data() + (y * kWidth + x) * 3;
      const int64_t bit = y / (kHeight / 4) * 6 + x * 6 / kWidth;
      const auto grain = static_cast<double>(((x * 7919 + y * 104729 + number * 1299709) >> 5) & 7);
      const bool edge = (x - 2 * number) / 40 % 4 == 0;
      const double along = wave(static_cast<double>(x + 2 * number) * 0.023 + across * 0.02);
      double value = (along + across) / 2 + (edge ? 30 : 0) + grain;
      if (bit < kBits) value = ((number >> bit) & 1 ? 200 : 30) + (along - 128) / 8 + grain;
      for (int64_t c = 0; c < 3; ++c) {
        const double tint = bit < kBits ? 0 : (across - 128) / 4 * static_cast<double>(c - 1);
        pixel[c] = static_cast<uint8_t>(std::clamp(value + tint, 0.0, 255.0));
      }
    }
  }
}

// `green`: the first green value; `step`: bytes between two of them.
int64_t read_number(const uint8_t* green, int64_t step, int64_t size) {
  int64_t number = 0;
  for (int64_t bit = 0; bit < kBits; ++bit) {
    const int64_t y = (2 * (bit / 6) + 1) * size / 8, x = (2 * (bit % 6) + 1) * size / 12;
    if (green[(y * size + x) * step] > 128) number |= int64_t{1} << bit;
  }
  return number;
}

struct Workload {
  int64_t clips = 200, size = 64, gop = 30, quality = 23, b_frames = 1;
};

void make_input(const std::filesystem::path& file, const Workload& work) {
  VideoWriter writer(file, {.height = kHeight,
                            .width = kWidth,
                            .quality = static_cast<int>(work.quality),
                            .key_every = work.gop,
                            .b_frames = work.b_frames != 0});
  std::vector<uint8_t> rgb(static_cast<size_t>(kHeight * kWidth * 3));
  for (int64_t n = 0; n < kFrames; ++n) {
    draw(n, rgb);
    writer.add(rgb);
  }
  writer.finish();
}

struct Result {
  const char* name;
  bool planar;
  double seconds = 0;
  int64_t wrong = 0;
};

void check(Result& result, std::span<const uint8_t> pixels, int64_t first, int64_t size) {
  for (int64_t k = 0; k < kClip; ++k) {
    const uint8_t* frame = pixels.data() + k * size * size * 3;
    const int64_t number =
        result.planar ? read_number(frame + size * size, 1, size) : read_number(frame + 1, 3, size);
    result.wrong += number != first + k;
  }
}

void print(const Result& result, int64_t clips, double baseline) {
  std::printf("%-36s %8.1f clips/s a core   %5.2fx   %ld wrong frames of %ld\n", result.name,
              static_cast<double>(clips) / result.seconds, baseline / result.seconds,
              static_cast<long>(result.wrong), static_cast<long>(clips * kClip));
}

void run(const Workload& work) {
  const int64_t clips = work.clips, size = work.size;
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / "praxino_clips_bench.mp4";
  make_input(file, work);
  const double index_start = thread_seconds();
  const auto index = std::make_shared<const FrameIndex>(build_index(file));
  std::printf("%s, %ldx%ld, %ld frames, %zu key frames, %.1f MB; indexed in %.2f s\n",
              index->codec.c_str(), static_cast<long>(kWidth), static_cast<long>(kHeight),
              static_cast<long>(index->frame_count()), index->keys.size(),
              static_cast<double>(index->file_size) / 1e6, thread_seconds() - index_start);

  const PixelLayout layout{size, size, ResizeFilter::kBilinear, true};  // as a batch wants it
  std::vector<uint8_t> pixels(static_cast<size_t>(kClip * size * size * 3));
  Result naive{"baseline: probe, seek, full RGB", false};
  Result exact{"baseline with a scan of all packets", false};
  Result fresh{"Reader, opened for each clip", true};
  Result kept{"Reader, kept open", true};
  BaselineCost cost, scan_cost;
  ReadStats stats;
  Reader reader(file, index);
  Random random(1);
  for (int64_t clip = 0; clip < clips; ++clip) {
    const int64_t first = random.integer(kFrames - kClip);
    std::vector<int64_t> numbers;
    for (int64_t k = 0; k < kClip; ++k) numbers.push_back(first + k);
    const auto measure = [&](Result& result, auto&& read) {
      const double start = thread_seconds();
      read();
      result.seconds += thread_seconds() - start;
      check(result, pixels, first, size);
    };
    measure(naive, [&] { read_clip_naively({file, first, kClip, size, false}, pixels, cost); });
    measure(exact, [&] { read_clip_naively({file, first, kClip, size, true}, pixels, scan_cost); });
    measure(fresh, [&] {
      Reader once(file, index);
      once.read(numbers, layout, pixels);
      stats.demux_seconds += once.stats().demux_seconds;
      stats.decode_seconds += once.stats().decode_seconds;
      stats.convert_seconds += once.stats().convert_seconds;
      stats.frames_decoded += once.stats().frames_decoded;
    });
    measure(kept, [&] { reader.read(numbers, layout, pixels); });
  }
  const double each = 1e3 / static_cast<double>(clips);
  for (const Result& result : {naive, exact, fresh, kept}) print(result, clips, naive.seconds);
  std::printf("ms a clip, baseline: open %.2f  demux %.2f  decode %.2f  convert %.2f\n",
              cost.open * each, cost.demux * each, cost.decode * each, cost.convert * each);
  const double open =
      fresh.seconds - stats.demux_seconds - stats.decode_seconds - stats.convert_seconds;
  std::printf(
      "ms a clip, Reader:   open %.2f  demux %.2f  decode %.2f  convert %.2f  (%.1f frames decoded "
      "for %ld)\n",
      open * each, stats.demux_seconds * each, stats.decode_seconds * each,
      stats.convert_seconds * each,
      static_cast<double>(stats.frames_decoded) / static_cast<double>(clips),
      static_cast<long>(kClip));
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace praxino::bench

int main(int argc, char** argv) {
  try {
    praxino::bench::Workload work;
    int64_t* const numbers[] = {&work.clips, &work.size, &work.gop, &work.quality, &work.b_frames};
    for (int i = 1; i < argc && i <= 5; ++i) *numbers[i - 1] = std::atoll(argv[i]);
    praxino::bench::run(work);
    return 0;
  } catch (const praxino::Error& error) {
    std::fprintf(stderr, "clips_bench: %s\n", error.what());
    return 1;
  }
}
