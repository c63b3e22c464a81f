#include "praxino/layers/cache.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace praxino {
namespace {

/// Writes frames one after the other and asks a plain list which ones are in sight.
class PlainCache {
 public:
  PlainCache(int64_t window, int64_t sinks)
      : slots_{.window = window, .sinks = sinks},
        contents_(static_cast<size_t>(slots_.capacity()), -1) {}

  void write(int64_t frame) {
    contents_.at(static_cast<size_t>(slots_.slot(frame))) = frame;
    std::vector<int64_t> in_sight;
    for (int64_t n = 0; n <= frame; ++n) {
      if (n < slots_.sinks || frame - n < slots_.window) in_sight.push_back(n);
    }
    ASSERT_EQ(slots_.used(frame), static_cast<int64_t>(in_sight.size())) << label(frame);
    const std::vector<int64_t> order = slots_.order(frame);
    ASSERT_EQ(order.size(), in_sight.size()) << label(frame);
    for (size_t slot = 0; slot < order.size(); ++slot) {
      const auto place = std::ranges::find(in_sight, contents_[slot]);
      ASSERT_NE(place, in_sight.end()) << label(frame) << ", slot " << slot;
      EXPECT_EQ(order[slot], place - in_sight.begin()) << label(frame) << ", slot " << slot;
    }
  }

 private:
  std::string label(int64_t frame) const {
    return "window " + std::to_string(slots_.window) + ", sinks " + std::to_string(slots_.sinks) +
           ", frame " + std::to_string(frame);
  }
  CacheSlots slots_;
  std::vector<int64_t> contents_;  // frame in each slot
};

TEST(CacheSlots, HoldWhatIsInSightInTheOrderOfFrames) {
  for (int64_t window = 1; window <= 6; ++window) {
    for (int64_t sinks = 0; sinks <= 4; ++sinks) {
      PlainCache cache(window, sinks);
      for (int64_t frame = 0; frame < 60; ++frame) cache.write(frame);
    }
  }
}

TEST(CacheSlots, KnowTheirPlacesByHand) {
  const CacheSlots slots{.window = 3, .sinks = 1};
  EXPECT_EQ(slots.capacity(), 4);
  EXPECT_EQ(slots.order(0), std::vector<int64_t>({0}));
  EXPECT_EQ(slots.order(3), std::vector<int64_t>({0, 1, 2, 3}));
  EXPECT_EQ(slots.slot(4), 1) << "frame 4 takes the place of frame 1";
  EXPECT_EQ(slots.order(4), std::vector<int64_t>({0, 3, 1, 2}));
  EXPECT_EQ(slots.used(1'000'000), 4);
}

}  // namespace
}  // namespace praxino
