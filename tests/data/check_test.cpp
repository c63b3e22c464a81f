#include "praxino/data/check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/check_file.h"
#include "data/check_motion.h"
#include "data/shift.h"
#include "data/shift_regression.h"
#include "praxino/base/file.h"
#include "praxino/base/random.h"
#include "praxino/data/synthetic.h"
#include "praxino/video/writer.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

void make_world(const std::string& world, const fs::path& folder, int64_t episodes = 2) {
  SyntheticOptions options;
  options.world = world;
  options.episodes = episodes;
  options.frames = 240;
  options.height = options.width = 48;
  make_dataset(options, folder);
}

std::vector<std::string> read_lines(const fs::path& path) {
  std::istringstream text(read_file(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

void write_lines(const fs::path& path, const std::vector<std::string>& lines) {
  std::ofstream file(path);
  for (const std::string& line : lines) file << line << "\n";
}

// Row k of the sidecar becomes row k - rows: its first rows are dropped, its last one is repeated.
void move_rows_up(const fs::path& sidecar, size_t rows) {
  std::vector<std::string> lines = read_lines(sidecar);
  for (size_t i = 0; i < rows; ++i) {
    lines.erase(lines.begin() + 1);
    lines.push_back(lines.back());
  }
  write_lines(sidecar, lines);
}

void move_rows_down(const fs::path& sidecar) {
  std::vector<std::string> lines = read_lines(sidecar);
  lines.insert(lines.begin() + 1, lines[1]);
  lines.pop_back();
  write_lines(sidecar, lines);
}

void replace_in_file(const fs::path& path, const std::string& from, const std::string& to) {
  std::string text = read_file(path);
  text.replace(text.find(from), from.size(), to);
  std::ofstream(path) << text;
}

bool mentions(const CheckReport& report, const std::string& words) {
  return to_text(report).find(words) != std::string::npos;
}

// Motion that follows the actions of one button-like axis, `lag` rows later, with inertia.
struct Recording {
  Recording(int64_t frames, int64_t lag, double inertia) {
    Random random(5);
    actions = {
        .rows = frames, .fields = 1, .values = std::vector<float>(static_cast<size_t>(frames))};
    float held = 0;
    for (float& value : actions.values) {
      if (random.uniform() < 0.15) held = static_cast<float>(random.integer(5)) - 2;
      value = held;
    }
    MotionStretch stretch;
    double velocity = 0;
    for (int64_t k = 0; k + 1 < frames; ++k) {
      velocity =
          inertia * velocity + actions.values[static_cast<size_t>(std::max<int64_t>(0, k - lag))];
      for (int64_t i = 0; i < kMotionValues; ++i) {
        stretch.values.push_back((i == 0 ? velocity : 0) + 0.3 * random.normal());
      }
    }
    series.push_back({&actions, {stretch}});
    dataset.actions = {{.name = "go", .kind = "axis", .unit = ""}};
  }
  ShiftEstimate judge() const { return judge_shift({gather_evidence(series, dataset)}); }
  ActionTable actions;
  std::vector<MotionSeries> series;
  DatasetConfig dataset;
};

TEST(ShiftRegression, PredictsHeldOutSamples) {
  Random random(3);
  Matrix x(200, 3);
  Matrix y(200, 2);
  std::vector<int64_t> fold;
  for (int64_t i = 0; i < x.rows; ++i) {
    const auto row = x.row(i);
    for (double& value : row) value = random.normal();
    y.row(i)[0] = 1 + 2 * row[0] - 3 * row[1] + row[2];
    y.row(i)[1] = random.normal();
    fold.push_back(i % 4);
  }
  const Matrix errors = held_out_errors(x, y, fold, 4);
  double known = 0;
  double noise = 0;
  for (int64_t i = 0; i < x.rows; ++i) {
    known += errors.row(i)[0] / 200;
    noise += errors.row(i)[1] / 200;
  }
  EXPECT_LT(known, 1e-4) << "but for the ridge";
  EXPECT_GT(noise, 0.8);
}

TEST(Shift, FindsTheLagOfMotionBehindActions) {
  for (const int64_t lag : {0, 1, 3}) {
    const ShiftEstimate estimate = Recording(800, lag, 0).judge();
    EXPECT_TRUE(estimate.known);
    EXPECT_EQ(estimate.best, -lag);
    EXPECT_GE(estimate.confidence, 0.95);
    EXPECT_EQ(estimate.scores.size(), 11U);
  }
}

TEST(Shift, InertiaIsNoLag) {
  const ShiftEstimate estimate = Recording(1500, 0, 0.9).judge();
  EXPECT_EQ(estimate.best, 0);
  EXPECT_GE(estimate.confidence, 0.95);
}

TEST(Shift, CountsFromTheDeclaredAlignment) {
  Recording recording(800, 0, 0);
  recording.dataset.alignment = "action_before_frame";
  EXPECT_EQ(recording.judge().best, -1);
}

TEST(Shift, IsUnknownWhereActionsExplainNothing) {
  Recording recording(800, 0, 0);
  Random random(9);
  for (float& value : recording.actions.values) value = static_cast<float>(random.normal());
  const ShiftEstimate estimate = recording.judge();
  EXPECT_FALSE(estimate.known);
  EXPECT_FALSE(estimate.wrong());
  EXPECT_FALSE(estimate.reason.empty());
  EXPECT_FALSE(Recording(100, 0, 0).judge().known) << "too short";
}

GreyPicture texture(double shift_y, double shift_x) {
  GreyPicture picture{40, 60, {}};
  for (int64_t y = 0; y < 40; ++y) {
    for (int64_t x = 0; x < 60; ++x) {
      const double v = static_cast<double>(y) - shift_y;
      const double u = static_cast<double>(x) - shift_x;
      picture.pixels.push_back(static_cast<float>(128 + 40 * std::sin(0.31 * u + 0.05 * v) +
                                                  30 * std::sin(0.17 * u + 1) +
                                                  40 * std::sin(0.27 * v)));
    }
  }
  return picture;
}

TEST(Motion, MeasuresSignedShiftsOfThePicture) {
  const std::vector<double> right = measure_motion(texture(0, 0), texture(0, 3.5));
  const std::vector<double> up = measure_motion(texture(0, 0), texture(-2, 0));
  ASSERT_EQ(right.size(), static_cast<size_t>(kMotionValues));
  for (size_t i = 0; i < kMotionBands; ++i) {
    EXPECT_NEAR(right[i], 3.5, 0.35);
    EXPECT_NEAR(up[kMotionBands + i], -2, 0.35);
  }
  EXPECT_EQ(measure_motion(texture(0, 0), texture(0, 0)), std::vector<double>(kMotionValues));
}

TEST(CheckTimes, FindsGapsAndBunchedFrames) {
  FrameIndex index;
  index.time_base = Rational(1, 1000);
  for (const int64_t pts : {0, 40, 80, 120, 240, 280, 290, 330, 370})
    index.frames.push_back({pts, 0});
  index.end_pts = 410;
  FileCheck check;
  check_times(index, check);
  EXPECT_NEAR(check.fps, 25, 1e-9);
  ASSERT_EQ(check.gaps.size(), 1U);
  EXPECT_EQ(check.gaps[0].frame, 3);
  EXPECT_EQ(check.gaps[0].frames_missing, 2);
  EXPECT_EQ(check.bunched, std::vector<int64_t>{5});
}

TEST(Check, AGoodDataSetHasNoProblems) {
  const TemporaryFolder folder;
  make_world("pan", folder / "world");
  const CheckReport report = check_dataset(folder / "world");
  EXPECT_EQ(report.problems, std::vector<std::string>{});
  EXPECT_EQ(report.usable(), 2);
  EXPECT_TRUE(report.shift.known);
  EXPECT_EQ(report.shift.best, 0);
  EXPECT_GE(report.shift.confidence, 0.99);
  EXPECT_GT(report.shift.scores[5].explained, 0.2);
  EXPECT_EQ(check_exit_code(report, true), 0);
  EXPECT_TRUE(mentions(report, "nothing is wrong"));
}

TEST(Check, MovedRowsAreFoundWithTheirRemedy) {
  const TemporaryFolder folder;
  make_world("pan", folder / "early");
  for (const char* name : {"episode_0000", "episode_0001"}) {
    move_rows_up(folder / "early" / (std::string(name) + ".actions.csv"), 2);
  }
  const CheckReport early = check_dataset(folder / "early");
  EXPECT_EQ(early.shift.best, -2);
  EXPECT_TRUE(early.shift.wrong());
  EXPECT_TRUE(mentions(early, "insert 2 at the start"));
  EXPECT_EQ(check_exit_code(early, false), 0);
  EXPECT_EQ(check_exit_code(early, true), 1);
}

TEST(Check, TheOtherAlignmentIsSuggested) {
  const TemporaryFolder folder;
  make_world("pan", folder / "world", 1);
  move_rows_down(folder / "world/episode_0000.actions.csv");
  EXPECT_TRUE(mentions(check_dataset(folder / "world"), "alignment: action_before_frame"));
  replace_in_file(folder / "world/dataset.yaml", "action_at_frame", "action_before_frame");
  const CheckReport declared = check_dataset(folder / "world");
  EXPECT_EQ(declared.shift.best, 0);
  EXPECT_EQ(declared.problems, std::vector<std::string>{});
}

TEST(Check, OneFileThatDiffersIsNamed) {
  const TemporaryFolder folder;
  make_world("pan", folder / "world", 4);
  move_rows_up(folder / "world/episode_0002.actions.csv", 1);
  const CheckReport report = check_dataset(folder / "world");
  ASSERT_EQ(report.problems.size(), 1U);
  EXPECT_NE(report.problems[0].find("episode_0002.mp4: the actions come 1 row too early"),
            std::string::npos)
      << report.problems[0];
}

TEST(Check, DamagedAndMismatchedFilesAreListedWithReasons) {
  const TemporaryFolder folder;
  make_world("paddle", folder / "world", 3);
  fs::resize_file(folder / "world/episode_0000.mp4", 2000);
  std::vector<std::string> rows = read_lines(folder / "world/episode_0001.actions.csv");
  rows.pop_back();
  write_lines(folder / "world/episode_0001.actions.csv", rows);
  const CheckReport report = check_dataset(folder / "world");
  EXPECT_EQ(report.usable(), 1);
  ASSERT_EQ(report.problems.size(), 2U);
  EXPECT_NE(report.problems[0].find("episode_0000"), std::string::npos);
  EXPECT_NE(report.problems[1].find("239 rows"), std::string::npos) << report.problems[1];
  EXPECT_EQ(check_exit_code(report, false), 0);
}

TEST(Check, NothingUsableExitsWithOne) {
  const TemporaryFolder folder;
  const CheckReport empty = check_dataset(folder.path());
  EXPECT_FALSE(empty.failure.empty());
  EXPECT_EQ(check_exit_code(empty, false), 1);
  EXPECT_TRUE(mentions(empty, "no video"));
}

TEST(Check, FrozenPicturesAreFound) {
  const TemporaryFolder folder;
  SyntheticOptions options;
  options.world = "balls";
  options.frames = 60;
  const SyntheticWorld world = synthetic_world(options);
  const SyntheticEpisode episode = world.simulate(1);
  Frames frames(60, options.height, options.width);
  for (int64_t k = 0; k < 60; ++k) {
    const size_t shown = k >= 20 && k < 45 ? 20 : static_cast<size_t>(k);
    world.draw(std::span(episode.truth).subspan(shown * world.columns.size(), world.columns.size()),
               frames.frame(k));
  }
  write_mp4(folder / "stuck.mp4", frames, 30);
  const CheckReport report = check_dataset(folder.path());
  ASSERT_EQ(report.files.size(), 1U);
  ASSERT_EQ(report.files[0].frozen.size(), 1U);
  EXPECT_NEAR(static_cast<double>(report.files[0].frozen[0].first), 20, 4);
  EXPECT_EQ(report.files[0].frozen[0].last, 44);
  EXPECT_TRUE(mentions(report, "stands still"));
}

TEST(Check, TheJsonHoldsTheReport) {
  const TemporaryFolder folder;
  make_world("pan", folder / "world", 1);
  const auto json = nlohmann::json::parse(to_json(check_dataset(folder / "world")));
  EXPECT_EQ(json.at("usable"), 1);
  EXPECT_EQ(json.at("shift").at("best"), 0);
  EXPECT_EQ(json.at("files").at(0).at("frames"), 240);
  EXPECT_TRUE(json.at("problems").empty());
}

// Copies some recordings of the Freedoom set to a folder that may be written.
void copy_freedoom(const fs::path& folder) {
  const fs::path from = fs::path(PRAXINO_SOURCE_DIR) / "tests/data/freedoom";
  fs::create_directories(folder);
  fs::copy(from / "dataset.yaml", folder);
  for (const char* stem : {"freedoom1_demo3", "freedoom2_demo1"}) {
    for (const char* ending : {".mp4", ".actions.csv"})
      fs::copy(from / (stem + std::string(ending)), folder);
  }
}

TEST(CheckFreedoom, GameVideoIsAlignedAndAShiftedCopyIsNot) {
  const TemporaryFolder folder;
  copy_freedoom(folder / "doom");
  const CheckReport good = check_dataset(folder / "doom");
  EXPECT_EQ(good.shift.best, 0) << to_text(good);
  EXPECT_GE(good.shift.confidence, 0.95) << to_text(good);
  EXPECT_EQ(good.problems, std::vector<std::string>{});
  for (const char* stem : {"freedoom1_demo3", "freedoom2_demo1"}) {
    move_rows_up(folder / "doom" / (std::string(stem) + ".actions.csv"), 1);
  }
  const CheckReport shifted = check_dataset(folder / "doom");
  EXPECT_EQ(shifted.shift.best, -1) << to_text(shifted);
  EXPECT_TRUE(shifted.shift.wrong()) << to_text(shifted);
}

}  // namespace
}  // namespace praxino
