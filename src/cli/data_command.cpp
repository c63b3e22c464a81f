// praxino data index | check | show | make

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "praxino/base/file.h"
#include "praxino/base/signals.h"
#include "praxino/data/check.h"
#include "praxino/data/dataset.h"
#include "praxino/data/show.h"
#include "praxino/data/synthetic.h"

namespace praxino {
namespace {

void add_folder(CLI::App& command, std::string& folder) {
  command.add_option("PATH", folder, "folder of the data set")->required();
}

void add_index(CLI::App& app) {
  struct Flags {
    std::string folder;
    int workers = 0;
  };
  CLI::App* command = app.add_subcommand(
      "index", "index the videos of a folder, so that every later start is quick");
  const auto flags = std::make_shared<Flags>();
  add_folder(*command, flags->folder);
  command->add_option("--workers", flags->workers, "threads; 0: one per core")
      ->check(CLI::Range(0, 1024));
  command->callback([flags] {
    const Dataset dataset = Dataset::open(flags->folder, flags->workers);
    int64_t frames = 0;
    for (const SourceFile& file : dataset.files()) frames += file.index->frame_count();
    fmt::print("{}: {} files, {} frames, {} action fields; {} files refused\n", flags->folder,
               dataset.files().size(), frames, dataset.config().actions.size(),
               dataset.refused().size());
    for (const RefusedFile& file : dataset.refused())
      fmt::print("  {}: {}\n", file.name, file.reason);
  });
}

void add_check(CLI::App& app, int& exit_code) {
  struct Flags {
    std::string folder;
    std::string json;
    bool strict = false;
    CheckOptions options;
  };
  CLI::App* command =
      app.add_subcommand("check", "find damaged files, dropped frames and misaligned actions");
  const auto flags = std::make_shared<Flags>();
  add_folder(*command, flags->folder);
  command->add_option("--json", flags->json,
                      "write the report to this file, too ('-': print JSON instead of text)");
  command->add_flag("--strict", flags->strict, "exit with 1 when anything is wrong");
  command->add_option("--workers", flags->options.workers, "threads; 0: one per core")
      ->check(CLI::Range(0, 1024));
  command
      ->add_option("--frames-per-file", flags->options.frames_per_file,
                   "frames of a file whose pixels are looked at")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->callback([flags, &exit_code] {
    const CheckReport report = check_dataset(flags->folder, flags->options);
    if (!flags->json.empty() && flags->json != "-") write_file_atomic(flags->json, to_json(report));
    fmt::print("{}", flags->json == "-" ? to_json(report) : to_text(report));
    exit_code = check_exit_code(report, flags->strict);
  });
}

void add_show(CLI::App& app) {
  struct Flags {
    std::string folder;
    std::string out = "contact_sheet.png";
    std::string fps;
    ShowOptions options;
  };
  CLI::App* command =
      app.add_subcommand("show", "draw clips with their actions as a contact sheet");
  const auto flags = std::make_shared<Flags>();
  add_folder(*command, flags->folder);
  command->add_option("--out", flags->out, "PNG file to write")->capture_default_str();
  command->add_option("--clips", flags->options.clips, "clips, one below the other")
      ->capture_default_str();
  command->add_option("--frames", flags->options.frames, "frames of a clip")->capture_default_str();
  command->add_option("--fps", flags->fps, "frames a second; without it the data set's own");
  command->add_option("--seed", flags->options.seed, "which clips are shown")
      ->capture_default_str();
  command->callback([flags] {
    if (!flags->fps.empty()) flags->options.fps = Rational::parse(flags->fps);
    write_contact_sheet(flags->folder, flags->out, flags->options);
    fmt::print("{}\n", flags->out);
  });
}

void add_make(CLI::App& app) {
  struct Flags {
    std::string folder;
    std::string fps = "15";
    SyntheticOptions options;
  };
  CLI::App* command = app.add_subcommand("make", "make a synthetic world with known truth");
  const auto flags = std::make_shared<Flags>();
  SyntheticOptions& options = flags->options;
  const auto add = [command](const char* name, auto& value, const char* about) {
    command->add_option(name, value, about)->capture_default_str();
  };
  command
      ->add_option("WORLD", options.world, fmt::format("{}", fmt::join(synthetic_worlds(), ", ")))
      ->required();
  command->add_option("OUT", flags->folder, "folder to make")->required();
  add("--episodes", options.episodes, "recordings");
  add("--frames", options.frames, "frames of a recording");
  add("--height", options.height, "pixels, even");
  add("--width", options.width, "pixels, even");
  add("--fps", flags->fps, "frames a second");
  add("--seed", options.seed, "other seeds, other recordings");
  add("--noise", options.noise, "standard deviation of pixel noise in grey levels");
  add("--quality", options.quality, "x264 CRF, 0 .. 51; lower is better");
  add("--map-seed", options.map_seed, "pan: which map");
  add("--map-scale", options.map_scale, "pan: sides of the map in view sizes");
  add("--speed", options.speed, "pan: largest step of the camera in pixels a frame");
  add("--balls", options.balls, "balls: how many");
  command->add_flag("--force", options.force, "replace a data set made before");
  command->callback([flags] {
    flags->options.fps = Rational::parse(flags->fps);
    const StopSignal stop;
    make_dataset(flags->options, flags->folder);
    fmt::print("{}\n", flags->folder);
  });
}

}  // namespace

void add_data_command(CLI::App& app, int& exit_code) {
  CLI::App* data = app.add_subcommand("data", "index, check, show and make data sets");
  data->require_subcommand(1);
  add_index(*data);
  add_check(*data, exit_code);
  add_show(*data);
  add_make(*data);
}

}  // namespace praxino
