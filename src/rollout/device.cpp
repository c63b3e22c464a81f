#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <charconv>

#include "praxino/base/error.h"
#include "praxino/base/processor.h"
#include "praxino/base/threads.h"
#include "praxino/rollout/world.h"

namespace praxino {
namespace {

std::string found_devices(int64_t gpus) {
  if (gpus == 0)
    return "this machine shows no usable GPU (or praxino was built without CUDA): use cpu or auto";
  return fmt::format("this machine has cuda:0{}",
                     gpus == 1 ? "" : fmt::format(" to cuda:{}", gpus - 1));
}

}  // namespace

at::Device parse_device(const std::string& name) {
  const auto gpus = static_cast<int64_t>(at::hasCUDA() ? at::getNumGPUs() : 0);
  if (name == "cpu" || (name == "auto" && gpus == 0)) return at::Device(at::kCPU);
  if (name == "auto") return at::Device(at::kCUDA, 0);
  int64_t index = 0;
  if (name != "cuda") {
    const std::string_view digits = std::string_view(name).substr(std::min<size_t>(name.size(), 5));
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (!name.starts_with("cuda:") || error != std::errc{} ||
        end != digits.data() + digits.size()) {
      fail_usage("device '{}' is not one of auto, cpu, cuda, cuda:N", name);
    }
  }
  if (index < 0 || index >= gpus)
    fail_usage("device '{}' does not exist: {}", name, found_devices(gpus));
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

std::string rank_device(const std::string& name, int64_t local_rank, int64_t local_ranks) {
  const auto gpus = static_cast<int64_t>(at::hasCUDA() ? at::getNumGPUs() : 0);
  if (name == "cpu" || (name == "auto" && gpus == 0)) return "cpu";
  if (name != "auto" && name != "cuda") {
    fail_usage(
        "run.device is {}, but {} ranks run on this machine: auto or cuda gives each its own "
        "GPU",
        name, local_ranks);
  }
  if (local_ranks > gpus) {
    fail_usage("{} ranks on this machine need as many GPUs, and {}", local_ranks,
               found_devices(gpus));
  }
  return fmt::format("cuda:{}", local_rank);
}

bool use_bf16(const std::string& precision, const at::Device& device) {
  if (precision == "auto") return device.is_cuda() || multiplies_bf16();
  return precision == "bf16";
}

void use_threads(const RunSection& run, int64_t processes) {
  // Never more than the default: OMP_NUM_THREADS counts, and so does a container's quota.
  const int share = std::max(1, usable_cores() / static_cast<int>(processes));
  const int cores = std::min(at::get_num_threads(), share);
  at::set_num_threads(run.threads > 0 ? static_cast<int>(run.threads) : cores);
}

}  // namespace praxino
