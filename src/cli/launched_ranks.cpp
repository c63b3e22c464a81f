#include "cli/launched_ranks.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/log.h"
#include "praxino/base/progress.h"
#include "praxino/parallel/launch.h"
#include "praxino/parallel/spawn.h"
#include "praxino/rollout/world.h"
#include "praxino/train/layout.h"

namespace praxino {
namespace {

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

/// Joins the other ranks, each on its own device.
void join(const RunConfig& config, const Launch& launch, TrainOptions& options) {
  const double begin = monotonic_seconds();
  options.device = rank_device(config.run.device, launch.local_rank, launch.local_ranks);
  options.local_ranks = launch.local_ranks;
  options.fresh = options.fresh && launch.restart == 0;  // what a first start has set aside is old
  const at::Device device = parse_device(options.device);
  if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
  options.mesh = Mesh::join(
      launch,
      {.shape = mesh_shape(config, launch.ranks),
       .device = device,
       .silence_seconds = static_cast<double>(config.parallel.timeout),
       .first_silence_seconds = static_cast<double>(config.parallel.first_timeout),
       .dumps = std::filesystem::path(config.run.output) / config.run.name / "collectives"});
  options.start.mark("joined");
  if (launch.rank == 0) {
    log::info("{} ranks ({}) on {}, connected in {:.2f} s", launch.ranks, launch.launcher,
              device.is_cuda() ? "GPUs" : "the CPU", monotonic_seconds() - begin);
  }
}

}  // namespace

void add_ranks_option(CLI::App& command, int64_t& ranks) {
  command
      .add_option("--ranks", ranks,
                  "start this many processes on this machine, which share each batch; torchrun, "
                  "srun and mpirun need no flag")
      ->check(CLI::Range(1, 1024));
}

std::optional<int> launch_ranks(const RunConfig& config, const RanksRequest& request,
                                TrainOptions& options) {
  const Launch launch =
      find_launch([](const char* name) -> const char* { return std::getenv(name); });
  if (request.ranks > 1 && launch.launcher == "none") {
    mesh_shape(config, request.ranks);  // before anything is started
    return run_ranks({.ranks = request.ranks,
                      .arguments = own_arguments(),
                      .progress = request.progress,
                      .fruitless = request.fruitless});
  }
  if (request.ranks > 0 && request.ranks != launch.ranks) {
    fail_usage("--ranks is {}, and {} started {} ranks; leave --ranks out under a launcher",
               request.ranks, launch.launcher, launch.ranks);
  }
  mesh_shape(config, launch.ranks);
  if (launch.ranks > 1) join(config, launch, options);
  return std::nullopt;
}

}  // namespace praxino
