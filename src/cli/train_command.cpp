#include <CLI/CLI.hpp>

#include "commands.h"
#include "praxino/config/load.h"
#include "praxino/train/trainer.h"

namespace praxino {
namespace {

struct TrainArguments {
  std::string run_file;
  std::vector<std::string> overrides;
  TrainOptions options;
};

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
  command->callback([arguments, &exit_code] {
    const RunConfig config = load_run(arguments->run_file, arguments->overrides);
    exit_code = Trainer(config, arguments->options).run();
  });
}

}  // namespace praxino
