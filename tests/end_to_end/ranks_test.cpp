// Several processes: `praxino train --ranks N`, and ranks started as torchrun would.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <sstream>

#include "end_to_end/training_run.h"
#include "praxino/base/random.h"
#include "support/repetitions.h"

namespace praxino::testing {
namespace {

// So many steps that a run is still under way when this process has its turn to disturb it.
const std::string kLong = "run.steps=120";

class RanksTraining : public ::testing::Test {
 protected:
  std::vector<std::string> command(int ranks, const std::string& name,
                                   const Overrides& more = {}) const {
    Overrides all = {"run.name=" + name, "data.batch=4", "optim.kind=adamw", "optim.lr=0.001"};
    all.insert(all.end(), more.begin(), more.end());
    if (ranks > 0) all.insert(all.end(), {"--ranks", std::to_string(ranks)});
    return train(run_file_, all);
  }
  int run(int ranks, const std::string& name, const Overrides& more = {}) {
    Process process(command(ranks, name, more), folder_.path() / "log");
    const int code = process.wait();
    log_ = process.log();
    return code;
  }
  /// Kills launcher and ranks at once when the log holds `step` and the last checkpoint before it,
  /// which a thread writes, is there.
  void run_until(int ranks, const std::string& name, int64_t step) {
    Process process(command(ranks, name, {kLong}), folder_.path() / "killed");
    ASSERT_TRUE(wait_for_step(folder_.path() / "runs" / name, step)) << process.log();
    ASSERT_TRUE(wait_for_checkpoint(folder_.path() / "runs" / name, step / 8 * 8)) << process.log();
    const std::vector<pid_t> children = process.children();
    ASSERT_EQ(children.size(), static_cast<size_t>(ranks));
    process.signal(SIGKILL);
    for (const pid_t child : children) kill(child, SIGKILL);
    EXPECT_EQ(process.wait(), 128 + SIGKILL);
  }
  void expect_curve_of(const std::string& name, const std::string& reference) const {
    const auto got = losses(folder_.path() / "runs" / name);
    const auto want = losses(folder_.path() / "runs" / reference);
    ASSERT_EQ(got.size(), want.size());
    for (const auto& [step, loss] : want) {
      EXPECT_NEAR(got.at(step), loss, 1e-4 * loss) << "step " << step;
    }
  }

  TemporaryFolder folder_;
  fs::path run_file_ = write_tiny_run(folder_.path());
  std::string log_;
};

TEST_F(RanksTraining, FourKilledTwoKilledOneSeesEachSampleOnce) {
  ASSERT_EQ(run(0, "straight", {kLong}), 0) << log_;
  run_until(4, "cut", 10);
  run_until(2, "cut", 35);
  ASSERT_EQ(run(0, "cut", {kLong}), 0) << log_;
  EXPECT_GE(resumed_step(log_), 32) << log_;
  expect_curve_of("cut", "straight");
  const auto state = [&](const char* name) {
    return nlohmann::json::parse(
        read_file(checkpoint(folder_.path() / "runs" / name, 120) / "state.json"));
  };
  EXPECT_EQ(state("cut")["data"], state("straight")["data"]);
}

TEST_F(RanksTraining, ADeadRankIsNamedAndAllStartAgain) {
  ASSERT_EQ(run(2, "straight", {kLong}), 0) << log_;
  Process process(command(2, "cut", {kLong}), folder_.path() / "cut.log");
  ASSERT_TRUE(wait_for_step(folder_.path() / "runs/cut", 12)) << process.log();
  kill(process.children().at(1), SIGKILL);
  EXPECT_EQ(process.wait(), 0) << process.log();
  EXPECT_NE(process.log().find("was ended by signal 9 (Killed)"), std::string::npos);
  EXPECT_NE(process.log().find("failed: "), std::string::npos) << process.log();  // rank 0's
  EXPECT_NE(
      process.log().find("; rank 1 was ended by signal 9 (Killed); its last there was number"),
      std::string::npos)
      << process.log();
  EXPECT_NE(process.log().find("starting all 2 ranks again"), std::string::npos);
  EXPECT_EQ(losses(folder_.path() / "runs/cut"), losses(folder_.path() / "runs/straight"));
  expect_same_state(checkpoint(folder_.path() / "runs/straight", 120),
                    checkpoint(folder_.path() / "runs/cut", 120));
}

// Evaluations, of which each rank makes a part, bring the blocks' weights one by one as training
// does.
TEST_F(RanksTraining, ShardedWeightsLearnAndAreEvaluatedAsInOneProcess) {
  const Overrides evaluated = {"run.steps=16", "eval.every=8", "eval.clips=6", "optim.ema=0.9"};
  Overrides sharded = evaluated;
  sharded.insert(sharded.end(),
                 {"parallel.shard_weights=true", "model.activation_checkpointing=true"});
  ASSERT_EQ(run(0, "whole", evaluated), 0) << log_;
  ASSERT_EQ(run(2, "sharded", sharded), 0) << log_;
  expect_curve_of("sharded", "whole");
  std::map<int64_t, double> got, want;
  for (auto* figures : {&got, &want}) {
    for (const auto& line :
         read_log(folder_.path() / "runs" / (figures == &got ? "sharded" : "whole")))
      if (line.contains("eval/loss")) (*figures)[line["step"]] = line["eval/loss"];
  }
  EXPECT_EQ(want.size(), 2U);
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [step, loss] : want) EXPECT_NEAR(got.at(step), loss, 1e-4 * loss) << step;
  // And on without sharding, from the checkpoint of the other two.
  ASSERT_EQ(run(0, "sharded", {"run.steps=20"}), 0) << log_;
  EXPECT_NE(log_.find("resuming at step 16"), std::string::npos) << log_;
  ASSERT_EQ(run(2, "refused", {"parallel.shard_weights=true"}), 2) << log_;
  EXPECT_NE(log_.find("needs model.activation_checkpointing"), std::string::npos) << log_;
}

// Every step is saved, so that a save is under way at nearly every moment.
TEST_F(RanksTraining, ARankKilledAtAnyMomentOfASaveLosesNothing) {
  const int64_t kills = faults("PRAXINO_KILLS", 3);
  const std::string steps = "run.steps=" + std::to_string(30 + 10 * kills);
  ASSERT_EQ(run(2, "straight", {steps}), 0) << log_;
  const fs::path cut = folder_.path() / "runs/cut";
  Process process(command(2, "cut", {steps, "checkpoint.every=1"}), folder_.path() / "cut.log");
  Random random(derive_seed(1, "killed ranks", 0));
  for (int64_t i = 0; i < kills; ++i) {
    ASSERT_TRUE(wait_for_checkpoint(cut, 5 + 10 * i)) << process.log();
    std::this_thread::sleep_for(std::chrono::microseconds(random.integer(100'000)));
    const std::vector<pid_t> ranks = process.children();
    if (ranks.size() == 2) kill(ranks[static_cast<size_t>(random.integer(2))], SIGKILL);
  }
  EXPECT_EQ(process.wait(), 0) << process.log();
  EXPECT_EQ(losses(cut), losses(folder_.path() / "runs/straight"));
  const int64_t last = 30 + 10 * kills;
  expect_same_state(checkpoint(folder_.path() / "runs/straight", last), checkpoint(cut, last));
  for (const auto& entry : fs::directory_iterator(cut / "checkpoints")) {
    EXPECT_TRUE(entry.path().filename().string().starts_with("step-")) << entry.path();
  }
}

TEST_F(RanksTraining, ADamagedPartIsNamedAndTheCheckpointBeforeItTaken) {
  ASSERT_EQ(run(2, "damaged", {"run.steps=16"}), 0) << log_;
  const fs::path directory = folder_.path() / "runs/damaged";
  const fs::path part = checkpoint(directory, 16) / "optimizer-00001-of-00002.safetensors";
  std::string bytes = read_file(part);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file_atomic(part, bytes);
  ASSERT_EQ(run(2, "damaged", {"run.steps=16"}), 0) << log_;
  EXPECT_NE(log_.find(part.string() + "' has changed since it was written"), std::string::npos)
      << log_;
  EXPECT_NE(log_.find("resuming at step 8"), std::string::npos) << log_;
  fs::remove(checkpoint(directory, 16) / "ema-00000-of-00002.safetensors");
  ASSERT_EQ(run(0, "damaged", {"run.steps=16"}), 0) << log_;
  EXPECT_NE(log_.find("ema-00000-of-00002.safetensors' is missing"), std::string::npos) << log_;
  EXPECT_NE(log_.find("resuming at step 8"), std::string::npos) << log_;
}

/// A folder and a file change their names, at once where the file system can: in between, a save
/// would make the folder anew.
void swap_names(const fs::path& folder, const fs::path& file) {
  if (::renameat2(AT_FDCWD, folder.c_str(), AT_FDCWD, file.c_str(), RENAME_EXCHANGE) == 0) return;
  fs::rename(folder, folder.string() + ".elsewhere");
  fs::rename(file, folder);
}

// Where nothing can be saved any more the ranks end at one step, all with the same reason.
TEST_F(RanksTraining, AFolderThatIsGoneEndsAllWithTheSameWords) {
  Process process(command(2, "gone", {"run.steps=100000"}), folder_.path() / "gone.log");
  const fs::path checkpoints = folder_.path() / "runs/gone/checkpoints";
  ASSERT_TRUE(wait_for_checkpoint(folder_.path() / "runs/gone", 8)) << process.log();
  write_file_atomic(folder_ / "file", "a file where the folder was");
  swap_names(checkpoints, folder_ / "file");
  EXPECT_EQ(process.wait(), 1) << process.log();
  std::istringstream log(process.log());
  std::vector<std::string> reasons;
  for (std::string line; std::getline(log, line);) {
    const size_t begin = line.find("the checkpoint of step");
    if (line.find("was not saved (older ones are untouched): rank") != std::string::npos) {
      reasons.push_back(line.substr(begin));
    }
  }
  ASSERT_EQ(reasons.size(), 2U) << process.log();
  EXPECT_EQ(reasons[0], reasons[1]);
}

TEST_F(RanksTraining, TheirCheckpointIsEvaluatedByOneProcess) {
  ASSERT_EQ(run(2, "shared", {"run.steps=8"}), 0) << log_;
  Process process({"eval", (folder_.path() / "runs/shared").string()}, folder_.path() / "eval.log");
  EXPECT_EQ(process.wait(), 0) << process.log();
}

// Every step is saved: the thread that saves waits for the hung rank, too.
TEST_F(RanksTraining, AHungRankIsNamedAndAllStartAgain) {
  Process process(command(2, "hung", {kLong, "parallel.timeout=10", "checkpoint.every=1"}),
                  folder_.path() / "hung.log");
  ASSERT_TRUE(wait_for_step(folder_.path() / "runs/hung", 9)) << process.log();
  kill(process.children().at(1), SIGSTOP);
  EXPECT_EQ(process.wait(), 0) << process.log();
  EXPECT_NE(process.log().find("no word from rank 1"), std::string::npos) << process.log();
  EXPECT_EQ(losses(folder_.path() / "runs/hung").size(), 120U);
  std::set<std::string> ranks;  // that could write what they had done last
  for (const auto& entry : fs::directory_iterator(folder_.path() / "runs/hung/collectives")) {
    const nlohmann::json dump = nlohmann::json::parse(read_file(entry.path()));
    EXPECT_NE(dump["error"].get<std::string>().find("no word from rank 1"), std::string::npos);
    ranks.insert(entry.path().filename().string().substr(0, 10));
  }
  EXPECT_EQ(ranks, std::set<std::string>{"rank-00000"});
}

// The others wait for it there, and do not first try to bring the live weights back together.
TEST_F(RanksTraining, ARankThatHangsInAnEvaluationIsNamedAndItIsMadeAgain) {
  const fs::path hung = folder_.path() / "runs/hung";
  Process process(command(2, "hung",
                          {"run.steps=2", "eval.clips=200", "optim.ema=0.9", "parallel.timeout=5",
                           "checkpoint.every=2"}),
                  folder_.path() / "hung.log");
  ASSERT_TRUE(wait_for_checkpoint(hung, 2)) << process.log();  // which the evaluation follows
  kill(process.children().at(1), SIGSTOP);
  EXPECT_EQ(process.wait(), 0) << process.log();
  // The second where the averages were still on their way.
  EXPECT_TRUE(process.log().find("rank 1 has shown no sign of life") != std::string::npos ||
              process.log().find("no word from rank 1") != std::string::npos)
      << process.log();
  EXPECT_NE(process.log().find("resuming at step 2 of 2"), std::string::npos) << process.log();
  EXPECT_TRUE(fs::exists(hung / "eval.json"));
}

// One that gets a quarter of the time.
TEST_F(RanksTraining, ASlowRankIsNamed) {
  Process process(command(2, "slow", {"run.steps=100000", "parallel.slow_steps=3"}),
                  folder_.path() / "slow.log");
  ASSERT_TRUE(wait_for_step(folder_.path() / "runs/slow", 3)) << process.log();
  const pid_t slow = process.children().at(1);
  const auto named = [&] { return process.log().find("rank 1 is slow: ") != std::string::npos; };
  for (int i = 0; i < 30'000 && !named(); ++i) {
    kill(slow, SIGSTOP);
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    kill(slow, SIGCONT);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(named()) << process.log();
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait(), 143) << process.log();
}

TEST_F(RanksTraining, ASignalToOneRankStopsAllAfterACheckpoint) {
  Process process(command(2, "stopped", {"run.steps=100000"}), folder_.path() / "stopped.log");
  ASSERT_TRUE(wait_for_step(folder_.path() / "runs/stopped", 3)) << process.log();
  kill(process.children().at(1), SIGTERM);
  EXPECT_EQ(process.wait(), 143) << process.log();
  EXPECT_NE(process.log().find("stopped by a signal at step"), std::string::npos) << process.log();
}

/// A port that nobody listens on now, below those that the system hands out by itself.
int free_port() {
  for (int port = 10'000 + getpid() % 20'000;; ++port) {
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_port = htons(static_cast<uint16_t>(port));
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int taken = ::bind(socket, reinterpret_cast<const sockaddr*>(&place), sizeof place);
    ::close(socket);
    if (taken == 0) return port;
  }
}

TEST_F(RanksTraining, AnotherConfigurationIsRefusedWithItsDifference) {
  const std::string place = "WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=" +
                            std::to_string(free_port());
  const auto shell = [&](int rank, const char* more) {
    return fmt::format(
        "env {} RANK={} LOCAL_RANK={} '{}' train '{}' run.name=mixed {} > '{}/{}' 2>&1", place,
        rank, rank, PRAXINO_BINARY, run_file_.string(), more, folder_.path().string(), rank);
  };
  int second = 0;
  {
    const std::jthread other([&] { second = std::system(shell(1, "optim.lr=0.5").c_str()); });
    EXPECT_EQ(WEXITSTATUS(std::system(shell(0, "optim.lr=0.25").c_str())), 2);
  }
  EXPECT_EQ(WEXITSTATUS(second), 2);
  const std::string text = read_file(folder_.path() / "0");
  EXPECT_NE(text.find("rank 1 of 2 has another start than rank 0: optim: was '  lr: 0.25', is "
                      "'  lr: 0.5'"),
            std::string::npos)
      << text;
  EXPECT_FALSE(fs::exists(folder_.path() / "runs/mixed"));
}

TEST_F(RanksTraining, ABatchThatRanksCannotShareIsWrongUsage) {
  EXPECT_EQ(run(3, "three"), 2) << log_;
  EXPECT_NE(log_.find("data.batch is 4, which 3 data ranks cannot share equally"),
            std::string::npos)
      << log_;
}

}  // namespace
}  // namespace praxino::testing
