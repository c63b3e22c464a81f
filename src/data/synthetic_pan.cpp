// A camera that actions move over a fixed map. Steps are whole pixels, so each picture is an exact
// cut-out.

#include <cmath>
#include <memory>

#include "data/synthetic_map.h"
#include "data/synthetic_worlds.h"
#include "praxino/base/random.h"
#include "praxino/base/threads.h"

namespace praxino {
namespace {

struct Map {
  int64_t height;
  int64_t width;
  std::vector<uint8_t> rgb;
};

Map render_map(const SyntheticOptions& o) {
  constexpr int kSamples = 4;  // a side
  const PanMap plane(o.map_seed);
  const double unit = static_cast<double>(std::min(o.height, o.width));
  Map map{std::llround(o.map_scale * static_cast<double>(o.height)),
          std::llround(o.map_scale * static_cast<double>(o.width)),
          {}};
  map.rgb.resize(static_cast<size_t>(map.height * map.width * 3));
  parallel_for_each(map.height, 0, [&](int64_t y) {
    for (int64_t x = 0; x < map.width; ++x) {
      Rgb sum{};
      for (int i = 0; i < kSamples * kSamples; ++i) {
        const double sy = static_cast<double>(y) + (i / kSamples + 0.5) / kSamples;
        const double sx = static_cast<double>(x) + (i % kSamples + 0.5) / kSamples;
        const Rgb color = plane.at(sy / unit, sx / unit);
        for (size_t c = 0; c < 3; ++c) sum[c] += color[c];
      }
      for (size_t c = 0; c < 3; ++c) {
        map.rgb[static_cast<size_t>((y * map.width + x) * 3) + c] =
            Painter::to_byte(sum[c] / (kSamples * kSamples));
      }
    }
  });
  return map;
}

// One coordinate of the camera and the command that moves it.
struct Axis {
  int64_t limit;  // largest position
  int64_t position;
  int64_t command = 0;

  // Mostly moving, and mostly away from a border that the camera would run into; now and then it
  // does run into it, so that a model sees what a border does.
  void choose(Random& random, int64_t speed, int64_t hold) {
    command = random.uniform() < 0.15 ? 0 : 1 + random.integer(speed);
    if (random.integer(2) == 1) command = -command;
    const int64_t target = position + command * hold;
    if ((target < 0 || target > limit) && random.uniform() < 0.75) command = -command;
  }
  void step() { position = std::clamp<int64_t>(position + command, 0, limit); }
};

SyntheticEpisode simulate_pan(const SyntheticOptions& o, const Map& map, uint64_t key) {
  Random random(key);
  Axis y{.limit = map.height - o.height, .position = random.integer(map.height - o.height + 1)};
  Axis x{.limit = map.width - o.width, .position = random.integer(map.width - o.width + 1)};
  SyntheticEpisode episode;
  int64_t hold = 0;
  for (int64_t k = 0; k < o.frames; ++k) {
    if (hold == 0) {
      hold = 3 + random.integer(6);
      x.choose(random, o.speed, hold);
      y.choose(random, o.speed, hold);
    }
    --hold;
    episode.truth.insert(episode.truth.end(),
                         {static_cast<double>(y.position), static_cast<double>(x.position)});
    episode.actions.insert(episode.actions.end(),
                           {static_cast<float>(x.command), static_cast<float>(y.command)});
    y.step();
    x.step();
  }
  return episode;
}

void draw_pan(const SyntheticOptions& o, const Map& map, std::span<const double> state,
              std::span<uint8_t> rgb) {
  const int64_t top = std::llround(state[0]);
  const int64_t left = std::llround(state[1]);
  for (int64_t y = 0; y < o.height; ++y) {
    const uint8_t* const row = map.rgb.data() + ((top + y) * map.width + left) * 3;
    std::copy(row, row + o.width * 3, rgb.data() + y * o.width * 3);
  }
}

}  // namespace

SyntheticWorld pan_world(const SyntheticOptions& options) {
  const auto map = std::make_shared<const Map>(render_map(options));
  const auto range = static_cast<double>(options.speed);
  const auto move = [range](const char* name) {
    return ActionField{
        .name = name, .kind = "delta", .low = -range, .high = range, .size = 2, .unit = "pixels"};
  };
  SyntheticWorld world;
  world.about =
      "A camera moved by actions over a fixed coloured map. move_x > 0 moves the camera right (the "
      "picture moves "
      "left), move_y > 0 moves it down; it stops at the map's borders while the action stays as "
      "commanded.";
  world.actions = {move("move_x"), move("move_y")};
  world.columns = {"camera_y", "camera_x"};
  world.simulate = [options, map](uint64_t key) { return simulate_pan(options, *map, key); };
  world.draw = [options, map](std::span<const double> state, std::span<uint8_t> rgb) {
    draw_pan(options, *map, state, rgb);
  };
  return world;
}

}  // namespace praxino
