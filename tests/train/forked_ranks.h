#pragma once
// The ranks of a real run as processes forked from the test, with faults that come from outside:
// LibTorch is loaded already, so that a start costs a fraction of what the command's costs.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "praxino/base/random.h"
#include "praxino/base/safetensors.h"
#include "praxino/checkpoint/store.h"
#include "praxino/parallel/mesh.h"
#include "praxino/train/trainer.h"

namespace praxino::testing {

namespace fs = std::filesystem;

/// In a rank's process: each SIGUSR1 spoils one number of a weight that another rank updates, by
/// NaN or, where copies are checked in every step, by a flipped bit. (What a rank spoils of its own
/// is every rank's, unnoticed: see parallel/replica_check.h.) The names of its own are read from
/// the newest checkpoint.
class WeightSpoiler {
 public:
  WeightSpoiler(const Trainer& trainer, bool checked, int64_t rank, int64_t ranks)
      : thread_([&trainer, checked, rank, ranks](const std::stop_token& stop) {
          Random random(derive_seed(5, "spoiled weights", static_cast<uint64_t>(getpid())));
          while (!stop.stop_requested()) {
            const timespec moment{.tv_sec = 0, .tv_nsec = 20'000'000};
            if (sigtimedwait(&signals(), nullptr, &moment) == SIGUSR1) {
              spoil(trainer, checked, fmt_name(rank, ranks), random);
            }
          }
        }) {}
  /// Before any thread is started: all of them then leave the signal to this object's.
  static void block() { pthread_sigmask(SIG_BLOCK, &signals(), nullptr); }

 private:
  static const sigset_t& signals() {
    static const sigset_t set = [] {
      sigset_t one;
      sigemptyset(&one);
      sigaddset(&one, SIGUSR1);
      return one;
    }();
    return set;
  }
  static std::string fmt_name(int64_t rank, int64_t ranks) {
    char name[64];
    std::snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", static_cast<int>(rank),
                  static_cast<int>(ranks));
    return name;
  }
  static void spoil(const Trainer& trainer, bool checked, const std::string& own_file,
                    Random& random) {
    const fs::path folder = trainer.directory() / "checkpoints";
    const std::vector<int64_t> steps = checkpoint_steps(folder);
    if (steps.empty()) return;
    try {
      const SafetensorsFile own(checkpoint_directory(folder, steps.back()) / own_file);
      std::vector<at::Tensor> others;
      for (const Parameter& parameter : trainer.world().model->parameters().all()) {
        if (own.find(parameter.name) == nullptr) others.push_back(parameter.value);
      }
      if (others.empty()) return;
      const at::Tensor weight =
          others[static_cast<size_t>(random.integer(static_cast<int64_t>(others.size())))];
      auto* words = static_cast<volatile uint32_t*>(weight.data_ptr());
      words += random.integer(weight.numel());
      const bool flip = checked && random.integer(2) == 0;
      *words = flip ? *words ^ (1U << random.integer(32)) : 0x7fc00000U;
    } catch (const std::exception&) {  // that checkpoint has just been deleted
    }
  }

  std::jthread thread_;
};

/// The store of the ranks, in a process of its own: its threads hold locks, of which a process that
/// was forked beside them would wait for one for ever.
class StoreProcess {
 public:
  StoreProcess() {
    int told[2], orders[2];
    if (::pipe(told) != 0 || ::pipe(orders) != 0) throw std::runtime_error("no pipe");
    process_ = ::fork();
    if (process_ == 0) serve(told[1], orders[0]);
    ::close(told[1]);
    ::close(orders[0]);
    orders_ = orders[1];
    if (::read(told[0], &port_, sizeof port_) != sizeof port_) {
      throw std::runtime_error("no store for the ranks");
    }
    ::close(told[0]);
  }
  ~StoreProcess() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    ::close(orders_);
  }
  StoreProcess(const StoreProcess&) = delete;
  StoreProcess& operator=(const StoreProcess&) = delete;
  int64_t port() const { return port_; }
  void tell_end(int64_t start, int64_t rank, int64_t code) const {
    const End end{.start = start, .rank = rank, .code = code};
    EXPECT_EQ(::write(orders_, &end, sizeof end), static_cast<ssize_t>(sizeof end));
  }

 private:
  struct End {
    int64_t start, rank, code;
  };
  [[noreturn]] static void serve(int told, int orders) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      const StoreServer server;
      const int64_t port = server.port();
      if (::write(told, &port, sizeof port) != sizeof port) ::_exit(1);
      for (End end{}; ::read(orders, &end, sizeof end) == sizeof end;) {
        server.tell_end(end.start, end.rank, "ended with code " + std::to_string(end.code));
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "the store: %s\n", error.what());
    }
    ::_exit(1);
  }

  pid_t process_ = 0;
  int orders_ = -1;
  int64_t port_ = 0;
};

/// What a launcher does for its ranks: hosts their store, tells how they ended, starts them again.
/// The process must have one thread when it starts them.
class ForkedRanks {
 public:
  explicit ForkedRanks(int64_t ranks) : ranks_(ranks) {}
  ~ForkedRanks() { end_all(); }
  ForkedRanks(const ForkedRanks&) = delete;
  ForkedRanks& operator=(const ForkedRanks&) = delete;

  /// Messages go to the file `log`.
  void start(const RunConfig& config, const fs::path& log) {
    ++start_;
    processes_.assign(static_cast<size_t>(ranks_), 0);
    codes_.assign(static_cast<size_t>(ranks_), -1);
    for (int64_t rank = 0; rank < ranks_; ++rank) {
      const pid_t child = ::fork();
      if (child == 0) train(config, log, rank);
      processes_[static_cast<size_t>(rank)] = child;
    }
  }
  void signal(int64_t rank, int number) const {
    const pid_t process = processes_[static_cast<size_t>(rank)];
    if (process > 0) ::kill(process, number);
  }
  void limit_files(int64_t rank, rlim_t bytes) const {
    const rlimit limit{.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
    const pid_t process = processes_[static_cast<size_t>(rank)];
    if (process > 0) ::prlimit(process, RLIMIT_FSIZE, &limit, nullptr);
  }

  /// Takes note of ranks that have ended. Whether any still runs.
  bool running() {
    bool any = false;
    for (size_t r = 0; r < processes_.size(); ++r) {
      if (processes_[r] == 0) continue;
      int status = 0;
      if (::waitpid(processes_[r], &status, WNOHANG) == 0) {
        any = true;
        continue;
      }
      processes_[r] = 0;
      codes_[r] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      if (codes_[r] != 0) {
        store_.tell_end(start_, static_cast<int64_t>(r), codes_[r]);
      }
    }
    return any;
  }
  bool all_run() { return running() && std::ranges::count(codes_, -1) == ranks_; }
  /// False when some still run after that time.
  bool wait(std::chrono::milliseconds limit) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (running()) {
      if (std::chrono::steady_clock::now() > until) return false;
      ::usleep(1000);
    }
    return true;
  }
  void end_all() {
    for (int64_t rank = 0; rank < ranks_; ++rank) {
      signal(rank, SIGKILL);
    }
    wait(std::chrono::minutes(5));
  }
  /// Of the last start, by rank: exit code, or 128 + signal.
  const std::vector<int>& codes() const { return codes_; }

 private:
  [[noreturn]] void train(const RunConfig& config, const fs::path& log, int64_t rank) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::signal(SIGXFSZ, SIG_IGN);
    WeightSpoiler::block();
    if (std::freopen(log.c_str(), "a", stderr) == nullptr) ::_exit(127);
    try {
      const Launch launch{.launcher = "a test",
                          .rank = rank,
                          .ranks = ranks_,
                          .local_rank = rank,
                          .local_ranks = ranks_,
                          .address = "127.0.0.1",
                          .port = store_.port(),
                          .agent_store = true,
                          .restart = start_};
      TrainOptions options;
      options.local_ranks = ranks_;
      options.mesh = Mesh::join(
          launch, {.shape = {.data = ranks_},
                   .join_seconds = 300,
                   .silence_seconds = static_cast<double>(config.parallel.timeout),
                   .first_silence_seconds = static_cast<double>(config.parallel.first_timeout),
                   .dumps = fs::path(config.run.output) / config.run.name / "collectives"});
      Trainer trainer(config, options);
      const WeightSpoiler spoiler(trainer, config.parallel.check_weights_every == 1, rank, ranks_);
      ::_exit(trainer.run());
    } catch (const std::exception& error) {
      std::fprintf(stderr, "rank %d of start %d: %s\n", static_cast<int>(rank),
                   static_cast<int>(start_), error.what());
      std::fflush(stderr);
    }
    ::_exit(1);
  }

  int64_t ranks_;
  StoreProcess store_;
  int64_t start_ = 0;
  std::vector<pid_t> processes_;  // 0: has ended
  std::vector<int> codes_;
};

}  // namespace praxino::testing
