#include "praxino/data/synthetic.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <mutex>
#include <system_error>

#include "data/synthetic_draw.h"
#include "data/synthetic_worlds.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/progress.h"
#include "praxino/base/random.h"
#include "praxino/base/signals.h"
#include "praxino/base/threads.h"
#include "praxino/config/load.h"
#include "praxino/video/writer.h"

namespace praxino {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kMark = "Made by `praxino data make`";

void check_range(const char* name, double value, double low, double high) {
  if (!(value >= low && value <= high)) {
    fail_usage("data make: {} is {}, but must lie in {} .. {}", name, value, low, high);
  }
}

void check_options(const SyntheticOptions& o) {
  check_range("episodes", static_cast<double>(o.episodes), 1, 100000);
  check_range("frames", static_cast<double>(o.frames), 2, 1e6);
  for (const auto& [name, value] : {std::pair("height", o.height), std::pair("width", o.width)}) {
    check_range(name, static_cast<double>(value), 16, 2048);
    if (value % 2) {
      fail_usage("data make: {} is {}, but video with halved colour planes needs an even number",
                 name, value);
    }
  }
  check_range("fps", o.fps.value(), 1, 240);
  check_range("noise", o.noise, 0, 100);
  check_range("quality", o.quality, 0, 51);
  check_range("map_scale", o.map_scale, 2, 16);
  check_range("speed", static_cast<double>(o.speed), 1,
              static_cast<double>(std::min(o.height, o.width)) / 4);
  check_range("balls", static_cast<double>(o.balls), 1, 12);
}

void add_noise(double deviation, uint64_t key, std::span<uint8_t> rgb) {
  if (deviation == 0) return;
  Random random(key);
  for (uint8_t& value : rgb) value = Painter::to_byte(value + deviation * random.normal());
}

template <class Value>
std::string csv(const std::vector<std::string>& names, const std::vector<Value>& values) {
  std::string text = fmt::format("{}\n", fmt::join(names, ","));
  for (auto row = values.begin(); row != values.end();
       row += static_cast<std::ptrdiff_t>(names.size())) {
    fmt::format_to(std::back_inserter(text), "{}\n",
                   fmt::join(row, row + static_cast<std::ptrdiff_t>(names.size()), ","));
  }
  return text;
}

void write_episode(const SyntheticOptions& o, const SyntheticWorld& world, const fs::path& folder,
                   int64_t number) {
  const std::string stem = fmt::format("episode_{:04}", number);
  const uint64_t key = episode_key(o, number);
  const SyntheticEpisode episode = world.simulate(key);
  VideoWriter writer(folder / (stem + ".mp4"), {.height = o.height,
                                                .width = o.width,
                                                .fps = o.fps,
                                                .quality = o.quality,
                                                .key_every = 16,
                                                .b_frames = false,
                                                .deterministic = true});
  std::vector<uint8_t> rgb(static_cast<size_t>(o.height * o.width * 3));
  const size_t columns = world.columns.size();
  for (int64_t k = 0; k < o.frames; ++k) {
    throw_if_stopped();
    world.draw({episode.truth.data() + static_cast<size_t>(k) * columns, columns}, rgb);
    add_noise(o.noise, derive_seed(key, "noise", static_cast<uint64_t>(k)), rgb);
    writer.add(rgb);
  }
  writer.finish();
  write_file_atomic(folder / (stem + ".truth.csv"), csv(world.columns, episode.truth));
  if (world.actions.empty()) return;
  std::vector<std::string> names;
  for (const ActionField& field : world.actions) names.push_back(field.name);
  write_file_atomic(folder / (stem + ".actions.csv"), csv(names, episode.actions));
}

std::string readme(const SyntheticOptions& o, const SyntheticWorld& world) {
  std::string text = fmt::format(
      "# synthetic-{}\n{}: a synthetic world with known truth.\n\n{}\n\n"
      "- {} episodes of {} frames, {}x{} pixels (width x height), {} frames a second, seed {}\n",
      o.world, kMark, world.about, o.episodes, o.frames, o.width, o.height, o.fps.str(), o.seed);
  if (o.world == "pan") {
    text += fmt::format("- map {} with sides of {} views, at most {} pixels a frame and axis\n",
                        o.map_seed, o.map_scale, o.speed);
  }
  if (o.noise > 0)
    text += fmt::format("- Gaussian pixel noise, standard deviation {} grey levels\n", o.noise);
  text += fmt::format(
      "- H.264, CRF {}\n"
      "- `<stem>.truth.csv`: one row a frame, the exact state that is shown: {}; pixels from the "
      "top left corner, y "
      "down, x right, velocities in pixels a frame\n",
      o.quality, fmt::join(world.columns, ", "));
  if (!world.actions.empty()) {
    text +=
        "- `<stem>.actions.csv`: row k is applied while frame k is shown and leads to frame k+1\n";
  }
  return text;
}

bool made_by_us(const fs::path& folder) {
  const fs::path path = folder / "README.md";
  return fs::is_regular_file(path) && read_file(path, 1 << 20).find(kMark) != std::string::npos;
}

/// Whether make_dataset, or the index of what it made, may have written this entry of its folder.
bool written_by_us(const std::string& name) {
  if (name == "README.md" || name == "dataset.yaml" || name == ".praxino") return true;
  constexpr std::string_view kStart = "episode_";
  if (!name.starts_with(kStart)) return false;
  const size_t end = std::min(name.find_first_not_of("0123456789", kStart.size()), name.size());
  const std::string_view kind = std::string_view(name).substr(end);
  return end > kStart.size() && (kind == ".mp4" || kind == ".truth.csv" || kind == ".actions.csv");
}

void check_target(const fs::path& folder, bool force) {
  if (!fs::exists(folder)) return;
  if (!fs::is_directory(folder))
    fail("{} exists and is not a folder; choose another name", folder.string());
  if (fs::is_empty(folder)) return;
  if (!force)
    fail("{} exists and is not empty; choose another folder, or replace it with --force",
         folder.string());
  if (!made_by_us(folder)) {
    fail(
        "{} was not made by `praxino data make`, so --force does not replace it; remove it "
        "yourself",
        folder.string());
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (written_by_us(name)) continue;
    fail(
        "{} holds '{}', which `praxino data make` did not write, so --force does not replace the "
        "folder; move that away first",
        folder.string(), name);
  }
}

// The finished folder takes its place.
void publish(const fs::path& made, const fs::path& target, bool force) {
  sync_directory(made);
  check_target(target, force);  // once more: minutes have passed
  fs::remove_all(target);
  fs::rename(made, target);
  sync_directory(target.parent_path());
}

}  // namespace

std::vector<std::string> synthetic_worlds() { return {"pan", "paddle", "balls"}; }

SyntheticWorld synthetic_world(const SyntheticOptions& options) {
  check_options(options);
  if (options.world == "pan") return pan_world(options);
  if (options.world == "paddle") return paddle_world(options);
  if (options.world == "balls") return balls_world(options);
  fail_usage("data make: unknown world '{}'; there are: {}", options.world,
             fmt::join(synthetic_worlds(), ", "));
}

uint64_t episode_key(const SyntheticOptions& options, int64_t number) {
  return derive_seed(options.seed, "synthetic/" + options.world, static_cast<uint64_t>(number));
}

void make_dataset(const SyntheticOptions& options, const fs::path& folder) try {
  const SyntheticWorld world = synthetic_world(options);
  // Without a trailing slash, and with a parent to put the scratch folder into.
  fs::path target = fs::absolute(folder).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  check_target(target, options.force);
  const ScratchFolder scratch(target.parent_path() /
                              ("." + target.filename().string() + ".making"));
  Progress progress("making " + options.world, options.episodes);
  std::mutex progress_mutex;
  int64_t done = 0;
  parallel_for_each(options.episodes, 0, [&](int64_t number) {
    write_episode(options, world, scratch.path(), number);
    const std::scoped_lock lock(progress_mutex);
    progress.update(++done);
  });
  DatasetConfig config;
  config.name = "synthetic-" + options.world;
  config.fps = options.fps.value();
  config.alignment = "action_at_frame";
  config.actions = world.actions;
  write_file_atomic(scratch.path() / "dataset.yaml", to_yaml(config));
  write_file_atomic(scratch.path() / "README.md", readme(options, world));
  publish(scratch.path(), target, options.force);
} catch (const fs::filesystem_error& error) {
  fail("cannot write {}: {}", folder.string(), error.code().message());
}

}  // namespace praxino
