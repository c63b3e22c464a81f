#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.h"

namespace praxino {

void add_bench_command(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("bench", "measure how fast this machine does the work of a model");
  command->require_subcommand(1);
  add_bench_ops_command(*command);
  add_bench_train_command(*command, exit_code);
}

}  // namespace praxino
