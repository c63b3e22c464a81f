#pragma once
// Real runs of the real command on the real clips, small enough for a test.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "praxino/base/file.h"
#include "support/run_log_lines.h"
#include "support/temporary_folder.h"

namespace praxino::testing {

namespace fs = std::filesystem;
using Overrides = std::vector<std::string>;

/// Seconds-long training on two Freedoom clips' worth of pixels; everything below `folder`.
inline fs::path write_tiny_run(const fs::path& folder) {
  const fs::path file = folder / "tiny.yaml";
  write_file_atomic(
      file,
      std::string(R"(
run:        {name: tiny, seed: 3, steps: 40, threads: 1, precision: fp32, output: ")") +
          (folder / "runs").string() + R"("}
data:       {path: ")" +
          PRAXINO_SOURCE_DIR +
          R"(/tests/data/freedoom", clip_frames: 4, fps: 17.5, size: [24, 32], batch: 2, workers: 2,
             split: {val_files: [freedoom2_demo1.mp4]}}
tokenizer:  {patch: 8}
model:      {width: 32, depth: 2, heads: 2, time_every: 2, registers: 1}
optim:      {warmup: 5, lr: 0.01}
checkpoint: {every: 8, keep: 3}
eval:       {clips: 2, context: 2, horizon: 2, batch: 2}
)");
  return file;
}

/// One process of the command. stderr goes to a file.
class Process {
 public:
  Process(const std::vector<std::string>& arguments, fs::path log) : log_(std::move(log)) {
    std::vector<std::string> all = {PRAXINO_BINARY};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& argument : all) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    const bool ok = freopen(log_.c_str(), "w", stderr) && freopen("/dev/null", "w", stdout);
    if (ok) execv(argv[0], argv.data());
    _exit(127);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (!done_) {
      kill(pid_, SIGKILL);
      wait();
    }
  }
  void signal(int number) const { kill(pid_, number); }
  /// Exit code, or 128 + the signal that ended it.
  int wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    done_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string log() const { return read_file(log_); }
  /// The processes that it has started, oldest first.
  std::vector<pid_t> children() const {
    std::ifstream file(fs::path("/proc") / std::to_string(pid_) / "task" / std::to_string(pid_) /
                       "children");
    std::vector<pid_t> found;
    for (pid_t child = 0; file >> child;) found.push_back(child);
    return found;
  }

 private:
  fs::path log_;
  pid_t pid_ = -1;
  bool done_ = false;
};

inline std::vector<std::string> train(const fs::path& run_file, const Overrides& overrides) {
  std::vector<std::string> arguments = {"train", run_file.string()};
  arguments.insert(arguments.end(), overrides.begin(), overrides.end());
  return arguments;
}

/// False after five minutes.
template <class Condition>
bool wait_until(const Condition& holds) {
  for (int i = 0; i < 30000; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

/// Waits until the log holds `step`.
inline bool wait_for_step(const fs::path& run_directory, int64_t step) {
  return wait_until([&] { return losses(run_directory).contains(step); });
}

inline fs::path checkpoint(const fs::path& run_directory, int64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step-%08d", static_cast<int>(step));
  return run_directory / "checkpoints" / name;
}

/// Waits until the checkpoint of `step` is there, or a later one: training goes on while it is
/// written, and deletes old ones.
inline bool wait_for_checkpoint(const fs::path& run_directory, int64_t step) {
  const std::string least = checkpoint(run_directory, step).filename();
  return wait_until([&] {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(run_directory / "checkpoints", none)) {
      const std::string name = entry.path().filename();
      if (name.starts_with("step-") && name >= least) return true;
    }
    return false;
  });
}

/// Where a run went on, as its messages tell; -1: nowhere.
inline int64_t resumed_step(const std::string& log) {
  const std::string words = "resuming at step ";
  const size_t at = log.find(words);
  return at == std::string::npos ? -1 : std::stoll(log.substr(at + words.size()));
}

/// Weights, moments and averages of two checkpoints are the same bytes; the data goes on at the
/// same sample.
inline void expect_same_state(const fs::path& a, const fs::path& b) {
  const auto tensor_files = [](const fs::path& folder) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == ".safetensors") names.insert(entry.path().filename());
    }
    return names;
  };
  EXPECT_GE(tensor_files(a).size(), 3U);  // model, averages, optimizer
  EXPECT_EQ(tensor_files(a), tensor_files(b));
  for (const std::string& file : tensor_files(a)) {
    EXPECT_EQ(read_file(a / file), read_file(b / file)) << file;
  }
  const auto state = [](const fs::path& folder) {
    return nlohmann::json::parse(read_file(folder / "state.json"));
  };
  EXPECT_EQ(state(a)["data"], state(b)["data"]);
  EXPECT_EQ(state(a)["step"], state(b)["step"]);
}

}  // namespace praxino::testing
