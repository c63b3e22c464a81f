// `praxino doctor`: what this build and this machine can do, and what to do about what they cannot.

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/core.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/build_info.h"
#include "cli/commands.h"
#include "cli/kernel_lines.h"
#include "cli/machine.h"
#include "praxino/base/error.h"
#include "praxino/base/processor.h"
#include "praxino/base/threads.h"
#include "praxino/base/version.h"
#include "praxino/bench/ops.h"
#include "praxino/ops/kernels.h"
#include "praxino/parallel/launch.h"
#include "praxino/rollout/world.h"
#include "praxino/video/capabilities.h"
#ifdef PRAXINO_CUDA
#include "kernels/device_info.h"
#include "kernels/tiers.h"
#endif

namespace praxino {
namespace {

/// Prints facts as they come and keeps what is wrong for the end.
class Report {
 public:
  void fact(std::string_view label, std::string_view text) {
    fmt::print("{:<10} {}\n", label == last_ ? "" : label, text);
    last_ = label;
  }
  /// Something cannot work: what, and what to do.
  void problem(std::string text) { problems_.push_back(std::move(text)); }
  /// Something works, but not as well as it could.
  void advice(std::string text) { advice_.push_back(std::move(text)); }

  /// The closing lines; 1 when there are problems.
  int finish() const {
    for (const std::string& text : advice_) fmt::print("advice     {}\n", text);
    for (const std::string& text : problems_) fmt::print("problem    {}\n", text);
    if (problems_.empty()) fmt::print("no problems found\n");
    return problems_.empty() ? 0 : 1;
  }

 private:
  std::string last_;
  std::vector<std::string> advice_;
  std::vector<std::string> problems_;
};

bool driver_installed() { return std::filesystem::exists("/proc/driver/nvidia/version"); }

void describe_build(Report& report) {
  report.fact("praxino",
              fmt::format("{}, {} build, {}", version(), build::kType, build::kCompiler));
  report.fact("libraries", fmt::format("LibTorch {}", build::kLibTorch));
  report.fact("libraries", video_capabilities().libraries);
  report.fact("libraries", build::kLibraries);
  if (std::string_view(build::kSanitizers) != "") {
    report.advice(
        fmt::format("built with sanitizers ({}): several times slower", build::kSanitizers));
  } else if (std::string_view(build::kType) == "Debug") {
    report.advice("a Debug build is slow: configure with -DCMAKE_BUILD_TYPE=Release to train");
  }
}

void describe_processor(Report& report) {
  const Processor processor = this_processor();
  const Memory memory = this_memory();
  report.fact("CPU", fmt::format("{}, {} usable cores, {} threads for the model", processor.name,
                                 usable_cores(), at::get_num_threads()));
  report.fact(
      "CPU", fmt::format("kernels of LibTorch: {}; bf16: {}{}", at::get_cpu_capability(),
                         multiplies_bf16() ? "native" : "emulated", processor.amx ? " (AMX)" : ""));
  report.fact("memory", fmt::format("{} of {} available", format_bytes(memory.available),
                                    format_bytes(memory.total)));
  if (memory.available < (uint64_t{2} << 30)) {
    report.advice("less than 2 GiB of memory is available: use a small data.batch and model.width");
  }
  if (at::get_num_threads() < usable_cores()) {
    report.advice(
        fmt::format("LibTorch uses {} of {} cores: see OMP_NUM_THREADS and the key run.threads",
                    at::get_num_threads(), usable_cores()));
  }
}

#ifdef PRAXINO_CUDA
std::string cuda_version(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

void describe_device(Report& report, int device) {
  kernels::DeviceInfo info;
  if (const kernels::Status status = kernels::device_info(device, info); !status.ok()) {
    report.problem(fmt::format("CUDA device {} does not answer: {}; look at nvidia-smi", device,
                               kernels::status_text(status)));
    return;
  }
  const kernels::Tier tier = kernels::best_tier(info.major, info.minor);
  report.fact("GPU", fmt::format("{}: {}, capability {}.{} (tier {}), {} multiprocessors, {}",
                                 device, static_cast<const char*>(info.name), info.major,
                                 info.minor, kernels::to_string(tier), info.multiprocessors,
                                 format_bytes(info.memory_bytes)));
  if (tier == kernels::Tier::kNone) {
    report.advice(fmt::format(
        "device {} is older than capability 8.0: choose another with run.device", device));
  }
}

void describe_gpu(Report& report) {
  kernels::CudaVersions versions;
  kernels::cuda_versions(versions);
  int count = 0;
  const kernels::Status status = kernels::device_count(count);
  report.fact("CUDA",
              fmt::format("compiled in, runtime {}, driver {}", cuda_version(versions.runtime),
                          versions.driver == 0 ? "none" : "for " + cuda_version(versions.driver)));
  for (int device = 0; device < count; ++device) describe_device(report, device);
  if (count > 0) return;
  report.fact("GPU", fmt::format("none: {}", versions.driver == 0 ? "no NVIDIA driver here"
                                                                  : kernels::status_text(status)));
  if (versions.driver != 0 && versions.driver < versions.runtime / 1000 * 1000) {
    report.problem("the NVIDIA driver is older than CUDA 13: install driver 580 or newer");
  } else if (driver_installed()) {
    report.problem(
        "an NVIDIA driver is installed but offers no device: look at nvidia-smi and "
        "CUDA_VISIBLE_DEVICES, and in a container at its GPU option");
  }
}
#else
void describe_gpu(Report& report) {
  report.fact("CUDA", "built without CUDA");
  if (driver_installed()) {
    report.advice(
        "this machine has an NVIDIA driver: install the CUDA toolkit 13.0 or newer and build "
        "again with -DPRAXINO_CUDA=ON to train on its GPU");
  }
}
#endif

constexpr double kMinutesOfMeasuring = 0.25;

// What a run would take on the first GPU: checked there, and measured for a moment.
void describe_kernels(Report& report) {
  const at::Device device = parse_device("auto");
  const auto table = ops::check_kernels(device);
  bench::OpsReport measured;
  if (device.is_cuda()) {
    measured = bench::measure_ops({.device = device,
                                   .ours_alone = true,
                                   .repetitions = 9,
                                   .warm_up_seconds = 0.02,
                                   .pause_seconds = 0,
                                   .minutes = kMinutesOfMeasuring});
  }
  for (const std::string& line : kernel_lines(table, measured)) report.fact("kernels", line);
  for (const ops::KernelStatus& row : table) {
    if (row.state != ops::KernelState::kTurnedDown) continue;
    report.problem(
        fmt::format("the kernel {} is turned down on {}: {}; runs take the formula, "
                    "which is slower: please report this",
                    row.name, device.str(), row.reason));
  }
}

void describe_video(Report& report) {
  const VideoCapabilities capabilities = video_capabilities();
  std::string present;
  for (const CodecSupport& codec : capabilities.codecs) {
    if (codec.decoder) present += (present.empty() ? "" : " ") + codec.name;
  }
  report.fact("video", "decodes " + present);
  report.fact("video",
              capabilities.h264_encoder ? "writes mp4 (H.264)" : "writes mp4 (MPEG-4 part 2)");
  for (const CodecSupport& codec : capabilities.codecs) {
    if (codec.decoder) continue;
    report.problem(
        fmt::format("this FFmpeg has no decoder for {}: install a complete FFmpeg (Debian: "
                    "libavcodec59), or convert such files",
                    codec.name));
  }
}

void describe_launch(Report& report) {
  try {
    const Launch launch =
        find_launch([](const char* name) -> const char* { return std::getenv(name); });
    if (launch.launcher == "none") {
      report.fact("launcher", "none: one process, or praxino train --ranks N");
      return;
    }
    report.fact("launcher",
                fmt::format("{}: rank {} of {}, {} of {} on this machine, store at {}:{}{}",
                            launch.launcher, launch.rank, launch.ranks, launch.local_rank,
                            launch.local_ranks, launch.address, launch.port,
                            launch.agent_store ? " (the launcher's)" : ""));
  } catch (const Error& error) {
    report.problem(error.what());
  }
}

}  // namespace

void add_doctor_command(CLI::App& app, int& exit_code) {
  app.add_subcommand("doctor",
                     "what this build and this machine can do, and what to do about the rest")
      ->callback([&exit_code] {
        Report report;
        describe_build(report);
        describe_processor(report);
        describe_gpu(report);
        describe_kernels(report);
        describe_video(report);
        describe_launch(report);
        exit_code = report.finish();
      });
}

}  // namespace praxino
