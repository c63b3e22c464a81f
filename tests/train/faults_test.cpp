// Runs that everything happens to, against an undisturbed one: equal bits at the end.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <regex>
#include <set>

#include "forked_ranks.h"
#include "praxino/base/file.h"
#include "praxino/base/progress.h"
#include "praxino/data/synthetic.h"
#include "support/repetitions.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using testing::ForkedRanks;

constexpr int64_t kRanks = 2;
/// After which a wait counts as one without an end; no machine is so slow.
constexpr std::chrono::minutes kHangs{5};

class Faults : public ::testing::Test {
 protected:
  RunConfig run(const std::string& name, int64_t steps) const {
    RunConfig config;
    config.run.name = name;
    config.run.output = (folder_ / "runs").string();
    config.run.steps = steps;
    config.run.threads = 1;
    config.run.precision = "fp32";
    config.data.path = (folder_ / "data").string();
    config.data.clip_frames = 4;
    config.data.size = {16, 16};
    config.data.batch = 4;
    config.data.workers = 1;
    config.data.split.val = 0;
    config.model.width = 32;
    config.model.depth = 2;
    config.model.heads = 2;
    config.model.time_every = 2;
    config.optim.kind = "adamw";
    config.optim.lr = 1e-3;
    config.optim.warmup = 5;
    config.checkpoint.every = 1;
    // Nobody ends because of them: who waits for a dead rank so long is found by kHangs.
    config.parallel.timeout = config.parallel.first_timeout = 600;
    return config;
  }
  fs::path folder_of(const RunConfig& config) const {
    return fs::path(config.run.output) / config.run.name;
  }
  int64_t newest(const RunConfig& config) const {
    const std::vector<int64_t> steps = checkpoint_steps(folder_of(config) / "checkpoints");
    return steps.empty() ? -1 : steps.back();
  }
  std::string log() const { return read_file(folder_ / "log"); }
  void start(const RunConfig& config) { ranks_.start(config, folder_ / "log"); }

  /// Trains a whole run, undisturbed; returns its seconds.
  double train(const RunConfig& config) {
    const double begin = monotonic_seconds();
    start(config);
    EXPECT_TRUE(ranks_.wait(kHangs));
    EXPECT_EQ(ranks_.codes(), std::vector<int>(kRanks, 0)) << log();
    return monotonic_seconds() - begin;
  }

  /// All tensors of the last checkpoints are the same bytes; nothing half-written is left.
  void expect_equal_ends(const RunConfig& a, const RunConfig& b) const {
    const auto files = [&](const RunConfig& config) {
      const fs::path end =
          checkpoint_directory(folder_of(config) / "checkpoints", config.run.steps);
      std::map<std::string, std::string> bytes;
      for (const auto& entry : fs::directory_iterator(end)) {
        if (entry.path().extension() != ".safetensors") continue;
        bytes[entry.path().filename()] = read_file(entry.path());
      }
      return bytes;
    };
    EXPECT_EQ(files(a).size(), 3U * kRanks);
    EXPECT_TRUE(files(a) == files(b)) << "other bits after faults";
    for (const auto& entry : fs::directory_iterator(folder_of(b) / "checkpoints")) {
      EXPECT_TRUE(entry.path().filename().string().starts_with("step-")) << entry.path();
    }
  }

  testing::TemporaryFolder folder_;
  ForkedRanks ranks_ = ForkedRanks(kRanks);
  bool made_ = [this] {  // before anything else: a fork has the threads of one
    make_dataset({.world = "pan", .episodes = 2, .frames = 24, .height = 16, .width = 16},
                 folder_ / "data");
    return true;
  }();
};

// A quarter of the kills meets the start; the others any moment of the steps and saves after it.
TEST_F(Faults, AnyRankOrAllKilledAtAnyMicrosecondLosesNothing) {
  constexpr int64_t kSteps = 80;
  const int64_t kills = testing::faults("PRAXINO_KILLS", 100);
  RunConfig straight = run("straight", kSteps);
  straight.checkpoint.every = kSteps;
  train(straight);
  Random random(derive_seed(1, "kills in training", 0));
  std::set<int64_t> after_steps;
  int64_t done = 0, runs = 0, resumed = 0;
  double slowest = 0;  // seconds from a kill to the end of the others
  const double begin = monotonic_seconds();
  while (done < kills) {
    const RunConfig config = run(fmt::format("killed-{}", runs), kSteps);
    int64_t before = newest(config);
    start(config);
    resumed += before >= 0 ? 1 : 0;
    const bool early = random.integer(4) == 0;
    const auto until = std::chrono::steady_clock::now() + kHangs;
    while (!early && newest(config) <= before && ranks_.running()) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << log();
      ::usleep(500);
    }
    ::usleep(static_cast<useconds_t>(random.integer(early ? 150'000 : 60'000)));
    if (ranks_.all_run()) {
      const int64_t doomed = random.integer(kRanks + 1);  // kRanks: all
      for (int64_t rank = 0; rank < kRanks; ++rank) {
        if (doomed == kRanks || doomed == rank) ranks_.signal(rank, SIGKILL);
      }
      after_steps.insert(newest(config));
      ++done;
    }
    // One that was about to join waits longer for the dead than a launcher would let it.
    const double killed = monotonic_seconds();
    const bool ended = ranks_.wait(early ? milliseconds(500) : milliseconds(kHangs));
    if (!early) slowest = std::max(slowest, monotonic_seconds() - killed);
    ASSERT_TRUE(ended || early) << "a rank waits for one that is gone\n" << log();
    if (!ended) ranks_.end_all();
    EXPECT_GE(newest(config), before) << "a checkpoint was lost";
    if (newest(config) < kSteps) continue;
    train(config);  // at its end already
    expect_equal_ends(straight, config);
    ASSERT_FALSE(HasFailure()) << log();
    ++runs;
  }
  const double seconds = monotonic_seconds() - begin;
  const RunConfig last = run(fmt::format("killed-{}", runs), kSteps);
  train(last);
  expect_equal_ends(straight, last);
  EXPECT_GE(after_steps.size(), std::min<size_t>(10, static_cast<size_t>(kills) / 4));
  std::printf(
      "%d kills in %.1f s, %d starts from a checkpoint, %d runs to their end; the others ended "
      "within %.2f s\n",
      static_cast<int>(done), seconds, static_cast<int>(resumed), static_cast<int>(runs + 1),
      slowest);
}

class SpoiledWeight : public Faults {
 protected:
  /// Spoils weights of one rank until all have ended; what they said.
  std::string spoil(const RunConfig& config, int64_t rank) {
    start(config);
    const auto until = std::chrono::steady_clock::now() + kHangs;
    while (ranks_.running() && std::chrono::steady_clock::now() < until) {
      if (newest(config) >= 2) ranks_.signal(rank, SIGUSR1);
      ::usleep(30'000);
    }
    EXPECT_EQ(ranks_.codes(), std::vector<int>(kRanks, 1));
    return log();
  }
};

TEST_F(SpoiledWeight, IsNamedWithItsRankAndNothingOfItsStepIsKept) {
  RunConfig config = run("flipped", 100'000);
  config.parallel.check_weights_every = 1;
  const std::string told = spoil(config, 0);
  std::smatch found;
  ASSERT_TRUE(
      std::regex_search(told, found, std::regex("differ in step ([0-9]+): rank 0's copy of [a-z]")))
      << told;
  EXPECT_EQ(told.find("rank 1's copy"), std::string::npos) << told;
  EXPECT_EQ(newest(config), std::stoll(found[1]) - 1);
}

TEST_F(SpoiledWeight, ThatIsNotANumberIsToldByItsRankWithItsSamples) {
  const std::regex line("step ([0-9]+): the loss of rank 1 is not finite; its samples ([0-9, ]+)");
  std::string told;
  std::smatch found;
  for (int i = 0; i < 60 && found.empty(); ++i) {  // until one meets a forward pass
    RunConfig config = run(fmt::format("nan-{}", i), 100'000);
    config.parallel.check_weights_every = 0;
    config.optim.max_skipped = 1;
    told = spoil(config, 1);
    std::regex_search(told, found, line);
  }
  ASSERT_FALSE(found.empty()) << told;
  const int64_t first = 4 * (std::stoll(found[1]) - 1);  // of its batch of four
  EXPECT_EQ(found[2], fmt::format("{}, {}", first + 2, first + 3));
  EXPECT_EQ(told.find("the loss of rank 0"), std::string::npos) << told;
}

/// What happens to a run in the soak.
enum class Fault { kKillOne, kKillAll, kStop, kTerminate, kFullDisk, kFlippedFile, kSpoiledWeight };
constexpr std::array<const char*, 7> kFaultNames = {
    "kill one", "kill all", "stop", "SIGTERM", "full disk", "flipped file", "spoiled weight"};

class Soak : public Faults {
 protected:
  /// One bit of one file of the newest checkpoint, where there is another one before it.
  void flip_a_bit(const RunConfig& config) {
    const fs::path folder = folder_of(config) / "checkpoints";
    const std::vector<int64_t> steps = checkpoint_steps(folder);
    if (steps.size() < 2) return;
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(checkpoint_directory(folder, steps.back()))) {
      files.push_back(entry.path());
    }
    std::ranges::sort(files);
    const fs::path& file =
        files[static_cast<size_t>(random_.integer(static_cast<int64_t>(files.size())))];
    std::string bytes = read_file(file);
    if (bytes.empty()) return;
    const auto at = static_cast<size_t>(random_.integer(static_cast<int64_t>(bytes.size())));
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random_.integer(8)));
    write_file_atomic(file, bytes);
  }

  void strike(Fault fault, const RunConfig& config) {
    const int64_t rank = random_.integer(kRanks);
    ++struck_[static_cast<size_t>(fault)];
    switch (fault) {
      case Fault::kKillOne: ranks_.signal(rank, SIGKILL); break;
      case Fault::kKillAll: ranks_.end_all(); break;
      case Fault::kStop:  // for less or more than the others wait
        ranks_.signal(rank, SIGSTOP);
        ::usleep(static_cast<useconds_t>(random_.integer(4'000'000)));
        ranks_.signal(rank, SIGCONT);
        break;
      case Fault::kTerminate: ranks_.signal(rank, SIGTERM); break;
      case Fault::kFullDisk:
        ranks_.limit_files(rank, static_cast<rlim_t>(random_.integer(50'000)));
        break;
      case Fault::kFlippedFile:
        ranks_.end_all();
        flip_a_bit(config);
        break;
      case Fault::kSpoiledWeight: ranks_.signal(rank, SIGUSR1); break;
    }
  }

  /// Waits while all ranks run; false when one has ended.
  bool all_run_for(double seconds) {
    const double until = monotonic_seconds() + seconds;
    while (monotonic_seconds() < until) {
      if (!ranks_.all_run()) return false;
      ::usleep(2000);
    }
    return ranks_.all_run();
  }

  Random random_ = Random(derive_seed(1, "soak", 0));
  std::array<int64_t, kFaultNames.size()> struck_ = {};
};

// PRAXINO_SOAK_SECONDS says how long faults go on; PRAXINO_FAULT_SECONDS how far apart they are.
TEST_F(Soak, RandomFaultsLeaveTheBitsOfAnUndisturbedRun) {
  const auto duration = static_cast<double>(testing::faults("PRAXINO_SOAK_SECONDS", 10));
  const auto apart = static_cast<double>(testing::faults("PRAXINO_FAULT_SECONDS", 1));
  constexpr int64_t kSteps = 200;
  RunConfig straight = run("straight", kSteps);
  straight.checkpoint.every = 5;
  straight.optim.max_skipped = 1;  // a step that is not finite ends the start
  const double undisturbed = train(straight);
  const double begin = monotonic_seconds();
  int64_t starts = 0, runs = 0;
  RunConfig config = straight;
  config.run.name = "soaked-0";
  config.parallel.timeout = 2;  // a stop may last longer, and then ends a start
  config.parallel.first_timeout = 20;
  while (monotonic_seconds() - begin < duration || newest(config) < kSteps) {
    config.parallel.check_weights_every = starts++ % 2;  // without, NaN is found by the loss
    start(config);
    while (monotonic_seconds() - begin < duration && all_run_for(2 * apart * random_.uniform())) {
      strike(static_cast<Fault>(random_.integer(kFaultNames.size())), config);
    }
    const bool faults_go_on = monotonic_seconds() - begin < duration;
    const bool ended = ranks_.wait(faults_go_on ? milliseconds(10'000) : milliseconds(kHangs));
    ASSERT_TRUE(ended || faults_go_on) << "ranks wait for each other\n" << log();
    ranks_.end_all();  // what was about to join waits longer than a launcher would let it
    if (newest(config) < kSteps || ranks_.codes() != std::vector<int>(kRanks, 0)) continue;
    expect_equal_ends(straight, config);
    ASSERT_FALSE(HasFailure()) << log();
    if (faults_go_on) config.run.name = fmt::format("soaked-{}", ++runs);
  }
  const double wall = monotonic_seconds() - begin;
  expect_equal_ends(straight, config);
  std::string counts;
  int64_t faults = 0;
  for (size_t i = 0; i < struck_.size(); ++i) {
    counts += fmt::format(", {} {}", struck_[i], kFaultNames[i]);
    faults += struck_[i];
  }
  const double useful = undisturbed * static_cast<double>(runs + 1);
  std::printf("%d faults in %.0f s%s; %d starts; effective training time %.0f %%\n",
              static_cast<int>(faults), wall, counts.c_str(), static_cast<int>(starts),
              100 * useful / wall);
}

}  // namespace
}  // namespace praxino
