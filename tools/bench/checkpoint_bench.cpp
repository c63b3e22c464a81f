// How long training waits for a checkpoint, and how fast it reaches the disk, beside a plain write
// and sync of the same bytes by the same process into the same folder.
//
//   checkpoint_bench [millions of parameters] [folder] [repetitions]
//
// Default: 100 million float32 weights with their average and two moments (1.6 GB), the folder for
// temporary files, 5. The first repetition takes fresh memory for the copy; the others reuse it.

#include <ATen/ops/randn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
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

TrainState large_state(int64_t parameters) {
  TrainState state;
  state.files["model"] = matrices("w", parameters);
  state.files["ema"] = matrices("w", parameters);
  state.files["optimizer-00000-of-00001"] = matrices("m", 2 * parameters);
  state.state_json = "{}\n";
  return state;
}

/// Seconds to write all tensors into one file, call after call, and sync it, as `dd` does.
double plain_write(const TrainState& state, const fs::path& path) {
  const double start = monotonic_seconds();
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) fail("cannot create '{}'", path.string());
  for (const auto& [file, tensors] : state.files) {
    for (const auto& [name, tensor] : tensors) {
      const auto* bytes = static_cast<const char*>(tensor.const_data_ptr());
      const size_t size = tensor.nbytes();
      for (size_t done = 0; done < size;) {
        const ssize_t count = ::write(fd, bytes + done, size - done);
        if (count < 0) fail("cannot write '{}'", path.string());
        done += static_cast<size_t>(count);
      }
    }
  }
  if (::fsync(fd) != 0) fail("cannot sync '{}'", path.string());
  ::close(fd);
  const double seconds = monotonic_seconds() - start;
  fs::remove(path);
  return seconds;
}

void run(int64_t parameters, const fs::path& folder, int repetitions) {
  const ScratchFolder scratch(folder / "praxino-checkpoint-bench");
  TrainState state = large_state(parameters);
  const double megabytes = 16e-6 * static_cast<double>(parameters);
  std::printf("%.0f MB a checkpoint\n%12s %12s %12s %12s %8s\n", megabytes, "waited s", "saved s",
              "saved MB/s", "plain MB/s", "ratio");
  CheckpointStore store(scratch.path() / "checkpoints");
  BackgroundSaves saves(store);
  for (int i = 0; i < repetitions; ++i) {
    state.step = i;
    const double start = monotonic_seconds();
    saves.begin(state);
    const double waited = monotonic_seconds() - start;
    saves.finish();
    const double saved = monotonic_seconds() - start - waited;
    const double plain = plain_write(state, scratch.path() / "plain");
    std::printf("%12.3f %12.2f %12.0f %12.0f %8.2f\n", waited, saved, megabytes / saved,
                megabytes / plain, plain / saved);
  }
}

}  // namespace
}  // namespace praxino::bench

int main(int argc, char** argv) {
  const auto argument = [&](int i, const char* otherwise) {
    return std::string(argc > i ? argv[i] : otherwise);
  };
  const double millions = std::atof(argument(1, "100").c_str());
  const int repetitions = std::atoi(argument(3, "5").c_str());
  try {
    const std::string temporary = std::filesystem::temp_directory_path().string();
    praxino::bench::run(static_cast<int64_t>(millions * 1e6), argument(2, temporary.c_str()),
                        repetitions);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
