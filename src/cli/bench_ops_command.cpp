#include <fmt/core.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/device_name.h"
#include "praxino/base/file.h"
#include "praxino/base/log.h"
#include "praxino/bench/ops.h"
#include "praxino/ops/step_graph.h"
#include "praxino/rollout/world.h"

namespace praxino {
namespace {

struct BenchArguments {
  std::string device = "auto";
  std::string type = "bf16";
  std::string json;
  bench::OpsOptions options;
};

void run_bench_ops(BenchArguments arguments) {
  bench::OpsOptions& options = arguments.options;
  options.device = parse_device(arguments.device);
  options.device_name = device_name(options.device);
  options.type = arguments.type == "fp32" ? at::kFloat : at::kBFloat16;
  if (options.small) {
    options.warm_up_seconds = 0;
    options.pause_seconds = 0;
  }
  const bench::OpsReport report =
      measure_ops(options, [](const std::string& name) { log::info("{}", name); });
  fmt::print("{}", ops_table(report));
  if (!arguments.json.empty()) write_file_atomic(arguments.json, ops_json(report));
}

}  // namespace

void add_bench_ops_command(CLI::App& command) {
  CLI::App* added = command.add_subcommand(
      "ops",
      "operations beside those of LibTorch, cuDNN and FlashAttention-2, as shares of what "
      "the machine can do");
  const auto arguments = std::make_shared<BenchArguments>();
  auto& options = arguments->options;
  added->add_option("--device", arguments->device, "auto (the GPU if there is one), cpu, cuda:N")
      ->option_text("NAME");
  added->add_option("--type", arguments->type, "of elements: bf16 (default) or fp32")
      ->check(CLI::IsMember({"bf16", "fp32"}))
      ->option_text("TYPE");
  added->add_option("--only", options.only, "cases with this in their name")->option_text("TEXT");
  added->add_option("--repetitions", options.repetitions, "of each measurement (default 30)")
      ->check(CLI::Range(int64_t{1}, int64_t{100000}))
      ->option_text("N");
  added
      ->add_option("--seconds", options.seconds,
                   "of each measurement: fewer repetitions beyond that (default 0.15)")
      ->check(CLI::Range(0.0, 1e4))
      ->option_text("X");
  added
      ->add_option("--warm-up", options.warm_up_seconds,
                   "seconds before each measurement (default 0.05)")
      ->check(CLI::Range(0.0, 100.0))
      ->option_text("X");
  added->add_option("--pause", options.pause_seconds, "seconds before each case (default 0.2)")
      ->check(CLI::Range(0.0, 100.0))
      ->option_text("X");
  added
      ->add_option("--replay-below", options.replay_below_seconds,
                   "measure shorter calls as replays of a CUDA graph, too (seconds, default 1e-4)")
      ->check(CLI::Range(0.0, 10.0))
      ->option_text("X");
  added->add_option("--minutes", options.minutes, "begin no case after that (default: no limit)")
      ->check(CLI::Range(0.0, 1e4))
      ->option_text("X");
  added->add_option("--json", arguments->json, "write the figures to this file, too")
      ->option_text("FILE");
  added->add_flag("--ours-alone", options.ours_alone, "without the rivals");
  added->add_flag("--small", options.small, "tiny sizes: a test, its figures mean nothing");
  added->callback([arguments] {
#if defined(PRAXINO_CUDA)
    ops::use_cuda_graphs();
#endif
    run_bench_ops(*arguments);
  });
}

}  // namespace praxino
