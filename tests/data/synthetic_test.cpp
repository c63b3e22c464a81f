#include "praxino/data/synthetic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include "praxino/base/file.h"
#include "praxino/data/dataset.h"
#include "praxino/video/reader.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using testing::error_text;
using testing::TemporaryFolder;

SyntheticOptions small(const std::string& world) {
  SyntheticOptions options;
  options.world = world;
  options.episodes = 2;
  options.frames = 40;
  options.height = 48;
  options.width = 64;
  return options;
}

// One episode with its rows within reach.
struct Played {
  explicit Played(const SyntheticOptions& o, int64_t number = 0)
      : options(o), world(synthetic_world(o)), episode(world.simulate(episode_key(o, number))) {}
  double truth(int64_t k, const std::string& column) const {
    const auto at = std::find(world.columns.begin(), world.columns.end(), column);
    return row(k)[static_cast<size_t>(at - world.columns.begin())];
  }
  std::span<const double> row(int64_t k) const {
    return std::span(episode.truth)
        .subspan(static_cast<size_t>(k) * world.columns.size(), world.columns.size());
  }
  float action(int64_t k, int64_t field) const {
    return episode
        .actions[static_cast<size_t>(k) * world.actions.size() + static_cast<size_t>(field)];
  }
  std::vector<uint8_t> picture(int64_t k) const {
    std::vector<uint8_t> rgb(static_cast<size_t>(options.height * options.width * 3));
    world.draw(row(k), rgb);
    return rgb;
  }
  SyntheticOptions options;
  SyntheticWorld world;
  SyntheticEpisode episode;
};

double mean_square_error(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

// Of brightness alone, which video keeps at full resolution.
double luma_psnr(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i += 3) {
    const double d =
        0.299 * (a[i] - b[i]) + 0.587 * (a[i + 1] - b[i + 1]) + 0.114 * (a[i + 2] - b[i + 2]);
    sum += d * d;
  }
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(a.size() / 3) / std::max(1e-9, sum));
}

double psnr(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return 10 * std::log10(255.0 * 255.0 / std::max(1e-9, mean_square_error(a, b)));
}

// Mean squared difference over the overlap when the camera went (dy, dx) between the pictures.
double mismatch(const SyntheticOptions& o, std::span<const uint8_t> before,
                std::span<const uint8_t> after, int64_t dy, int64_t dx) {
  double sum = 0;
  int64_t count = 0;
  for (int64_t y = std::max<int64_t>(0, -dy); y < std::min(o.height, o.height - dy); ++y) {
    for (int64_t x = std::max<int64_t>(0, -dx); x < std::min(o.width, o.width - dx); ++x) {
      for (int64_t c = 0; c < 3; ++c, ++count) {
        const int d = after[static_cast<size_t>((y * o.width + x) * 3 + c)] -
                      before[static_cast<size_t>(((y + dy) * o.width + x + dx) * 3 + c)];
        sum += d * d;
      }
    }
  }
  return sum / static_cast<double>(count);
}

std::array<int64_t, 2> best_step(const SyntheticOptions& o, std::span<const uint8_t> before,
                                 std::span<const uint8_t> after) {
  std::array<int64_t, 2> best{};
  double least = 1e300;
  for (int64_t dy = -5; dy <= 5; ++dy) {
    for (int64_t dx = -5; dx <= 5; ++dx) {
      const double error = mismatch(o, before, after, dy, dx);
      if (error < least) {
        least = error;
        best = {dy, dx};
      }
    }
  }
  return best;
}

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) files[entry.path().filename()] = read_file(entry.path());
  }
  return files;
}

class EveryWorld : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Synthetic, EveryWorld, ::testing::ValuesIn(synthetic_worlds()),
                         [](const auto& world) { return world.param; });

TEST_P(EveryWorld, GivesTheSameBytesTwice) {
  const TemporaryFolder folder;
  SyntheticOptions options = small(GetParam());
  options.noise = 3;
  make_dataset(options, folder / "a");
  make_dataset(options, folder / "b");
  EXPECT_EQ(contents(folder / "a"), contents(folder / "b"));
  options.seed = 2;
  make_dataset(options, folder / "c");
  EXPECT_NE(contents(folder / "a")["episode_0000.truth.csv"],
            contents(folder / "c")["episode_0000.truth.csv"]);
}

TEST_P(EveryWorld, IsADataSetThatShowsTheTruth) {
  const TemporaryFolder folder;
  const SyntheticOptions options = small(GetParam());
  make_dataset(options, folder / "world");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1) << "nothing else is left";
  const Dataset dataset = Dataset::open(folder / "world");
  ASSERT_EQ(dataset.files().size(), 2U);
  EXPECT_TRUE(dataset.refused().empty());
  EXPECT_EQ(dataset.fps({}), Rational(15));
  const Played played(options, 1);
  EXPECT_EQ(dataset.config().actions, played.world.actions);
  const SourceFile& file = dataset.files()[1];
  ASSERT_EQ(file.index->frame_count(), options.frames);
  EXPECT_EQ(file.actions.values, played.episode.actions);
  const std::vector<int64_t> last = {options.frames - 1};
  const Frames frame = Reader(file.path, file.index).read(last);
  EXPECT_GT(luma_psnr(frame.frame(0), played.picture(last[0])), 40);
  EXPECT_GT(psnr(frame.frame(0), played.picture(last[0])), 23) << "halved colour planes cost most";
}

TEST(Pan, ThePictureMovesByTheCameraStep) {
  const Played played(small("pan"));
  for (int64_t k = 0; k + 1 < played.options.frames; ++k) {
    const auto dy =
        static_cast<int64_t>(played.truth(k + 1, "camera_y") - played.truth(k, "camera_y"));
    const auto dx =
        static_cast<int64_t>(played.truth(k + 1, "camera_x") - played.truth(k, "camera_x"));
    EXPECT_EQ(mismatch(played.options, played.picture(k), played.picture(k + 1), dy, dx), 0) << k;
  }
}

TEST(Pan, RowKMovesFrameKToTheNextUnlessABorderStopsIt) {
  SyntheticOptions options = small("pan");
  options.frames = 2000;
  const Played played(options);
  int64_t stopped = 0;
  for (int64_t k = 0; k + 1 < options.frames; ++k) {
    const double y = played.truth(k, "camera_y") + played.action(k, 1);
    const double x = played.truth(k, "camera_x") + played.action(k, 0);
    EXPECT_EQ(played.truth(k + 1, "camera_y"), std::clamp(y, 0.0, 1.5 * 48)) << k;
    EXPECT_EQ(played.truth(k + 1, "camera_x"), std::clamp(x, 0.0, 1.5 * 64)) << k;
    stopped += x != played.truth(k + 1, "camera_x") || y != played.truth(k + 1, "camera_y");
  }
  EXPECT_GT(stopped, 20) << "borders are part of the world";
  EXPECT_LT(stopped, 500) << "but not most of it";
}

TEST(Pan, DecodedFramesMoveAsTheActionsSay) {
  const TemporaryFolder folder;
  SyntheticOptions options = small("pan");
  options.episodes = 1;
  make_dataset(options, folder / "world");
  const Dataset dataset = Dataset::open(folder / "world");
  const SourceFile& file = dataset.files()[0];
  Reader reader(file.path, file.index);
  const Played played(options);
  for (int64_t k = 0; k < 20; ++k) {
    const std::vector<int64_t> numbers = {k, k + 1};
    const Frames pair = reader.read(numbers);
    const auto step = best_step(options, pair.frame(0), pair.frame(1));
    EXPECT_EQ(static_cast<double>(step[0]),
              played.truth(k + 1, "camera_y") - played.truth(k, "camera_y"));
    EXPECT_EQ(static_cast<double>(step[1]),
              played.truth(k + 1, "camera_x") - played.truth(k, "camera_x"));
  }
}

TEST(Pan, OneMapForAllDataSets) {
  SyntheticOptions options = small("pan");
  const std::vector<double> state = {10, 20};
  std::vector<uint8_t> one(48 * 64 * 3);
  std::vector<uint8_t> other(one.size());
  synthetic_world(options).draw(state, one);
  options.seed = 77;
  synthetic_world(options).draw(state, other);
  EXPECT_EQ(one, other);
  options.map_seed = 1;
  synthetic_world(options).draw(state, other);
  EXPECT_LT(psnr(one, other), 15);
}

TEST(Pan, CopyingTheLastFrameFails) {
  SyntheticOptions options;  // as CI trains on it
  const Played played(options);
  double sum = 0;
  int64_t count = 0;
  for (int64_t k = 0; k + 8 < options.frames; k += 5) {
    for (int64_t ahead = 1; ahead <= 8; ++ahead, ++count) {
      sum += psnr(played.picture(k), played.picture(k + ahead));
    }
  }
  EXPECT_LT(sum / static_cast<double>(count), 17) << "dB";
}

TEST(Paddle, MovesAsCommandedInsideTheBox) {
  SyntheticOptions options = small("paddle");
  options.frames = 1000;
  const Played played(options);
  for (int64_t k = 0; k + 1 < options.frames; ++k) {
    const double direction = played.action(k, 0) == 1 ? -1 : played.action(k, 0) == 2 ? 1 : 0;
    const double target = played.truth(k, "paddle_x") + direction * 0.04 * 64;
    EXPECT_NEAR(played.truth(k + 1, "paddle_x"), std::clamp(target, 0.15 * 64, 0.85 * 64), 1e-9);
  }
}

TEST(Paddle, TheBallKeepsItsSpeedAndIsReflectedAndLost) {
  SyntheticOptions options = small("paddle");
  options.frames = 1000;
  const Played played(options);
  const double radius = 0.06 * 48;
  for (int64_t k = 0; k < options.frames; ++k) {
    EXPECT_NEAR(std::hypot(played.truth(k, "ball_vy"), played.truth(k, "ball_vx")), 0.045 * 48,
                1e-9);
    EXPECT_GE(played.truth(k, "ball_x"), radius - 1e-9);
    EXPECT_LE(played.truth(k, "ball_x"), 64 - radius + 1e-9);
    EXPECT_GE(played.truth(k, "ball_y"), -radius - 1e-9);
    EXPECT_LE(played.truth(k, "ball_y"), 48 + radius + 1e-9);
    if (k > 0 && played.truth(k, "hits") > played.truth(k - 1, "hits")) {
      EXPECT_LT(played.truth(k, "ball_vy"), 0) << "sent back up at frame " << k;
    }
  }
  EXPECT_GT(played.truth(options.frames - 1, "hits"), 5);
  EXPECT_GT(played.truth(options.frames - 1, "lost"), 2);
}

struct Totals {
  double energy = 0;
  double momentum_y = 0, momentum_x = 0;
};

Totals totals(const Played& played, int64_t k) {
  Totals sum;
  for (int64_t i = 0; i < played.options.balls; ++i) {
    const std::string n = std::to_string(i);
    const double mass = std::pow(played.truth(k, "r" + n), 2);
    const double vy = played.truth(k, "vy" + n);
    const double vx = played.truth(k, "vx" + n);
    sum.energy += mass * (vy * vy + vx * vx) / 2;
    sum.momentum_y += mass * vy;
    sum.momentum_x += mass * vx;
  }
  return sum;
}

TEST(Balls, ConserveEnergyAndBetweenWallContactsMomentum) {
  SyntheticOptions options = small("balls");
  options.frames = 3000;
  const Played played(options);
  const Totals start = totals(played, 0);
  int64_t quiet_collisions = 0;
  for (int64_t k = 1; k < options.frames; ++k) {
    const Totals now = totals(played, k);
    EXPECT_NEAR(now.energy / start.energy, 1, 1e-6) << k;
    if (played.truth(k, "wall_contacts") != played.truth(k - 1, "wall_contacts")) continue;
    const Totals before = totals(played, k - 1);
    EXPECT_NEAR(now.momentum_y, before.momentum_y, 1e-6) << k;
    EXPECT_NEAR(now.momentum_x, before.momentum_x, 1e-6) << k;
    quiet_collisions += played.truth(k, "collisions") != played.truth(k - 1, "collisions");
  }
  EXPECT_GT(quiet_collisions, 20) << "or the test shows nothing";
}

TEST(Balls, NeverOverlapNorLeaveTheBox) {
  SyntheticOptions options = small("balls");
  options.frames = 2000;
  options.balls = 12;
  const Played played(options);
  for (int64_t k = 0; k < options.frames; ++k) {
    const auto row = played.row(k);
    for (size_t i = 0; i < 12; ++i) {
      const auto a = row.subspan(5 * i, 5);
      EXPECT_GE(std::min(a[0], a[1]), a[4] - 1e-6);
      EXPECT_LE(a[0], 48 - a[4] + 1e-6);
      EXPECT_LE(a[1], 64 - a[4] + 1e-6);
      for (size_t j = 0; j < i; ++j) {
        const auto b = row.subspan(5 * j, 5);
        EXPECT_GE(std::hypot(a[0] - b[0], a[1] - b[1]), a[4] + b[4] - 1e-6) << "frame " << k;
      }
    }
  }
}

TEST(Balls, AreDrawnWhereTheyAre) {
  const Played played(small("balls"));
  const auto picture = played.picture(0);
  std::set<std::array<uint8_t, 3>> colors;
  for (size_t i = 0; i < 4; ++i) {
    const auto ball = played.row(0).subspan(5 * i, 5);
    const auto at = static_cast<size_t>(
        (static_cast<int64_t>(ball[0]) * 64 + static_cast<int64_t>(ball[1])) * 3);
    colors.insert({picture[at], picture[at + 1], picture[at + 2]});
  }
  EXPECT_EQ(colors.size(), 4U);
}

TEST(Synthetic, WrongOptionsAreRefusedByName) {
  const auto refusal = [](auto change) {
    SyntheticOptions options = small("pan");
    change(options);
    return error_text([&] { synthetic_world(options); });
  };
  using Options = SyntheticOptions;
  EXPECT_NE(refusal([](Options& o) { o.width = 63; }).find("width is 63"), std::string::npos);
  EXPECT_NE(refusal([](Options& o) { o.height = 8; }).find("height is 8"), std::string::npos);
  EXPECT_NE(refusal([](Options& o) { o.episodes = 0; }).find("episodes"), std::string::npos);
  EXPECT_NE(refusal([](Options& o) { o.frames = 1; }).find("frames"), std::string::npos);
  EXPECT_NE(refusal([](Options& o) { o.map_scale = 1; }).find("map_scale"), std::string::npos);
  EXPECT_NE(refusal([](Options& o) { o.noise = NAN; }).find("noise"), std::string::npos);
  EXPECT_NE(refusal([](Options& o) { o.world = "pam"; }).find("pan, paddle, balls"),
            std::string::npos);
}

TEST(Synthetic, LeavesFoldersOfOthersAlone) {
  const TemporaryFolder folder;
  const SyntheticOptions gentle = small("balls");
  SyntheticOptions force = gentle;
  force.force = true;
  std::ofstream(folder / "letter.txt") << "dear";
  EXPECT_NE(error_text([&] { make_dataset(gentle, folder.path()); }).find("--force"),
            std::string::npos);
  EXPECT_NE(error_text([&] { make_dataset(force, folder.path()); }).find("not made by"),
            std::string::npos);
  EXPECT_EQ(read_file(folder / "letter.txt"), "dear");
}

TEST(Synthetic, ForceKeepsWhatSomebodyPutBeside) {
  const TemporaryFolder folder;
  SyntheticOptions options = small("balls");
  make_dataset(options, folder / "world");
  std::ofstream(folder / "world/letter.txt") << "dear";
  options.force = true;
  EXPECT_NE(error_text([&] { make_dataset(options, folder / "world"); }).find("'letter.txt'"),
            std::string::npos);
  EXPECT_EQ(read_file(folder / "world/letter.txt"), "dear");
  EXPECT_TRUE(fs::exists(folder / "world/episode_0001.mp4"));
}

TEST(Synthetic, ForceReplacesAnEarlierDataSet) {
  const TemporaryFolder folder;
  SyntheticOptions options = small("balls");
  make_dataset(options, folder / "world/");
  options.episodes = 1;
  EXPECT_NE(error_text([&] { make_dataset(options, folder / "world"); }), "(no error)");
  options.force = true;
  make_dataset(options, folder / "world");
  EXPECT_FALSE(fs::exists(folder / "world/episode_0001.mp4"));
  EXPECT_TRUE(fs::exists(folder / "world/episode_0000.mp4"));
}

}  // namespace
}  // namespace praxino
