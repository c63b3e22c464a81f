#include "parallel/watchdog.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <latch>
#include <nlohmann/json.hpp>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "praxino/base/file.h"
#include "praxino/parallel/mesh.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using testing::error_text;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

/// Every rank as a thread with its own mesh over TCP, as processes have it.
void on_ranks(int64_t ranks, const MeshOptions& options, const std::function<void(Mesh&)>& run) {
  const StoreServer server;
  std::vector<std::jthread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      MeshOptions own = options;
      own.shape = {.data = ranks};
      const auto mesh = Mesh::join({.rank = rank,
                                    .ranks = ranks,
                                    .local_rank = rank,
                                    .local_ranks = ranks,
                                    .address = "127.0.0.1",
                                    .port = server.port(),
                                    .agent_store = true},
                                   own);
      run(*mesh);
    });
  }
}

std::string failure_of(const Communicator& group) {
  const at::Tensor values = at::zeros({5});
  return error_text([&] { group.all_reduce(values).wait(); });
}

nlohmann::json read_dump(const fs::path& folder, int64_t rank, int64_t step) {
  char name[64];
  std::snprintf(name, sizeof name, "rank-%05d-step-%08d.json", static_cast<int>(rank),
                static_cast<int>(step));
  return nlohmann::json::parse(read_file(folder / name));
}

TEST(Watchdog, NamesTheRankThatHasNotEnteredAndItsLast) {
  const TemporaryFolder run;
  const MeshOptions options{.silence_seconds = 0.5, .dumps = run / "collectives"};
  std::latch done(2);
  std::vector<std::string> told(3);
  on_ranks(3, options, [&](Mesh& mesh) {
    mesh.step_begins(17);
    const at::Tensor values = at::zeros({2, 3});
    mesh.data().all_reduce(values).wait();
    if (mesh.rank() == 2) return done.wait();  // computes
    told[static_cast<size_t>(mesh.rank())] = failure_of(mesh.data());
    done.count_down();
  });
  for (const int64_t rank : {0, 1}) {
    EXPECT_THAT(told[static_cast<size_t>(rank)],
                HasSubstr("rank 2 has not entered it; its last there was number 1, all_reduce "
                          "(Float [2, 3]), in step 17; it has been at something else for"));
    const nlohmann::json dump = read_dump(run / "collectives", rank, 17);
    EXPECT_EQ(dump["format"], "praxino-collectives");
    EXPECT_EQ(dump["ranks"], 3);
    EXPECT_THAT(dump["error"], HasSubstr("rank 2 has not entered it"));
    for (const auto& group : dump["groups"]) {
      if (group["name"] != "data") continue;
      EXPECT_EQ(group["members"], nlohmann::json({0, 1, 2}));
      const auto& last = group["collectives"];
      ASSERT_EQ(last.size(), 2U);
      EXPECT_EQ(last[0]["number"], 1);
      EXPECT_EQ(last[0]["kind"], "all_reduce");
      EXPECT_EQ(last[0]["type"], "Float");
      EXPECT_EQ(last[0]["shape"], nlohmann::json({2, 3}));
      EXPECT_GT(last[0]["ended_ago"], last[1]["entered_ago"]);
      EXPECT_GE(last[1]["entered_ago"], 0.4);
      EXPECT_TRUE(last[1]["ended_ago"].is_null());
    }
  }
  // The one that computes writes what it has done last, too: it can.
  const nlohmann::json dump = read_dump(run / "collectives", 2, 17);
  EXPECT_THAT(dump["error"], HasSubstr("all_reduce (number 2 of the group 'data', Float [5])"));
}

TEST(Watchdog, GivesTheFirstStepMoreTime) {
  const MeshOptions options{.silence_seconds = 0.2, .first_silence_seconds = 120};
  std::latch done(1);
  on_ranks(2, options, [&](Mesh& mesh) {
    EXPECT_EQ(mesh.silence(), std::chrono::seconds(120));
    mesh.step_begins(1);
    if (mesh.rank() == 1) std::this_thread::sleep_for(milliseconds(1000));
    EXPECT_EQ(failure_of(mesh.data()), "(no error)");
    mesh.step_ends();
    EXPECT_EQ(mesh.silence(), milliseconds(200));
    if (mesh.rank() == 1) return done.wait();
    EXPECT_THAT(failure_of(mesh.data()), HasSubstr("rank 1 has not entered it"));
    done.count_down();
  });
}

TEST(Watchdog, NamesTheRankThatDoesSomethingElse) {
  std::latch entered(1);
  std::string told;
  on_ranks(2, {.silence_seconds = 0.5}, [&](Mesh& mesh) {
    const at::Tensor own = at::zeros({3}), all = at::zeros({2, 3});
    if (mesh.rank() == 0) {
      entered.wait();
      told = failure_of(mesh.data());
    } else {
      Pending other = mesh.data().all_gather(all, own);
      entered.count_down();
      EXPECT_NE(error_text([&] { other.wait(); }), "(no error)");
    }
  });
  EXPECT_THAT(told, HasSubstr("rank 1 has entered all_gather (Float [2, 3]) as number 1 there"));
}

TEST(Watchdog, ARankThatHasLeftIsNotWaitedFor) {
  std::string told;
  on_ranks(2, {}, [&](Mesh& mesh) {
    if (mesh.rank() == 0) told = failure_of(mesh.data());
  });
  EXPECT_THAT(told, HasSubstr("rank 1 has left the others: its own messages say why"));
}

/// Stops this process for a while, as a machine that is suspended or gets no time.
void stand_still(milliseconds while_) {
  const pid_t process = ::getpid();
  const pid_t waker = ::fork();
  if (waker == 0) {  // only calls that are safe beside other threads
    const timespec rest{.tv_sec = while_.count() / 1000,
                        .tv_nsec = while_.count() % 1000 * 1'000'000};
    ::nanosleep(&rest, nullptr);
    ::kill(process, SIGCONT);
    ::_exit(0);
  }
  ::kill(process, SIGSTOP);
  ::waitpid(waker, nullptr, 0);
}

TEST(Watchdog, NobodyIsBlamedForATimeInWhichTheMachineStoodStill) {
  on_ranks(2, {.silence_seconds = 0.8}, [&](Mesh& mesh) {
    const at::Tensor one = at::full({1}, 1.0);
    for (int i = 0; i < 3; ++i) {
      mesh.data().all_reduce(one).wait();
      if (mesh.rank() == 1) stand_still(milliseconds(1500));
      mesh.data().all_reduce(one).wait();
      if (mesh.rank() == 1) stand_still(milliseconds(1500));
      mesh.world().all_reduce(one).wait(mesh.silence());
    }
    EXPECT_EQ(one.item<double>(), 512);
  });
}

// Without a collective of its own that fails: the wait for another's work has no limit.
TEST(Watchdog, EndsThePatientWaitsOfAllWhenOneFails) {
  std::latch done(1);
  std::string told;
  on_ranks(3, {.silence_seconds = 0.5}, [&](Mesh& mesh) {
    if (mesh.rank() == 2) return done.wait();
    if (mesh.rank() == 1) {
      told = failure_of(mesh.world());
      done.count_down();
    } else {
      EXPECT_THAT(failure_of(mesh.data()), HasSubstr("rank 0: all_reduce"));
    }
  });
  EXPECT_THAT(told, HasSubstr("rank 1: all_reduce (number 1 of the group 'world'"));
  EXPECT_THAT(told, HasSubstr("the ranks no longer go on: rank 0: rank 0: all_reduce"));
}

class OneWatchdog : public ::testing::Test {
 protected:
  WatchdogOptions options() {
    return {.rank = 0,
            .ranks = 2,
            .first = milliseconds(100),
            .steady = milliseconds(100),
            .dumps = run_ / "collectives",
            .end_process = [this] { ended_.count_down(); },
            .pulse = milliseconds(10)};
  }
  void tell(const std::string& key, const std::string& text) {
    store_->set(key, std::vector<uint8_t>(text.begin(), text.end()));
  }
  std::string told(const std::string& key) {
    const std::vector<uint8_t> bytes = store_->get(key);
    return {bytes.begin(), bytes.end()};
  }

  TemporaryFolder run_;
  c10::intrusive_ptr<c10d::HashStore> store_ = c10::make_intrusive<c10d::HashStore>();
  std::latch ended_ = std::latch(1);
};

TEST_F(OneWatchdog, EndsAProcessWhoseStepDoesNotGoOn) {
  Watchdog dog(*store_, options());
  dog.start();
  dog.step_begins(5);
  ended_.wait();  // or the test's time runs out
  EXPECT_TRUE(dog.broken());
  EXPECT_THAT(told("trouble"), HasSubstr("rank 0: step 5 has not gone on for more than 0.1 s"));
  EXPECT_THAT(told("answer/0"), HasSubstr("waits for no other rank"));
  EXPECT_THAT(read_dump(run_ / "collectives", 0, 5)["error"], HasSubstr("has not gone on"));
}

/// A watchdog with a store of its own, and how often it has told where its rank stands: once in a
/// hundred pulses. One whose rank stands still loses its patience after 210.
class Told {
 public:
  explicit Told(const WatchdogOptions& options) : dog(*store_, options) { dog.start(); }
  int64_t beats() {
    const std::vector<uint8_t> beat =
        store_->check({"beat/0"}) ? store_->get("beat/0") : std::vector<uint8_t>();
    beats_ += beat == last_ ? 0 : 1;
    last_ = beat;
    return beats_;
  }

 private:
  c10::intrusive_ptr<c10d::HashStore> store_ = c10::make_intrusive<c10d::HashStore>();
  std::vector<uint8_t> last_;
  int64_t beats_ = 0;

 public:
  Watchdog dog;
};

TEST_F(OneWatchdog, LetsAStepGoOnThatWaitsOrMoves) {
  Told moves(options()), waits(options()), pauses(options()), stands(options());
  for (Told* one : {&moves, &waits, &pauses, &stands}) one->dog.step_begins(1);
  waits.dog.goes_on(+1);
  pauses.dog.step_ends();
  bool looked_on = false;                       // each for more than 210 pulses
  while (!looked_on || !stands.dog.broken()) {  // or the test's time runs out
    moves.dog.step_begins(1);
    std::this_thread::sleep_for(milliseconds(1));
    looked_on = true;
    for (Told* one : {&moves, &waits, &pauses}) looked_on = one->beats() > 4 && looked_on;
  }
  for (Told* one : {&moves, &waits, &pauses}) EXPECT_FALSE(one->dog.broken());
  ended_.wait();
}

TEST_F(OneWatchdog, NamesANeighbourWithoutASignOfLife) {
  WatchdogOptions own = options();
  own.steady = own.first = milliseconds(1000);
  tell("beat/1", "always the same");
  Watchdog dog(*store_, own);
  dog.start();
  while (!dog.broken()) std::this_thread::sleep_for(milliseconds(10));  // or the time runs out
  EXPECT_THAT(dog.reason(), HasSubstr("rank 1 has shown no sign of life for more than 1 s"));
}

TEST_F(OneWatchdog, IsNotAlarmedByANeighbourThatHasLeft) {
  WatchdogOptions own = options();
  own.steady = own.first = milliseconds(1000);
  tell("beat/1", "always the same");
  tell("left/1", "1");
  Watchdog dog(*store_, own);
  dog.start();
  std::this_thread::sleep_for(milliseconds(5000));
  EXPECT_FALSE(dog.broken());
}

TEST_F(OneWatchdog, LeavesNoFileWhereThereIsNoRun) {
  WatchdogOptions own = options();
  own.dumps = run_ / "never/collectives";
  Watchdog dog(*store_, own);
  dog.add({.name = "data", .members = {0, 1}, .log = std::make_shared<CollectiveLog>()});
  dog.start();
  tell("ended/1", "was ended by signal 9 (Killed)");
  const std::string text = dog.explain("data", 1, "barrier", "it failed");
  EXPECT_EQ(text, "rank 1 was ended by signal 9 (Killed); it has told nothing");
  EXPECT_FALSE(fs::exists(run_ / "never"));
}

TEST_F(OneWatchdog, KeepsTheNewestFiles) {
  fs::create_directories(run_ / "collectives");
  for (int step = 0; step < 12; ++step) {
    WatchdogOptions own = options();
    own.first = own.steady = milliseconds(60'000);
    Watchdog dog(*c10::make_intrusive<c10d::HashStore>(), own);
    dog.add({.name = "data", .members = {0}, .log = std::make_shared<CollectiveLog>()});
    dog.start();
    dog.step_begins(step);
    dog.explain("data", 1, "barrier", "it failed");
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(run_ / "collectives")) {
    names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  ASSERT_EQ(names.size(), 8U);
  EXPECT_EQ(names.front(), "rank-00000-step-00000004.json");
}

/// A store whose host does not answer any more.
class LostStore : public c10d::HashStore {
 public:
  c10::intrusive_ptr<c10d::Store> clone() override { return c10::make_intrusive<LostStore>(); }
  bool check(const std::vector<std::string>&) override { throw std::runtime_error("reset"); }
  void set(const std::string&, const std::vector<uint8_t>&) override {
    throw std::runtime_error("reset");
  }
};

TEST_F(OneWatchdog, NamesTheHostOfAStoreThatIsGone) {
  WatchdogOptions own = options();
  own.store_host = "rank 1";
  LostStore store;
  Watchdog dog(store, own);
  dog.add({.name = "data", .members = {0, 1}, .log = std::make_shared<CollectiveLog>()});
  dog.start();
  EXPECT_THAT(dog.explain("data", 1, "barrier", "it failed"),
              HasSubstr("the store does not answer: rank 1, which hosts it"));
  EXPECT_TRUE(dog.broken());
}

}  // namespace
}  // namespace praxino
