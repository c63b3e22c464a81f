#include "praxino/parallel/spawn.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <optional>
#include <thread>

#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/base/signals.h"
#include "praxino/parallel/launch.h"
#include "praxino/parallel/mesh.h"

namespace praxino {
namespace {

constexpr std::chrono::milliseconds kPause{10};

/// How a rank ended: its exit code, or 128 + the signal that ended it.
struct End {
  int64_t rank = 0;
  int code = 0;
  bool by_signal = false;
  std::string how() const {
    return by_signal ? fmt::format("was ended by signal {} ({})", code - 128, strsignal(code - 128))
                     : fmt::format("ended with exit code {}", code);
  }
  std::string text() const { return fmt::format("rank {} {}", rank, how()); }
};

/// Codes that another start would only repeat, or that were asked for.
bool is_final(const End& end) {
  return !end.by_signal && (end.code == 2 || end.code == 3 || end.code == 130 || end.code == 143);
}

std::vector<std::string> environment_of(int64_t rank, int64_t ranks, int64_t port,
                                        int64_t restart) {
  std::map<std::string, std::string> variables;
  for (char** v = environ; *v != nullptr; ++v) {
    const std::string text = *v;
    variables[text.substr(0, text.find('='))] = text;
  }
  const auto set = [&](const std::string& name, const std::string& value) {
    variables[name] = name + "=" + value;
  };
  set("RANK", std::to_string(rank));
  set("WORLD_SIZE", std::to_string(ranks));
  set("LOCAL_RANK", std::to_string(rank));
  set("LOCAL_WORLD_SIZE", std::to_string(ranks));
  set("MASTER_ADDR", "127.0.0.1");
  set("MASTER_PORT", std::to_string(port));
  set("TORCHELASTIC_RESTART_COUNT", std::to_string(restart));
  set("TORCHELASTIC_USE_AGENT_STORE", "True");
  set("TORCHELASTIC_RUN_ID", kSpawnedRun);
  std::vector<std::string> all;
  for (auto& [name, text] : variables) all.push_back(std::move(text));
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

/// One start of all ranks. Kills whoever is left when destroyed.
class World {
 public:
  World(const SpawnOptions& options, int64_t restart) : options_(options), restart_(restart) {
    for (int64_t rank = 0; rank < options.ranks; ++rank) start(rank, restart);
  }
  ~World() {
    signal_all(SIGKILL);
    while (!running_.empty()) reap(0);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// Until every rank has ended. The first that ended badly; nothing when none did.
  std::optional<End> wait(const StopSignal& stop) {
    std::optional<End> first;
    std::chrono::steady_clock::time_point kill_at;
    bool forwarded = false;
    while (!running_.empty()) {
      if (stop.requested() && !forwarded) {
        signal_all(stop.exit_code() - 128);
        forwarded = true;
      }
      const std::optional<End> end = reap(WNOHANG);
      if (!end) {
        if (first && std::chrono::steady_clock::now() > kill_at) signal_all(SIGKILL);
        std::this_thread::sleep_for(kPause);
        continue;
      }
      if (end->code != 0) tell(*end);
      if (end->code != 0 && !first) {
        first = end;
        // A stop that was asked for leaves every rank the time to save.
        if (!is_final(*end)) log::error("{}", end->text());
        const bool saving = end->code == 130 || end->code == 143;
        kill_at = std::chrono::steady_clock::now() +
                  (saving ? std::chrono::milliseconds(30000) : options_.grace);
      }
    }
    return first;
  }

 private:
  void start(int64_t rank, int64_t restart) {
    std::vector<std::string> arguments = options_.arguments;
    std::vector<std::string> environment =
        environment_of(rank, options_.ranks, store_.port(), restart);
    const std::vector<char*> argv = pointers(arguments), envp = pointers(environment);
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child < 0) fail("cannot start rank {}: {}", rank, std::strerror(errno));
    if (child == 0) {  // only calls that are safe beside other threads
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (getppid() != parent) _exit(1);
      setpgid(0, 0);  // a terminal's Ctrl-C comes once, from here
      execve("/proc/self/exe", argv.data(), envp.data());
      _exit(127);
    }
    running_[child] = rank;
  }

  void tell(const End& end) const {
    try {
      store_.tell_end(restart_, end.rank, end.how());
    } catch (const std::exception&) {  // they find out by themselves
    }
  }

  void signal_all(int signal) const {
    for (const auto& [process, rank] : running_) kill(process, signal);
  }

  std::optional<End> reap(int flags) {
    for (const auto& [process, rank] : running_) {
      int status = 0;
      const pid_t ended = waitpid(process, &status, flags);
      if (ended != process) continue;
      const End end{.rank = rank,
                    .code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                    .by_signal = WIFSIGNALED(status)};
      running_.erase(process);
      return end;
    }
    return std::nullopt;
  }

  const SpawnOptions& options_;
  const int64_t restart_;
  StoreServer store_;
  std::map<pid_t, int64_t> running_;  // rank of each process
};

}  // namespace

int run_ranks(const SpawnOptions& options) {
  const StopSignal stop;
  int64_t fruitless = 0;
  for (int64_t restart = 0;; ++restart) {
    const int64_t before = options.progress ? options.progress() : 0;
    const std::optional<End> end = World(options, restart).wait(stop);
    if (!end) return 0;
    if (stop.requested()) return stop.exit_code();
    if (is_final(*end)) return end->code;
    const bool progress = options.progress && options.progress() > before;
    fruitless = progress ? 0 : fruitless + 1;
    if (options.fruitless == 1) fail("{}", end->text());
    if (fruitless >= options.fruitless) {
      fail("{}; given up after {} starts in a row without a new checkpoint", end->text(),
           fruitless);
    }
    log::warning("starting all {} ranks again from the newest checkpoint", options.ranks);
  }
}

}  // namespace praxino
