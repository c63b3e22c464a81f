#include "praxino/layers/cache.h"

#include <algorithm>

namespace praxino {

std::vector<int64_t> CacheSlots::order(int64_t frame) const {
  std::vector<int64_t> places(static_cast<size_t>(used(frame)));
  const int64_t oldest = std::max(sinks, frame - window + 1);  // of the ring
  for (int64_t n = 0; n < std::min(sinks, frame + 1); ++n) places[static_cast<size_t>(n)] = n;
  for (int64_t n = oldest; n <= frame; ++n) {
    places[static_cast<size_t>(slot(n))] = std::min(sinks, oldest) + n - oldest;
  }
  return places;
}

}  // namespace praxino
