#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/launched_ranks.h"
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
  int64_t ranks = 0;
};

int bench_train(Arguments& arguments) {
  TrainOptions& launch = arguments.options.launch;
  launch.start = StartClock::of_process();
  const RunConfig config = load_run(arguments.run_file, arguments.overrides);
  // A measurement in which a rank dies is not repeated.
  const RanksRequest request{.ranks = arguments.ranks, .fruitless = 1};
  if (const std::optional<int> code = launch_ranks(config, request, launch)) return *code;
  const TrainBench measured = measure_training(config, arguments.options);
  if (launch.mesh && !launch.mesh->first()) return 0;
  const std::string& json = arguments.json;
  if (!json.empty() && json != "-") write_file_atomic(json, to_json(measured));
  fmt::print("{}", json == "-" ? to_json(measured) : to_text(measured));
  return 0;
}

}  // namespace

void add_bench_train_command(CLI::App& bench, int& exit_code) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* command = bench.add_subcommand(
      "train",
      "a run's training steps: time, tokens/s, MFU, waits for loader and other ranks, memory");
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
  command->add_flag("--compare", arguments->options.compare,
                    "with several ranks: also each of them alone, in turns with all together");
  add_ranks_option(*command, arguments->ranks);
  command->callback([arguments, &exit_code] { exit_code = bench_train(*arguments); });
}

}  // namespace praxino
