// One evaluation by several members.
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <barrier>
#include <fstream>
#include <thread>

#include "eval/per_clip.h"
#include "eval/tiny_clips.h"
#include "praxino/base/error.h"
#include "praxino/base/signals.h"
#include "praxino/video/writer.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using testing_world::keys;
using testing_world::tiny_clips;
using testing_world::tiny_config;
using testing_world::tiny_world;

TEST(OwnRows, CoverAllClipsWithAsManyForEachMember) {
  for (int64_t members = 1; members < 12; ++members) {
    for (int64_t clips = 1; clips < 40; ++clips) {
      std::vector<bool> seen(static_cast<size_t>(clips));
      for (int64_t member = 0; member < members; ++member) {
        const OwnRows rows = own_rows(member, members, clips);
        EXPECT_EQ(rows.count, own_rows(0, members, clips).count);
        EXPECT_GE(rows.count, std::min(clips, kEvalPictures));
        for (int64_t i = 0; i < rows.count; ++i)
          seen.at(static_cast<size_t>(rows.first + i)) = true;
      }
      EXPECT_THAT(seen, ::testing::Each(true)) << members << " members, " << clips << " clips";
      EXPECT_EQ(own_rows(0, members, clips).first, 0) << "its pictures are shown";
    }
  }
  EXPECT_EQ(own_rows(1, 2, 64), (OwnRows{32, 32}));
  EXPECT_EQ(own_rows(2, 3, 64), (OwnRows{42, 22}));
}

/// A team of threads: share() is a meeting.
class Team {
 public:
  explicit Team(int64_t members) : texts_(static_cast<size_t>(members)), meeting_(members) {}
  EvalTeam of(int64_t member) {
    const auto share = [this, member](const std::string& text) {
      texts_[static_cast<size_t>(member)] = text;
      meeting_.arrive_and_wait();
      std::vector<std::string> all = texts_;
      meeting_.arrive_and_wait();
      return all;
    };
    return {.member = member,
            .members = static_cast<int64_t>(texts_.size()),
            .share = share,
            .share_with_all = share};
  }

 private:
  std::vector<std::string> texts_;
  std::barrier<> meeting_;
};

/// What `work` gives to each member. All of them must ask equally often whether to stop.
template <class Work>
auto by_a_team(int64_t members, const Work& work) {
  Team team(members);
  std::vector<std::optional<decltype(work(team.of(0)))>> results(static_cast<size_t>(members));
  std::vector<int> asked(static_cast<size_t>(members));
  std::vector<std::thread> threads;
  for (int64_t member = 0; member < members; ++member) {
    threads.emplace_back([&, member] {
      const auto own = static_cast<size_t>(member);
      const StopTogether together([&](int) {
        ++asked[own];
        return 0;
      });
      results[own] = work(team.of(member));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(asked.front(), 0);
  EXPECT_THAT(asked, ::testing::Each(asked.front()));
  return results;
}

TEST(Evaluate, GivesEveryMemberOfATeamTheFiguresOfAllClips) {
  const World world = tiny_world();
  Clips clips = tiny_clips(11);
  clips.known[6].fill_(false);
  const EvalReport alone = evaluate(world, clips);
  for (const int64_t members : {2, 3}) {
    const auto part = [&](const EvalTeam& team) {
      const OwnRows rows = own_rows(team.member, team.members, clips.count());
      Clips own = clips;
      own.frames = clips.frames.narrow(0, rows.first, rows.count);
      return EvalClips(own, rows.first);
    };
    const auto reports =
        by_a_team(members, [&](const EvalTeam& team) { return evaluate(world, part(team), team); });
    const EvalReport& first = *reports.front();
    for (const auto& report : reports) {
      EXPECT_EQ(report->metrics, first.metrics);
      EXPECT_EQ(report->settings, alone.settings);
      ASSERT_EQ(keys(report->metrics), keys(alone.metrics));
      for (const auto& [name, value] : alone.metrics)
        EXPECT_NEAR(report->metrics.at(name), value, 0.02) << name;
    }
    EXPECT_LT(first.dream.size(0), clips.count()) << "the work is shared";
    // The pictures are those of an evaluation by one.
    EXPECT_EQ(report_pictures(world, part({.members = members}), first, 4)[3].title, "clip 3");
  }
}

/// Three videos whose frames differ, opened as a data set; `damaged` is then cut.
struct Videos {
  explicit Videos(const std::string& damaged = "") {
    for (const std::string name : {"a.mp4", "b.mp4", "c.mp4"}) {
      Frames frames(12, 32, 32);
      for (int64_t t = 0; t < 12; ++t)
        std::ranges::fill(frames.frame(t), static_cast<uint8_t>(7 * t + 50 * (name[0] - 'a')));
      write_mp4(folder.path() / name, frames, 10, /*quality=*/4);
    }
    std::ofstream(folder.path() / "dataset.yaml") << "fps: 10\n";
    dataset = std::make_shared<const Dataset>(Dataset::open(folder.path(), 1));
    if (!damaged.empty()) fs::resize_file(folder.path() / damaged, 100);
    config.eval.clips = 11;
    config.data.path = folder.path().string();
  }
  EvalClips load(const EvalTeam& team = {}) const {
    return load_eval_clips(config, dataset, {{0, 0, 12}, {1, 0, 12}, {2, 0, 12}}, team);
  }

  testing::TemporaryFolder folder;
  RunConfig config = tiny_config();
  std::shared_ptr<const Dataset> dataset;
};

TEST(EvalClipsOfATeam, AreDecodedByThoseWhoMeasureThem) {
  for (const std::string damaged : {"", "b.mp4", "c.mp4"}) {
    const Videos videos(damaged);
    const EvalClips all = videos.load();
    EXPECT_EQ(all.count() == 11, damaged.empty()) << all.count() << " without " << damaged;
    for (const int64_t members : {2, 3}) {
      const auto loaded =
          by_a_team(members, [&](const EvalTeam& team) { return videos.load(team); });
      for (int64_t member = 0; member < members; ++member) {
        const EvalClips& own = *loaded[static_cast<size_t>(member)];
        const OwnRows rows = own_rows(member, members, all.count());
        EXPECT_EQ(own.first, rows.first);
        EXPECT_EQ(own.own(), rows.count);
        EXPECT_EQ(own.clips.names, all.clips.names);
        EXPECT_TRUE(own.clips.frames.equal(all.clips.frames.narrow(0, rows.first, rows.count)));
        EXPECT_TRUE(own.clips.known.equal(all.clips.known));
        EXPECT_EQ(own.clips.fps, all.clips.fps);
      }
    }
  }
}

// A file that only one of them cannot read, as where a network file system fails it.
TEST(EvalClipsOfATeam, LeaveOutWhatOneCannotDecode) {
  const Videos whole, damaged("b.mp4");
  const EvalClips want = damaged.load();
  for (const int64_t members : {2, 3}) {
    for (int64_t unlucky = 0; unlucky < members; ++unlucky) {
      const auto loaded = by_a_team(members, [&](const EvalTeam& team) {
        return (team.member == unlucky ? damaged : whole).load(team);
      });
      const std::vector<std::string>& names = loaded.front()->clips.names;
      EXPECT_GE(std::ssize(names), want.count());
      EXPECT_EQ(std::ssize(names) < 11, members == 2 || unlucky == 1) << "who has what is cut";
      for (int64_t member = 0; member < members; ++member) {
        const EvalClips& own = *loaded[static_cast<size_t>(member)];
        EXPECT_EQ(own.clips.names, names);
        EXPECT_EQ(own.first, own_rows(member, members, own.count()).first);
        EXPECT_EQ(own.own(), own_rows(member, members, own.count()).count);
      }
    }
  }
}

}  // namespace
}  // namespace praxino
