#pragma once
// Real video files whose pictures say which frame they are: twelve bars, each black or white.

#include <filesystem>
#include <string>
#include <vector>

#include "praxino/base/file.h"
#include "praxino/video/writer.h"

namespace praxino::testing {

inline constexpr int64_t kSide = 48;  // of the pictures, in pixels
inline constexpr int64_t kBits = 12;
inline constexpr int64_t kBarWidth = kSide / kBits;

/// Frames that show the numbers first, first + 1, ... at 20 frames a second.
inline void write_numbered_video(const std::filesystem::path& path, int64_t frames,
                                 int64_t first = 0) {
  std::filesystem::create_directories(path.parent_path());
  VideoWriterOptions options{.height = kSide, .width = kSide, .fps = 20};
  options.key_every = 12;
  VideoWriter writer(path, options);
  std::vector<uint8_t> picture(static_cast<size_t>(kSide * kSide * 3));
  for (int64_t number = first; number < first + frames; ++number) {
    for (size_t i = 0; i < picture.size(); ++i) {
      const int64_t x = static_cast<int64_t>(i) / 3 % kSide;
      picture[i] = (number >> (x / kBarWidth)) & 1 ? 255 : 0;
    }
    writer.add(picture);
  }
  writer.finish();
}

/// The number that a planar picture of kSide x kSide shows.
inline int64_t number_shown(const uint8_t* picture) {
  const uint8_t* middle_row = picture + kSide / 2 * kSide;
  int64_t number = 0;
  for (int64_t bit = 0; bit < kBits; ++bit) {
    if (middle_row[bit * kBarWidth + kBarWidth / 2] > 127) number |= int64_t{1} << bit;
  }
  return number;
}

/// A sidecar for the field `turn`: row k is k.
inline void write_turns(const std::filesystem::path& sidecar, int64_t rows) {
  std::string text = "turn\n";
  for (int64_t k = 0; k < rows; ++k) text += std::to_string(k) + "\n";
  write_file_atomic(sidecar, text);
}

inline void declare_turns(const std::filesystem::path& folder) {
  write_file_atomic(folder / "dataset.yaml",
                    "alignment: action_at_frame\n"
                    "actions:\n"
                    "  - {name: turn, kind: delta, low: 0, high: 1000}\n");
}

}  // namespace praxino::testing
