#include "praxino/train/bench.h"

#include <ATen/Parallel.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "praxino/base/error.h"
#include "praxino/base/progress.h"
#include "praxino/rollout/world.h"

namespace praxino {
namespace {

using Shares = std::vector<std::pair<std::string, double>>;

/// A folder of its own that ends with it; rank 0 names it for all, who may be on other machines.
class SharedFolder {
 public:
  explicit SharedFolder(const Mesh* mesh) {
    std::string path = (std::filesystem::temp_directory_path() / "praxino-bench-XXXXXX").string();
    const bool first = mesh == nullptr || mesh->first();
    if (first && mkdtemp(path.data()) == nullptr) path.clear();
    if (mesh != nullptr) path = mesh->world().all_gather_text(path).front();
    if (path.empty())
      fail("cannot make a folder in {}", std::filesystem::temp_directory_path().string());
    path_ = path;
  }
  ~SharedFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// Waits for the device: a number from it has to arrive.
void finish(const at::Tensor& scalar) { static_cast<void>(scalar.item<float>()); }

/// The best of the products of half a second, in FLOP a second.
double measure_product(const at::Device& device, at::ScalarType type, int64_t n) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  const at::Tensor a = at::randn({n, n}, options).to(type), b = at::randn({n, n}, options).to(type);
  const auto flop = 2 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  double best = 0;
  const double begin = monotonic_seconds();
  for (int i = 0; i < 4 || monotonic_seconds() - begin < 0.5; ++i) {
    const double start = monotonic_seconds();
    finish(at::mm(a, b)[0][0].to(at::kFloat));
    best = std::max(best, flop / (monotonic_seconds() - start));
  }
  return best;
}

double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

/// VmHWM of /proc/self/status.
double largest_resident_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return 1024 * std::stod(line.substr(6));
  }
  return 0;
}

double peak_memory(const at::Device& device) {
  if (device.is_cpu()) return largest_resident_memory();
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return static_cast<double>(stats.allocated_bytes[0].peak);
}

/// The quick look that a training run takes at its data and its folder, without their cost here.
RunConfig for_bench(RunConfig config, const std::string& folder) {
  constexpr int64_t kEndless = int64_t{1} << 30;
  config.run.output = folder;
  config.run.steps = kEndless;
  config.run.max_minutes = 0;
  config.checkpoint.every = kEndless;
  config.checkpoint.background = false;  // which sets memory aside for copies
  config.eval.every = 0;
  config.expect.clear();
  return config;
}

/// What one data rank does by itself, in a process that is told of no others.
RunConfig without_others(RunConfig config, const Mesh& mesh) {
  config.run.name += fmt::format("-alone-{}", mesh.rank());
  config.data.batch /= mesh.shape().data;
  config.parallel = {};
  return config;
}

/// A training whose steps are timed.
class TimedTraining {
 public:
  TimedTraining(const RunConfig& config, const TrainOptions& options, int64_t warm_up)
      : trainer(config, options) {
    for (int64_t i = 0; i < warm_up; ++i) finish(trainer.step().gradient_norm);
  }
  void measure(int64_t steps) {
    for (int64_t i = 0; i < steps; ++i) {
      const double begin = monotonic_seconds();
      finish(trainer.step().gradient_norm);
      seconds.push_back(monotonic_seconds() - begin);
      waited += trainer.loader_wait_seconds();
      all += seconds.back();
    }
  }

  Trainer trainer;
  std::vector<double> seconds;  // of each measured step
  double waited = 0, all = 0;   // for the loader; together
};

/// What a rank tells the others.
struct OwnFigures {
  double loader_wait = 0, peak_flops = 0, peak_bytes = 0;
  Shares exposed;
  double apart = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(OwnFigures, loader_wait, peak_flops, peak_bytes, exposed, apart)

std::vector<OwnFigures> gather(const Mesh* mesh, const OwnFigures& own) {
  if (mesh == nullptr) return {own};
  std::vector<OwnFigures> all;
  for (const std::string& text : mesh->world().all_gather_text(nlohmann::json(own).dump())) {
    all.push_back(nlohmann::json::parse(text));
  }
  return all;
}

/// Since `before`, as shares of `seconds`.
Shares exposed_since(const Shares& before, const Mesh& mesh, bool gpu, double seconds) {
  Shares shares = mesh.waited();
  for (size_t i = 0; i < shares.size(); ++i) {
    shares[i].second = (shares[i].second - before[i].second) / seconds;
  }
  if (gpu) std::erase_if(shares, [](const auto& share) { return share.first == "world"; });
  return shares;
}

double sum(const Shares& shares) {
  double all = 0;
  for (const auto& [name, share] : shares) all += share;
  return all;
}

void take_communication(TrainBench& bench, const std::vector<OwnFigures>& all) {
  bench.exposed = all.front().exposed;
  for (size_t group = 0; group < bench.exposed.size(); ++group) {
    double total = 0;
    for (const OwnFigures& rank : all) total += rank.exposed[group].second;
    bench.exposed[group].second = total / static_cast<double>(all.size());
  }
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const double share = sum(all[rank].exposed);
    if (share <= bench.exposed_most) continue;
    bench.exposed_most = share;
    bench.exposed_rank = static_cast<int64_t>(rank);
  }
}

/// In turns, so that what else the machine does meets all three alike.
TrainComparison compare(TimedTraining& together, const RunConfig& config,
                        const TrainBenchOptions& options, OwnFigures& own) {
  constexpr int64_t kRounds = 5;
  const Mesh& mesh = *options.launch.mesh;
  TrainOptions single = options.launch;
  single.mesh = nullptr;
  single.start = StartClock();
  TimedTraining alone(without_others(config, mesh), single, options.warm_up);
  std::vector<double> apart_seconds, alone_seconds, together_seconds;
  const auto measure = [](TimedTraining& training, int64_t steps, std::vector<double>& seconds) {
    training.seconds.clear();
    training.measure(steps);
    seconds.insert(seconds.end(), training.seconds.begin(), training.seconds.end());
  };
  const int64_t steps = (options.steps + kRounds - 1) / kRounds;
  for (int64_t round = 0; round < kRounds; ++round) {
    measure(together, steps, together_seconds);
    mesh.world().barrier();
    measure(alone, steps, apart_seconds);
    mesh.world().barrier();
    if (mesh.first()) measure(alone, steps, alone_seconds);
    mesh.world().barrier();
  }
  own.apart = quantile(apart_seconds, 0.5);
  TrainComparison result;
  result.steps = kRounds * steps;
  result.together = quantile(together_seconds, 0.5);
  if (mesh.first()) result.alone = quantile(alone_seconds, 0.5);
  return result;
}

}  // namespace

TrainBench measure_training(RunConfig config, const TrainBenchOptions& options) {
  const Mesh* mesh = options.launch.mesh.get();
  const SharedFolder folder(mesh);
  config = for_bench(std::move(config), folder.path());
  TimedTraining training(config, options.launch, std::max<int64_t>(options.warm_up, 1));
  const World& world = training.trainer.world();
  const bool gpu = !world.device.is_cpu();
  const bool bf16 = use_bf16(config.run.precision, world.device);

  OwnFigures own;
  if (mesh != nullptr) mesh->measure_streams();
  const Shares before = mesh != nullptr ? mesh->waited() : Shares();
  training.measure(options.steps);
  own.loader_wait = training.waited / training.all;
  if (mesh != nullptr) own.exposed = exposed_since(before, *mesh, gpu, training.all);
  own.peak_bytes = peak_memory(world.device);

  TrainBench bench;
  bench.run = config.run.name;
  bench.steps = options.steps;
  bench.median = quantile(training.seconds, 0.5);
  bench.low = quantile(training.seconds, 0.2);
  bench.high = quantile(training.seconds, 0.8);
  bench.start = training.trainer.start();
  if (mesh != nullptr) bench.mesh = mesh->shape();
  if (options.compare && bench.ranks() > 1) {
    bench.comparison = compare(training, config, options, own);
  }

  const auto clips = static_cast<double>(config.data.batch * config.optim.gradient_accumulation);
  bench.frames = clips * static_cast<double>(config.data.clip_frames);
  bench.tokens =
      bench.frames * static_cast<double>(world.model->grid().count() + config.model.registers);
  bench.flops = 3 * world.model->forward_flops(config.data.clip_frames) * clips;
  bench.precision = bf16 ? "bf16" : "fp32";
  bench.device = gpu ? world.device.str() : fmt::format("cpu, {} threads", at::get_num_threads());
  bench.product_size = gpu ? 8192 : 1024;
  if (mesh != nullptr) mesh->world().barrier();
  own.peak_flops =
      measure_product(world.device, bf16 ? at::kBFloat16 : at::kFloat, bench.product_size);

  const std::vector<OwnFigures> all = gather(mesh, own);
  for (const OwnFigures& rank : all) {
    bench.loader_wait = std::max(bench.loader_wait, rank.loader_wait);
    bench.peak_bytes = std::max(bench.peak_bytes, rank.peak_bytes);
    bench.peak_flops += rank.peak_flops;
    if (bench.comparison) bench.comparison->apart = std::max(bench.comparison->apart, rank.apart);
  }
  take_communication(bench, all);
  return bench;
}

}  // namespace praxino
