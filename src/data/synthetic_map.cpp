#include "data/synthetic_map.h"

#include <cmath>

namespace praxino {
namespace {

constexpr double kCell = 0.36;  // side of a landmark's cell
constexpr double kShareEmpty = 0.12;

constexpr std::array<Rgb, 10> kPalette = {{
    {230, 30, 45},
    {250, 140, 20},
    {250, 225, 40},
    {60, 190, 70},
    {20, 200, 200},
    {40, 90, 240},
    {140, 60, 210},
    {245, 110, 180},
    {250, 250, 245},
    {15, 15, 25},
}};

// SplitMix64's finalizer (Steele et al., OOPSLA'14): a hash that is cheap enough for every lattice
// point.
uint64_t mix(uint64_t z) {
  z += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint64_t lattice(uint64_t seed, uint64_t layer, int64_t y, int64_t x) {
  return mix(mix(mix(mix(seed) + layer) + static_cast<uint64_t>(y)) + static_cast<uint64_t>(x));
}

double unit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

double ease(double t) { return t * t * t * (t * (t * 6 - 15) + 10); }

}  // namespace

double PanMap::noise(double y, double x, uint64_t layer) const {
  const double fy = std::floor(y);
  const double fx = std::floor(x);
  const auto iy = static_cast<int64_t>(fy);
  const auto ix = static_cast<int64_t>(fx);
  const double ty = ease(y - fy);
  const double tx = ease(x - fx);
  const auto corner = [&](int64_t dy, int64_t dx) {
    return unit(lattice(seed_, layer, iy + dy, ix + dx));
  };
  const double top = corner(0, 0) + tx * (corner(0, 1) - corner(0, 0));
  const double bottom = corner(1, 0) + tx * (corner(1, 1) - corner(1, 0));
  return top + ty * (bottom - top);
}

Rgb PanMap::ground(double y, double x) const {
  constexpr std::array<double, 3> kWavelength = {0.55, 0.24, 0.11};
  constexpr std::array<double, 3> kWeight = {0.56, 0.28, 0.16};
  Rgb color{};
  for (uint64_t c = 0; c < 3; ++c) {
    double value = 0;
    for (uint64_t octave = 0; octave < 3; ++octave) {
      const double length = kWavelength[octave];
      value += kWeight[octave] * noise(y / length, x / length, 16 * octave + c);
    }
    color[c] = std::clamp(128 + 330 * (value - 0.5), 10.0, 245.0);
  }
  return color;
}

std::optional<Rgb> PanMap::landmark(int64_t cell_y, int64_t cell_x, double y, double x) const {
  const auto draw = [&](uint64_t number) { return lattice(seed_, 1000 + number, cell_y, cell_x); };
  if (unit(draw(0)) < kShareEmpty) return std::nullopt;
  const double radius = 0.085 + 0.065 * unit(draw(1));
  const double dy =
      (y - kCell * (static_cast<double>(cell_y) + 0.35 + 0.3 * unit(draw(2)))) / radius;
  const double dx =
      (x - kCell * (static_cast<double>(cell_x) + 0.35 + 0.3 * unit(draw(3)))) / radius;
  if (std::abs(dy) >= 1 || std::abs(dx) >= 1) return std::nullopt;
  const uint64_t hue = draw(4) % kPalette.size();
  const Rgb& first = kPalette[hue];
  const Rgb& second = kPalette[(hue + 1 + draw(5) % (kPalette.size() - 1)) % kPalette.size()];
  const double distance = dy * dy + dx * dx;
  switch (draw(6) % 6) {
    case 0:  // disc with a spot
      if (distance >= 1) return std::nullopt;
      return distance < 0.12 ? second : first;
    case 1:  // ring
      return distance < 1 && distance > 0.3 ? std::optional(first) : std::nullopt;
    case 2:  // framed box
      return std::abs(dy) < 0.6 && std::abs(dx) < 0.6 ? first : second;
    case 3:  // level stripes
      return std::fmod(dy + 1, 0.8) < 0.4 ? first : second;
    case 4:  // diamond
      return std::abs(dy) + std::abs(dx) < 1 ? std::optional(first) : std::nullopt;
    default:  // cross
      return std::abs(dy) < 0.35 || std::abs(dx) < 0.35 ? std::optional(first) : std::nullopt;
  }
}

Rgb PanMap::at(double y, double x) const {
  const auto cell_y = static_cast<int64_t>(std::floor(y / kCell));
  const auto cell_x = static_cast<int64_t>(std::floor(x / kCell));
  for (int64_t dy = -1; dy <= 1; ++dy) {
    for (int64_t dx = -1; dx <= 1; ++dx) {
      if (const auto color = landmark(cell_y + dy, cell_x + dx, y, x)) return *color;
    }
  }
  return ground(y, x);
}

}  // namespace praxino
