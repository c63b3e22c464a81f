#pragma once
// Synthetic worlds with known truth, written as ordinary data sets: `praxino data make`.
// Everything is a pure function of the options: the same options give the same bytes again.
// Positions are in pixels from the picture's top left corner (y down, x right; pixel i covers [i,
// i+1)), velocities in pixels a frame. All functions are thread-safe.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "praxino/base/rational.h"
#include "praxino/config/actions.h"

namespace praxino {

struct SyntheticOptions {
  std::string world = "pan";  // see synthetic_worlds()
  int64_t episodes = 8;
  int64_t frames = 300;  // of one episode, at least 2
  int64_t height = 64;   // even, 16 .. 2048
  int64_t width = 64;
  Rational fps = 15;
  uint64_t seed = 1;
  double noise = 0;        // standard deviation of Gaussian pixel noise in grey levels; 0: none
  int quality = 12;        // x264 CRF: nearly lossless
  bool force = false;      // replace a folder that an earlier make_dataset wrote
  uint64_t map_seed = 0;   // pan: which map; the same for every data set unless changed
  double map_scale = 2.5;  // pan: sides of the map in view sizes, at least 2
  int64_t speed = 4;       // pan: largest camera step, pixels a frame and axis
  int64_t balls = 4;       // balls: how many, 1 .. 12
};

/// What happened in one episode: row k of both is frame k.
struct SyntheticEpisode {
  std::vector<float>
      actions;  // frames x fields; row k is applied while frame k is shown and leads to frame k+1
  std::vector<double> truth;  // frames x columns: the whole state that is seen in frame k
};

/// One world at given options. Copies share their data; simulate and draw are pure.
struct SyntheticWorld {
  std::string about;                 // one sentence for the README
  std::vector<ActionField> actions;  // empty: a world without actions
  std::vector<std::string> columns;  // of the truth
  std::function<SyntheticEpisode(uint64_t key)> simulate;
  /// Draws the state of one truth row as height*width*3 bytes RGB.
  std::function<void(std::span<const double> state, std::span<uint8_t> rgb)> draw;
};

/// "pan", "paddle", "balls".
std::vector<std::string> synthetic_worlds();

/// Throws praxino::Error (kUsage) naming the option that is out of range.
SyntheticWorld synthetic_world(const SyntheticOptions& options);

/// The key of episode `number`: simulate(episode_key(...)) is what make_dataset wrote.
uint64_t episode_key(const SyntheticOptions& options, int64_t number);

/// Writes the folder: dataset.yaml, README.md, and for each episode `episode_0000.mp4`,
/// `.actions.csv` (where the world has actions) and `.truth.csv`. The folder appears by one rename
/// when it is complete. A folder that exists and is not empty is refused; with `force` it is
/// replaced, but only if everything in it has a name that make_dataset gives. Gives up, leaving
/// nothing behind, where throw_if_stopped() says so.
void make_dataset(const SyntheticOptions& options, const std::filesystem::path& folder);

}  // namespace praxino
