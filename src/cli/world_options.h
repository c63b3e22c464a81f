#pragma once
// What the commands that use a learned world have in common: which run, which checkpoint, which
// device.

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "praxino/data/dataset.h"
#include "praxino/rollout/world.h"

namespace praxino {

struct WorldArguments {
  std::string run;
  std::optional<int64_t> checkpoint;
  std::string device = "auto";
  std::string data;
  bool no_ema = false;
};

/// `arguments` outlives the parsing of `command`.
inline void add_world_options(CLI::App& command, WorldArguments& arguments) {
  command.add_option("run", arguments.run, "run directory, or one checkpoint of it")
      ->required()
      ->option_text("RUN_DIR");
  command
      .add_option("--checkpoint", arguments.checkpoint,
                  "of this step (default: the newest whole one)")
      ->option_text("STEP");
  command.add_option("--device", arguments.device, "auto, cpu, cuda or cuda:N")
      ->option_text("DEVICE");
  command
      .add_option("--data", arguments.data, "the data set, where it is not at data.path any more")
      ->option_text("DIR");
  command.add_flag("--no-ema", arguments.no_ema, "the plain weights instead of the averaged ones");
}

inline World open_world(const WorldArguments& arguments) {
  World world = load_world(
      arguments.run,
      {.step = arguments.checkpoint, .ema = !arguments.no_ema, .device = arguments.device});
  if (!arguments.data.empty()) world.config.data.path = arguments.data;
  use_threads(world.config.run);
  return world;
}

/// The world's data set, with the actions that the world knows.
inline std::shared_ptr<const Dataset> open_dataset(const World& world) {
  auto dataset = std::make_shared<const Dataset>(Dataset::open(world.config.data.path));
  check_fields(world, dataset->config());
  return dataset;
}

}  // namespace praxino
