#pragma once
// Videos whose pictures say which frame they are: the number is drawn as a bar code that survives
// lossy coding, scaling and rotation. Made by the `ffmpeg` program, in a folder that goes away.

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "praxino/video/frames.h"
#include "praxino/video/index.h"
#include "support/temporary_folder.h"

namespace praxino::test {

constexpr int64_t kHeight = 64;
constexpr int64_t kWidth = 96;
constexpr int64_t kFrames = 120;

using praxino::testing::TemporaryFolder;

/// Luma of frame `number`: the bar code above, a moving texture below. kHeight * kWidth bytes.
std::string barcode_luma(int64_t number);
/// The same as an RGB picture.
std::vector<uint8_t> barcode_rgb(int64_t number);
/// The number drawn in an upright RGB picture (Y X C) of any size, or -1 when it is no clear bar
/// code.
int64_t read_barcode(std::span<const uint8_t> rgb, int64_t height, int64_t width);

/// Runs `ffmpeg ARGUMENTS` with bars.yuv (kFrames bar code frames, yuv420p) as file in the working
/// directory `folder`. Empty: it went well; else why it did not, such as "no encoder".
std::string run_ffmpeg(const TemporaryFolder& folder, const std::string& arguments);
/// "-f rawvideo -s 96x64 ... -i bars.yuv", as input at `fps`.
std::string bars_input(const std::string& fps = "30");
/// A bar code video made with the encoder options given; nullopt-like empty path and a reason when
/// it cannot be made.
struct MadeVideo {
  std::filesystem::path file;
  std::string problem;
};
MadeVideo make_video(const TemporaryFolder& folder, const std::string& name,
                     const std::string& options);
/// The usual one: H.264, mp4, GOP 30, B-frames.
MadeVideo make_h264(const TemporaryFolder& folder, const std::string& name = "plain.mp4");

std::string read_text(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, const std::string& bytes);
/// 1, or what PRAXINO_LONG_TESTS asks for.
bool long_tests();

}  // namespace praxino::test
