#include "video/test_video.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "praxino/base/error.h"

namespace praxino::test {
namespace {

constexpr int64_t kBits = 12;
constexpr int64_t kBlock = 16;
constexpr int64_t kColumns = kWidth / kBlock;
constexpr int kDark = 40;
constexpr int kLight = 215;

}  // namespace

std::string barcode_luma(int64_t number) {
  std::string luma(static_cast<size_t>(kHeight * kWidth), '\0');
  for (int64_t y = 0; y < kHeight; ++y) {
    for (int64_t x = 0; x < kWidth; ++x) {
      const int64_t bit = y / kBlock * kColumns + x / kBlock;
      int64_t value = 60 + (x * 3 + y * 2 + number * 5) % 128;
      if (bit < kBits) value = (number >> bit) & 1 ? kLight : kDark;
      luma[static_cast<size_t>(y * kWidth + x)] = static_cast<char>(value);
    }
  }
  return luma;
}

std::vector<uint8_t> barcode_rgb(int64_t number) {
  std::vector<uint8_t> rgb;
  for (const char value : barcode_luma(number))
    rgb.insert(rgb.end(), 3, static_cast<uint8_t>(value));
  return rgb;
}

int64_t read_barcode(std::span<const uint8_t> rgb, int64_t height, int64_t width) {
  int64_t number = 0;
  for (int64_t bit = 0; bit < kBits; ++bit) {
    // The middle half of the block, in the picture's own size.
    const int64_t top = (4 * (bit / kColumns) + 1) * height / 16;
    const int64_t left = (4 * (bit % kColumns) + 1) * width / (4 * kColumns);
    const int64_t rows = std::max<int64_t>(1, height / 8),
                  columns = std::max<int64_t>(1, width / (2 * kColumns));
    int64_t sum = 0;
    for (int64_t y = top; y < top + rows; ++y) {
      for (int64_t x = left; x < left + columns; ++x)
        sum += rgb[static_cast<size_t>((y * width + x) * 3 + 1)];
    }
    const int64_t mean = sum / (rows * columns);
    if (mean > 90 && mean < 165) return -1;
    if (mean >= 165) number |= int64_t{1} << bit;
  }
  return number;
}

std::string run_ffmpeg(const TemporaryFolder& folder, const std::string& arguments) {
  const std::filesystem::path bars = folder / "bars.yuv";
  if (!std::filesystem::exists(bars)) {
    std::string bytes;
    for (int64_t n = 0; n < kFrames; ++n)
      bytes += barcode_luma(n) + std::string(kHeight * kWidth / 2, '\x80');
    write_text(bars, bytes);
  }
  const std::string command =
      fmt::format("cd '{}' && ffmpeg -v error -nostdin -y {} >ffmpeg.log 2>&1",
                  folder.path().string(), arguments);
  const int status = std::system(command.c_str());
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "";
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return "the ffmpeg program is not installed";
  return "ffmpeg " + arguments + ": " + read_text(folder / "ffmpeg.log");
}

std::string bars_input(const std::string& fps) {
  return fmt::format("-f rawvideo -pix_fmt yuv420p -s {}x{} -r {} -i bars.yuv", kWidth, kHeight,
                     fps);
}

MadeVideo make_video(const TemporaryFolder& folder, const std::string& name,
                     const std::string& options) {
  return {folder / name, run_ffmpeg(folder, bars_input() + " " + options + " " + name)};
}

MadeVideo make_h264(const TemporaryFolder& folder, const std::string& name) {
  return make_video(folder, name, "-c:v libx264 -preset veryfast -bf 3 -g 30");
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_text(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

bool long_tests() { return std::getenv("PRAXINO_LONG_TESTS") != nullptr; }

}  // namespace praxino::test
