#include "data/check_motion.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace praxino {
namespace {

// One number for each place along a line: the mean over the band across it, without its overall
// mean (so that a change of brightness is no motion).
using Profile = std::vector<double>;

struct Band {
  int64_t first, last;  // across the line
};

Profile profile(const GreyPicture& picture, Band band, bool along_x) {
  const int64_t length = along_x ? picture.width : picture.height;
  Profile line(static_cast<size_t>(length));
  double mean = 0;
  for (int64_t i = 0; i < length; ++i) {
    double sum = 0;
    for (int64_t j = band.first; j < band.last; ++j) {
      const int64_t y = along_x ? j : i;
      const int64_t x = along_x ? i : j;
      sum += picture.pixels[static_cast<size_t>(y * picture.width + x)];
    }
    line[static_cast<size_t>(i)] = sum / static_cast<double>(band.last - band.first);
    mean += line[static_cast<size_t>(i)] / static_cast<double>(length);
  }
  for (double& value : line) value -= mean;
  return line;
}

double mean_square(const Profile& p) {
  double sum = 0;
  for (const double v : p) sum += v * v;
  return sum / static_cast<double>(p.size());
}

// Mean squared difference over the overlap when `after` is `before` moved by `d` places.
double mismatch(const Profile& before, const Profile& after, int64_t d) {
  const auto length = static_cast<int64_t>(before.size());
  const int64_t first = std::max<int64_t>(0, -d);
  const int64_t last = std::min(length, length - d);
  double sum = 0;
  for (int64_t i = first; i < last; ++i) {
    const double difference = after[static_cast<size_t>(i + d)] - before[static_cast<size_t>(i)];
    sum += difference * difference;
  }
  return sum / static_cast<double>(last - first);
}

double displacement(const Profile& before, const Profile& after) {
  constexpr double kBlank = 1.0;  // grey levels squared: below it a band shows nothing to follow
  if (std::min(mean_square(before), mean_square(after)) < kBlank) return 0;
  const int64_t reach = static_cast<int64_t>(before.size()) / 3;
  std::vector<double> cost;
  for (int64_t d = -reach; d <= reach; ++d) cost.push_back(mismatch(before, after, d));
  const auto best = std::min_element(cost.begin(), cost.end());
  const auto at = best - cost.begin();
  double fraction = 0;
  if (at > 0 && best + 1 != cost.end()) {  // the vertex of the parabola through three costs
    const double bend = best[-1] - 2 * best[0] + best[1];
    if (bend > 0) fraction = 0.5 * (best[-1] - best[1]) / bend;
  }
  return static_cast<double>(at - reach) + fraction;
}

void measure_direction(const GreyPicture& before, const GreyPicture& after, bool along_x,
                       std::vector<double>& out) {
  const int64_t across = along_x ? before.height : before.width;
  for (int64_t i = 0; i < kMotionBands; ++i) {
    const Band band{across * i / kMotionBands, across * (i + 1) / kMotionBands};
    out.push_back(displacement(profile(before, band, along_x), profile(after, band, along_x)));
  }
}

}  // namespace

GreyPicture to_grey(std::span<const uint8_t> rgb, int64_t height, int64_t width) {
  GreyPicture grey{height, width, std::vector<float>(static_cast<size_t>(height * width))};
  for (size_t i = 0; i < grey.pixels.size(); ++i) {
    const uint8_t* const pixel = rgb.data() + 3 * i;
    grey.pixels[i] = 0.299F * pixel[0] + 0.587F * pixel[1] + 0.114F * pixel[2];
  }
  return grey;
}

double mean_difference(const GreyPicture& a, const GreyPicture& b) {
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

std::vector<double> measure_motion(const GreyPicture& before, const GreyPicture& after) {
  std::vector<double> motion;
  motion.reserve(kMotionValues);
  measure_direction(before, after, true, motion);
  measure_direction(before, after, false, motion);
  motion.push_back(std::log1p(mean_difference(before, after)));
  return motion;
}

}  // namespace praxino
