#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "praxino/base/file.h"
#include "praxino/config/load.h"
#include "praxino/train/bench.h"

namespace praxino {
namespace {

struct Arguments {
  std::string run_file;
  std::vector<std::string> overrides;
  std::string json;
  TrainBenchOptions options;
};

}  // namespace

void add_bench_train_command(CLI::App& bench) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* command = bench.add_subcommand(
      "train", "a run's training steps: time, tokens/s, MFU, wait for the loader, memory");
  command->add_option("run_file", arguments->run_file, "run file (YAML)")->required();
  add_overrides(*command, arguments->overrides);
  command->add_option("--steps", arguments->options.steps, "measured steps")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}));
  command->add_option("--warm-up", arguments->options.warm_up, "steps before them")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}));
  command
      ->add_option("--json", arguments->json,
                   "write the figures to this file, too ('-': print JSON instead of text)")
      ->option_text("FILE");
  command->callback([arguments] {
    const TrainBench measured =
        measure_training(load_run(arguments->run_file, arguments->overrides), arguments->options);
    const std::string& json = arguments->json;
    if (!json.empty() && json != "-") write_file_atomic(json, to_json(measured));
    fmt::print("{}", json == "-" ? to_json(measured) : to_text(measured));
  });
}

}  // namespace praxino
