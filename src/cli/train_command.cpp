#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "commands.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/log.h"
#include "praxino/base/progress.h"
#include "praxino/checkpoint/store.h"
#include "praxino/config/load.h"
#include "praxino/ops/step_graph.h"
#include "praxino/parallel/launch.h"
#include "praxino/parallel/spawn.h"
#include "praxino/rollout/world.h"
#include "praxino/train/trainer.h"

namespace praxino {
namespace {

struct TrainArguments {
  std::string run_file;
  std::vector<std::string> overrides;
  TrainOptions options;
  int64_t ranks = 0;
};

/// The words of this process's command line.
std::vector<std::string> own_arguments() {
  std::vector<std::string> words;
  const std::string text = read_file("/proc/self/cmdline");
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\0', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

int spawn(const RunConfig& config, int64_t ranks) {
  const auto folder = std::filesystem::path(config.run.output) / config.run.name / "checkpoints";
  return run_ranks({.ranks = ranks, .arguments = own_arguments(), .progress = [folder] {
                      const std::vector<int64_t> steps = checkpoint_steps(folder);
                      return steps.empty() ? -1 : steps.back();
                    }});
}

MeshShape mesh_shape(const RunConfig& config, int64_t ranks) {
  const ParallelConfig& parallel = config.parallel;
  if (parallel.data > 0 && parallel.data != ranks) {
    fail_usage("parallel.data is {}, and {} ranks were started; 0 takes as many as there are",
               parallel.data, ranks);
  }
  if (config.data.batch % ranks != 0) {
    fail_usage("data.batch is {}, which {} ranks cannot share equally; make it a multiple",
               config.data.batch, ranks);
  }
  return {.data = ranks};
}

/// Joins the other ranks, each on its own device.
void join(const RunConfig& config, const Launch& launch, TrainOptions& options) {
  const double begin = monotonic_seconds();
  options.device = rank_device(config.run.device, launch.local_rank, launch.local_ranks);
  options.local_ranks = launch.local_ranks;
  options.fresh = options.fresh && launch.restart == 0;  // what a first start has set aside is old
  const at::Device device = parse_device(options.device);
  if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
  options.mesh =
      Mesh::join(launch, {.shape = mesh_shape(config, launch.ranks),
                          .device = device,
                          .silence_seconds = static_cast<double>(config.parallel.timeout)});
  if (launch.rank == 0) {
    log::info("{} ranks ({}) on {}, connected in {:.2f} s", launch.ranks, launch.launcher,
              device.is_cuda() ? "GPUs" : "the CPU", monotonic_seconds() - begin);
  }
}

int train(TrainArguments& arguments) {
  const RunConfig config = load_run(arguments.run_file, arguments.overrides);
  const Launch launch =
      find_launch([](const char* name) -> const char* { return std::getenv(name); });
  if (arguments.ranks > 1 && launch.launcher == "none") {
    mesh_shape(config, arguments.ranks);  // before anything is started
    return spawn(config, arguments.ranks);
  }
  if (arguments.ranks > 0 && arguments.ranks != launch.ranks) {
    fail_usage("--ranks is {}, and {} started {} ranks; leave --ranks out under a launcher",
               arguments.ranks, launch.launcher, launch.ranks);
  }
  mesh_shape(config, launch.ranks);
  if (launch.ranks > 1) join(config, launch, arguments.options);
  return Trainer(config, arguments.options).run();
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
  command
      ->add_option("--ranks", arguments->ranks,
                   "start this many processes on this machine, which share each batch, and start "
                   "them again when one dies; torchrun, srun and mpirun need no flag")
      ->check(CLI::Range(1, 1024));
  command->callback([arguments, &exit_code] {
#if defined(PRAXINO_CUDA)
    ops::use_cuda_graphs();
#endif
    exit_code = train(*arguments);
  });
}

}  // namespace praxino
