#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/machine.h"
#include "praxino/config/load.h"
#include "praxino/train/plan.h"

namespace praxino {
namespace {

struct Arguments {
  std::string run_file;
  std::vector<std::string> overrides;
  std::string gpu = "h100";
  int64_t ranks = 1;
  bool json = false;
};

PlanDevice chosen_device(const std::string& name) {
  if (name != "cpu") return find_gpu(name);
  return {.name = "this machine's memory",
          .bytes = static_cast<double>(this_memory().total),
          .gpu = false};
}

}  // namespace

void add_plan_command(CLI::App& app, int&) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "plan", "what a run takes, without a GPU: parameters, memory a rank, work, traffic");
  command->add_option("run_file", arguments->run_file, "run file (YAML)")->required();
  add_overrides(*command, arguments->overrides);
  command
      ->add_option("--gpu", arguments->gpu,
                   "whose memory it must fit: a100-40, a100, h100, h200, b200; or cpu")
      ->capture_default_str()
      ->option_text("NAME");
  command->add_option("--ranks", arguments->ranks, "ranks in all, where parallel.data does not say")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
      ->option_text("N");
  command->add_flag("--json", arguments->json, "JSON instead of the table");
  command->callback([arguments] {
    const RunConfig config = load_run(arguments->run_file, arguments->overrides);
    const Plan plan =
        make_plan(config, {.device = chosen_device(arguments->gpu), .ranks = arguments->ranks});
    fmt::print("{}", arguments->json ? to_json(plan) : to_text(plan));
  });
}

}  // namespace praxino
