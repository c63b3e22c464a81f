// Two ranks on two machines, as far as one machine can show it: network namespaces, joined by a
// cable that can be cut. Needs root.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <functional>
#include <utility>

#include "end_to_end/training_run.h"

namespace praxino::testing {
namespace {

/// Machine 0 and machine 1, with the addresses 10.213.7.1 and .2.
class Cable {
 public:
  Cable() {
    joined_ = shell(
                  "ip netns add {0}0 && ip netns add {0}1 && ip link add {0}c0 netns {0}0 type "
                  "veth peer name {0}c1 netns {0}1") &&
              up(0) && up(1);
  }
  ~Cable() { shell("ip netns del {0}0; ip netns del {0}1"); }
  Cable(const Cable&) = delete;
  Cable& operator=(const Cable&) = delete;
  bool joined() const { return joined_; }
  void cut() const { EXPECT_TRUE(shell("ip -n {0}0 link set {0}c0 down")); }
  void mend() const { EXPECT_TRUE(shell("ip -n {0}0 link set {0}c0 up")); }

  /// Runs the command as one of two ranks, each on its machine; its exit code.
  int rank(int64_t number, const std::vector<std::string>& arguments, const fs::path& log) const {
    const std::string place = fmt::format(
        "ip netns exec {0}{1} env GLOO_SOCKET_IFNAME={0}c{1} MASTER_ADDR=10.213.7.1 "
        "MASTER_PORT=29512 WORLD_SIZE=2 LOCAL_WORLD_SIZE=1 RANK={1} LOCAL_RANK=0",
        name_, number);
    const std::string command = fmt::format("{} '{}' '{}' > '{}' 2>&1", place, PRAXINO_BINARY,
                                            fmt::join(arguments, "' '"), log.string());
    return WEXITSTATUS(std::system(command.c_str()));
  }

 private:
  bool shell(const char* words) const {
    const std::string command = fmt::format(fmt::runtime(words), name_);
    return std::system(("{ " + command + "; } 2>/dev/null").c_str()) == 0;
  }
  bool up(int machine) const {
    const std::string words = fmt::format(
        "ip -n {{0}}{0} addr add 10.213.7.{1}/24 dev {{0}}c{0} && ip -n {{0}}{0} link set "
        "{{0}}c{0} "
        "up && ip -n {{0}}{0} link set lo up",
        machine, machine + 1);
    return shell(words.c_str());
  }

  std::string name_ = fmt::format("px{}", getpid() % 100'000);
  bool joined_ = false;
};

TEST(Network, ACutCableEndsBothAndNothingIsWrongAfterwards) {
  const Cable cable;
  if (!cable.joined()) GTEST_SKIP() << "network namespaces need root and ip (iproute2)";
  const TemporaryFolder folder;
  const fs::path run_file = write_tiny_run(folder.path());
  const auto arguments = [&](const char* name) {
    return train(run_file,
                 {fmt::format("run.name={}", name), "data.batch=4", "optim.kind=adamw",
                  "optim.lr=0.001", "run.steps=60", "checkpoint.every=1", "parallel.timeout=10"});
  };
  /// Both ranks; `meanwhile` runs beside them.
  const auto run = [&](const char* name, const std::function<void()>& meanwhile) {
    std::pair<int, int> codes;
    {
      const std::jthread first([&] { codes.first = cable.rank(0, arguments(name), folder / "0"); });
      const std::jthread second(
          [&] { codes.second = cable.rank(1, arguments(name), folder / "1"); });
      meanwhile();
    }
    return codes;
  };
  const std::pair<int, int> good = {0, 0}, failed = {1, 1};
  ASSERT_EQ(run("straight", [] {}), good) << read_file(folder / "0") << read_file(folder / "1");
  const auto cut = [&] {
    EXPECT_TRUE(wait_for_checkpoint(folder.path() / "runs/cut", 10));
    cable.cut();
  };
  EXPECT_EQ(run("cut", cut), failed);
  EXPECT_NE(read_file(folder / "0").find("no word from rank 1"), std::string::npos)
      << read_file(folder / "0");
  EXPECT_NE(read_file(folder / "1").find("the store does not answer: rank 0, which hosts it"),
            std::string::npos)
      << read_file(folder / "1");
  cable.mend();
  EXPECT_EQ(run("cut", [] {}), good) << read_file(folder / "0") << read_file(folder / "1");
  expect_same_state(checkpoint(folder.path() / "runs/straight", 60),
                    checkpoint(folder.path() / "runs/cut", 60));
}

}  // namespace
}  // namespace praxino::testing
