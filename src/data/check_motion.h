#pragma once
// How the picture moves from frame to frame, from small grey pictures: signed shifts of its
// projections.

#include <cstdint>
#include <span>
#include <vector>

namespace praxino {

/// A grey picture, row-major, 0 .. 255.
struct GreyPicture {
  int64_t height = 0;
  int64_t width = 0;
  std::vector<float> pixels;
};

/// Rec. 601 luma of an RGB picture (Y X C).
GreyPicture to_grey(std::span<const uint8_t> rgb, int64_t height, int64_t width);

/// Mean absolute difference in grey levels.
double mean_difference(const GreyPicture& a, const GreyPicture& b);

inline constexpr int64_t kMotionBands = 4;
inline constexpr int64_t kMotionValues = 2 * kMotionBands + 1;

/// kMotionValues numbers: how far the content of each of kMotionBands horizontal bands moved right
/// and of each of as many vertical bands moved down (sub-pixel, in pixels of the small picture; 0
/// where a band shows nothing), and the logarithm of 1 + mean_difference.
std::vector<double> measure_motion(const GreyPicture& before, const GreyPicture& after);

}  // namespace praxino
