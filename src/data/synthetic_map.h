#pragma once
// The map of the world `pan`: a coloured plane without end, a pure function of its seed.

#include <cstdint>
#include <optional>

#include "data/synthetic_draw.h"

namespace praxino {

/// Smooth colourful noise in three octaves under landmarks (discs, rings, boxes, stripes, diamonds,
/// crosses), one to most cells of a grid. Unit of length: the view's shorter side. A value;
/// thread-safe.
class PanMap {
 public:
  explicit PanMap(uint64_t seed) : seed_(seed) {}
  Rgb at(double y, double x) const;

 private:
  double noise(double y, double x, uint64_t layer) const;
  Rgb ground(double y, double x) const;
  std::optional<Rgb> landmark(int64_t cell_y, int64_t cell_x, double y, double x) const;
  uint64_t seed_;
};

}  // namespace praxino
