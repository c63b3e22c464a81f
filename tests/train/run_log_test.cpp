#include "praxino/train/run_log.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/temporary_folder.h"

namespace praxino {
namespace {

using testing::TemporaryFolder;

class RunLogTest : public ::testing::Test {
 protected:
  std::vector<std::string> lines() const {
    std::istringstream text(read_file(path_));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
  std::vector<int64_t> steps() const {
    std::vector<int64_t> steps;
    for (const std::string& line : lines()) steps.push_back(nlohmann::json::parse(line).at("step"));
    return steps;
  }
  void write_steps(std::optional<int64_t> resumed, std::initializer_list<int64_t> steps) const {
    RunLog log(path_, resumed);
    for (const int64_t step : steps) log.write(step, {{"train/loss", 1.0}});
  }

  TemporaryFolder run_;
  const std::filesystem::path path_ = run_ / "log.jsonl";
};

TEST_F(RunLogTest, PrintsStepAndTimeFirstThenMetricsInTheirOrder) {
  RunLog(path_, {}).write(12, {{"z", 0.1}, {"a", -3}, {"quote\"\n", 1e300}});
  ASSERT_EQ(lines().size(), 1);
  const std::string line = lines()[0];
  const auto json = nlohmann::ordered_json::parse(line);
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_NEAR(json.at("time").get<double>(), now, 3600);
  const std::string time = line.substr(0, line.find(",\"z\""));
  EXPECT_TRUE(time.starts_with("{\"step\":12,\"time\":")) << time;
  EXPECT_EQ(line.substr(time.size()), R"(,"z":0.1,"a":-3,"quote\"\n":1e+300})");
}

TEST_F(RunLogTest, PrintsNumbersThatReadBackAsTheyWere) {
  const std::vector<double> values = {
      1.0 / 3, 5e-324, 0.1 + 0.2, -1.7976931348623157e308, 1e22, 9007199254740993.0};
  RunLog log(path_, {});
  for (const double value : values) log.write(1, {{"x", value}});
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(nlohmann::json::parse(lines()[i]).at("x").get<double>(), values[i]);
  }
}

TEST_F(RunLogTest, PrintsWhatIsNoNumberAsNull) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  RunLog(path_, {}).write(1, {{"a", std::numeric_limits<double>::quiet_NaN()}, {"b", -kInfinity}});
  EXPECT_TRUE(lines()[0].ends_with(R"(,"a":null,"b":null})")) << lines()[0];
}

TEST_F(RunLogTest, WritesEachLineAtOnce) {
  RunLog log(path_, {});
  log.write(1, {});
  EXPECT_EQ(lines().size(), 1);
  log.write(2, {});
  EXPECT_EQ(lines().size(), 2);
  log.sync();
}

TEST_F(RunLogTest, HoldsNoStepTwiceAfterAResume) {
  write_steps({}, {1, 2, 2, 3, 4});
  write_steps(2, {3, 4, 5});
  EXPECT_EQ(steps(), (std::vector<int64_t>{1, 2, 2, 3, 4, 5}));
}

TEST_F(RunLogTest, KeepsTheFileWhenNothingIsDropped) {
  write_steps({}, {1, 2});
  const std::string before = read_file(path_);
  write_steps(2, {});
  EXPECT_EQ(read_file(path_), before);
}

TEST_F(RunLogTest, StartsEmptyInANewRun) {
  write_steps({}, {1, 2});
  write_steps({}, {1});
  EXPECT_EQ(steps(), (std::vector<int64_t>{1}));
}

TEST_F(RunLogTest, DropsWhatACrashTore) {
  write_steps({}, {1, 2});
  const std::string whole = read_file(path_);
  for (size_t length = whole.find('\n') + 1; length < whole.size(); ++length) {
    write_file_atomic(path_, whole.substr(0, length));
    write_steps(2, {3});
    EXPECT_EQ(steps(), (std::vector<int64_t>{1, 3})) << "cut at " << length;
  }
  write_file_atomic(path_, std::string(7, '\0') + "\n[]\n{\"step\":\"1\"}\n" + whole);
  write_steps(2, {});
  EXPECT_EQ(read_file(path_), whole);
}

TEST(RunLog, KnowsWhetherAStepHasAMetric) {
  const TemporaryFolder run;
  RunLog log(run / "log.jsonl", std::nullopt);
  log.write(1, {{"train/loss", 0.5}});
  log.write(12, {{"train/loss", 0.5}});
  log.write(12, {{"eval/loss", 0.5}});
  EXPECT_TRUE(log.holds(12, "eval/loss"));
  EXPECT_TRUE(log.holds(1, "train/loss"));
  EXPECT_FALSE(log.holds(1, "eval/loss"));
  EXPECT_FALSE(log.holds(2, "train/loss"));
}

}  // namespace
}  // namespace praxino
