#include <fmt/core.h>

#include <memory>

#include "cli/commands.h"
#include "cli/world_options.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/log.h"
#include "praxino/base/signals.h"
#include "praxino/config/load.h"
#include "praxino/eval/evaluate.h"
#include "praxino/ops/step_graph.h"

namespace praxino {
namespace {

struct EvalArguments {
  WorldArguments world;
  std::optional<int64_t> clips, context, horizon, batch, steps;
  std::optional<double> context_noise;
};

/// The run's configuration with what the command line changes, checked like a run file.
void apply(const EvalArguments& arguments, RunConfig& config) {
  config.eval.clips = arguments.clips.value_or(config.eval.clips);
  config.eval.context = arguments.context.value_or(config.eval.context);
  config.eval.horizon = arguments.horizon.value_or(config.eval.horizon);
  config.eval.batch = arguments.batch.value_or(config.eval.batch);
  config.objective.sampler_steps = arguments.steps.value_or(config.objective.sampler_steps);
  // Of the rollouts; the loss is measured under the noise that the world was trained with.
  config.objective.context_noise = arguments.context_noise.value_or(config.objective.context_noise);
  check_run(config, "the command line of eval");
}

/// Somebody else's run can be measured all the same.
bool can_write(const std::filesystem::path& file) {
  try {
    make_writable_folder(file.parent_path());
    return true;
  } catch (const Error& error) {
    log::warning("the figures are printed only, not kept in {}: {}", file.string(), error.what());
    return false;
  }
}

void run_eval(const EvalArguments& arguments) {
  World world = open_world(arguments.world);
  apply(arguments, world.config);
  const std::filesystem::path file = run_directory(arguments.world.run) / "eval.json";
  const bool keep = can_write(file);
  const std::shared_ptr<const Dataset> dataset = open_dataset(world);
  const StopSignal stop;  // from here on somebody looks at it often
  const Split split = split_dataset(*dataset, world.config.data.split);
  const EvalClips clips = load_eval_clips(world.config, dataset, split.val);
  log::info("evaluating {} held-out clips on {}", clips.count(), world.device.str());
  const EvalReport report = evaluate(world, clips);
  fmt::print("{}", report_table(report, world.step));
  if (!keep) return;
  write_file_atomic(file, report_json(report, world.step));
  fmt::print("\n{}\n", file.string());
}

}  // namespace

void add_eval_command(CLI::App& app, int&) {
  CLI::App* command =
      app.add_subcommand("eval", "measure a run on held-out clips, baselines beside it");
  const auto arguments = std::make_shared<EvalArguments>();
  add_world_options(*command, arguments->world);
  const auto number = [&](const char* name, std::optional<int64_t>& value, const char* about) {
    command->add_option(name, value, about)
        ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
        ->option_text("N");
  };
  number("--clips", arguments->clips,
         "held-out clips (default: eval.clips of the run, as for all below)");
  number("--context", arguments->context, "true frames given");
  number("--horizon", arguments->horizon, "frames imagined after them");
  number("--batch", arguments->batch, "clips at a time");
  number("--steps", arguments->steps, "sampler steps");
  command
      ->add_option("--context-noise", arguments->context_noise,
                   "1 - tau of the frames that a rollout continues")
      ->check(CLI::Range(0.0, 0.9))
      ->option_text("X");
  command->callback([arguments] {
#if defined(PRAXINO_CUDA)
    ops::use_cuda_graphs();
#endif
    run_eval(*arguments);
  });
}

}  // namespace praxino
