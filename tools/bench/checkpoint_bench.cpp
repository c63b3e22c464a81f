// How long training waits for a checkpoint, and how fast it reaches the disk, beside a plain write
// and sync of the same bytes by the same process into the same folder.
//
//   checkpoint_bench [millions of parameters] [folder] [repetitions] [ranks]
//
// Default: 100 million float32 weights with their average and two moments (1.6 GB), the folder for
// temporary files, 5, 1. The first line is of a save that takes fresh memory for its copy, the
// second of one whose memory was made ready (BackgroundSaves::prepare) two seconds before, the
// others' was used before. Ranks are threads here, each with its share; the plain write is one file
// by one thread.

#include <ATen/ops/randn.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/progress.h"
#include "praxino/checkpoint/background.h"

namespace praxino::bench {
namespace {

namespace fs = std::filesystem;

NamedTensors matrices(const std::string& prefix, int64_t values) {
  constexpr int64_t kMatrix = 1024 * 4096;  // as large as a layer's
  NamedTensors tensors;
  for (int64_t done = 0; done < values; done += kMatrix) {
    tensors.emplace_back(prefix + std::to_string(done),
                         at::randn({std::min(kMatrix, values - done)}));
  }
  return tensors;
}

/// The names begin with the number of the rank whose share it is.
TrainState large_state(int64_t parameters, int64_t rank) {
  const std::string number = std::to_string(rank);
  TrainState state;
  state.files["model"] = matrices(number + ".w", parameters);
  state.files["ema"] = matrices(number + ".w", parameters);
  state.files["optimizer"] = matrices(number + ".m", 2 * parameters);
  state.state_json = "{}\n";
  return state;
}

/// Seconds to write all tensors into one file, call after call, and sync it, as `dd` does.
double plain_write(const std::vector<TrainState>& shares, const fs::path& path) {
  const double start = monotonic_seconds();
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) fail("cannot create '{}'", path.string());
  const auto put = [&](const at::Tensor& tensor) {
    const auto* bytes = static_cast<const char*>(tensor.const_data_ptr());
    for (size_t done = 0; done < tensor.nbytes();) {
      const ssize_t count = ::write(fd, bytes + done, tensor.nbytes() - done);
      if (count < 0) fail("cannot write '{}'", path.string());
      done += static_cast<size_t>(count);
    }
  };
  for (const TrainState& share : shares) {
    for (const auto& [file, tensors] : share.files) {
      for (const auto& [name, tensor] : tensors) put(tensor);
    }
  }
  if (::fsync(fd) != 0) fail("cannot sync '{}'", path.string());
  ::close(fd);
  const double seconds = monotonic_seconds() - start;
  fs::remove(path);
  return seconds;
}

/// Ranks that are threads of this process.
class Threads {
 public:
  explicit Threads(int64_t ranks) : texts_(static_cast<size_t>(ranks)), all_(ranks) {}
  SaveGroup group(int64_t rank) {
    return {.rank = rank,
            .ranks = static_cast<int64_t>(texts_.size()),
            .exchange = [this, rank](const std::string& text) {
              texts_[static_cast<size_t>(rank)] = text;
              all_.arrive_and_wait();
              std::vector<std::string> texts = texts_;
              all_.arrive_and_wait();
              return texts;
            }};
  }

 private:
  std::vector<std::string> texts_;
  std::barrier<> all_;
};

struct Seconds {
  double waited = 0;  // by the rank that waited longest
  double saved = 0;   // until every rank knew of it
};

/// One save by all ranks, each on a thread of its own.
Seconds save(std::vector<std::unique_ptr<BackgroundSaves>>& saves,
             const std::vector<TrainState>& shares) {
  std::vector<double> waited(saves.size());
  const double start = monotonic_seconds();
  {
    std::vector<std::jthread> ranks;
    for (size_t rank = 0; rank < saves.size(); ++rank) {
      ranks.emplace_back([&, rank] {
        saves[rank]->begin(shares[rank]);
        waited[rank] = monotonic_seconds() - start;
        saves[rank]->finish();
      });
    }
  }
  const double longest = *std::max_element(waited.begin(), waited.end());
  return {.waited = longest, .saved = monotonic_seconds() - start - longest};
}

struct Options {
  int64_t parameters = 100'000'000;
  fs::path folder = fs::temp_directory_path();
  int repetitions = 5;
  int64_t ranks = 1;
};

void run(const Options& options) {
  const ScratchFolder scratch(options.folder / "praxino-checkpoint-bench");
  Threads threads(options.ranks);
  std::vector<TrainState> shares;
  std::vector<std::unique_ptr<CheckpointStore>> stores;
  std::vector<std::unique_ptr<BackgroundSaves>> fresh, saves;
  for (int64_t rank = 0; rank < options.ranks; ++rank) {
    shares.push_back(large_state(options.parameters / options.ranks, rank));
    stores.push_back(
        std::make_unique<CheckpointStore>(scratch.path() / "checkpoints", 3, threads.group(rank)));
    fresh.push_back(std::make_unique<BackgroundSaves>(*stores.back()));
    saves.push_back(std::make_unique<BackgroundSaves>(*stores.back()));
  }
  const double megabytes = 16e-6 * static_cast<double>(options.parameters);
  std::printf("%.0f MB a checkpoint of %lld ranks\n%12s %12s %12s %12s %8s\n", megabytes,
              static_cast<long long>(options.ranks), "waited s", "saved s", "saved MB/s",
              "plain MB/s", "ratio");
  for (int i = 0; i < options.repetitions; ++i) {
    for (TrainState& share : shares) share.step = i;
    const Seconds took = save(i == 0 ? fresh : saves, shares);
    fresh.clear();
    for (size_t rank = 0; i == 0 && rank < saves.size(); ++rank) saves[rank]->prepare(shares[rank]);
    if (i == 0) std::this_thread::sleep_for(std::chrono::seconds(2));
    const double plain = plain_write(shares, scratch.path() / "plain");
    std::printf("%12.3f %12.2f %12.0f %12.0f %8.2f\n", took.waited, took.saved,
                megabytes / took.saved, megabytes / plain, plain / took.saved);
  }
}

}  // namespace
}  // namespace praxino::bench

int main(int argc, char** argv) {
  const auto argument = [&](int i, const char* otherwise) {
    return std::string(argc > i ? argv[i] : otherwise);
  };
  try {
    const std::string temporary = std::filesystem::temp_directory_path().string();
    praxino::bench::run(
        {.parameters = static_cast<int64_t>(std::atof(argument(1, "100").c_str()) * 1e6),
         .folder = argument(2, temporary.c_str()),
         .repetitions = std::atoi(argument(3, "5").c_str()),
         .ranks = std::atoll(argument(4, "1").c_str())});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
