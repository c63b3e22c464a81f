#include <ATen/Context.h>

#include <CLI/CLI.hpp>

#include "cli/launched_ranks.h"
#include "commands.h"
#include "praxino/checkpoint/store.h"
#include "praxino/config/load.h"
#include "praxino/ops/step_graph.h"
#include "praxino/train/trainer.h"

namespace praxino {
namespace {

struct TrainArguments {
  std::string run_file;
  std::vector<std::string> overrides;
  TrainOptions options;
  int64_t ranks = 0;
};

int train(TrainArguments& arguments) {
  arguments.options.start = StartClock::of_process();
  const RunConfig config = load_run(arguments.run_file, arguments.overrides);
  const auto folder = std::filesystem::path(config.run.output) / config.run.name / "checkpoints";
  const auto newest = [folder] {
    const std::vector<int64_t> steps = checkpoint_steps(folder);
    return steps.empty() ? -1 : steps.back();
  };
  const std::optional<int> code =
      launch_ranks(config, {.ranks = arguments.ranks, .progress = newest}, arguments.options);
  return code ? *code : Trainer(config, arguments.options).run();
}

}  // namespace

void add_train_command(CLI::App& app, int& exit_code) {
  auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand("train", "train a world model; resumes by itself");
  command->add_option("run_file", arguments->run_file, "run file (YAML)")->required();
  add_overrides(*command, arguments->overrides);
  command->add_flag("--fresh", arguments->options.fresh,
                    "start over; an old run directory is set aside");
  command->add_option("--from", arguments->options.from,
                      "fine-tune the weights of this run or checkpoint directory");
  add_ranks_option(*command, arguments->ranks);
  command->callback([arguments, &exit_code] {
#if defined(PRAXINO_CUDA)
    ops::use_cuda_graphs();
#endif
    exit_code = train(*arguments);
  });
}

}  // namespace praxino
