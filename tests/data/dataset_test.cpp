#include "praxino/data/dataset.h"

#include <gmock/gmock.h>

#include "data/hand_made.h"
#include "data/numbered_video.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using testing::made_file;
using testing::steady_index;
using testing::TemporaryFolder;
using testing::write_numbered_video;

class Folder : public ::testing::Test {
 protected:
  Dataset open() const { return Dataset::open(folder_.path(), 2); }
  std::string refusal() const {
    return error_text([&] { open(); });
  }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    const Dataset dataset = open();
    for (const SourceFile& file : dataset.files()) result.push_back(file.name);
    return result;
  }
  std::vector<fs::path> index_files() const {
    std::vector<fs::path> result;
    for (const auto& entry : fs::directory_iterator(folder_ / ".praxino/index")) {
      result.push_back(entry.path());
    }
    return result;
  }
  // Changes what the kept index says, so that a test sees whether it is used.
  void mark_index() const {
    const fs::path file = index_files().at(0);
    FrameIndex index = parse_index(read_file(file), "index");
    index.end_pts += 1000;
    write_file_atomic(file, serialize_index(index));
  }
  static int64_t end_of(const Dataset& dataset) { return dataset.files().at(0).index->end_pts; }

  TemporaryFolder folder_;
};

TEST_F(Folder, IsSearchedAtAnyDepthAndSortedByName) {
  write_numbered_video(folder_ / "b.mp4", 3);
  write_numbered_video(folder_ / "a/deep/c.MP4", 4);
  write_numbered_video(folder_ / "a.mp4", 5);
  write_numbered_video(folder_ / ".hidden/d.mp4", 3);
  write_file_atomic(folder_ / "README.md", "not a video");
  EXPECT_THAT(names(), ElementsAre("a.mp4", "a/deep/c.MP4", "b.mp4"));
  const Dataset dataset = open();
  EXPECT_EQ(dataset.files()[1].index->frame_count(), 4);
  EXPECT_EQ(dataset.config().actions.size(), 0U) << "without dataset.yaml: unlabelled";
  EXPECT_EQ(dataset.files()[0].actions.rows, 0);
  EXPECT_TRUE(dataset.refused().empty());
}

TEST_F(Folder, GivesOneClearErrorWhereNothingCanBeUsed) {
  const fs::path missing = folder_ / "missing";
  EXPECT_THAT(error_text([&] { Dataset::open(missing); }),
              HasSubstr("missing cannot be opened: No such file or directory; set data.path"));
  EXPECT_THAT(refusal(), HasSubstr("no video files"));
  write_file_atomic(folder_ / "b.mp4", "this is not a video");
  EXPECT_THAT(refusal(), HasSubstr("none of the 1 video files can be used; the first: "));
  EXPECT_THAT(error_text([&] { Dataset::open(folder_ / "b.mp4"); }), HasSubstr("is not a folder"));
}

TEST_F(Folder, PassesOverDamagedFilesByName) {
  write_numbered_video(folder_ / "good.mp4", 3);
  write_file_atomic(folder_ / "bad.mp4", "this is not a video");
  write_file_atomic(folder_ / "empty.mkv", "");
  const Dataset dataset = open();
  ASSERT_EQ(dataset.files().size(), 1U);
  ASSERT_EQ(dataset.refused().size(), 2U);
  EXPECT_EQ(dataset.refused()[0].name, "bad.mp4");
  EXPECT_THAT(dataset.refused()[0].reason, HasSubstr("bad.mp4"));
  EXPECT_EQ(dataset.refused()[1].name, "empty.mkv");
}

TEST_F(Folder, FollowsLinksOnlyInside) {
  const TemporaryFolder outside;
  write_numbered_video(outside / "secret.mp4", 3);
  write_numbered_video(folder_ / "a.mp4", 3);
  fs::create_symlink("a.mp4", folder_ / "b.mp4");
  fs::create_symlink(outside / "secret.mp4", folder_ / "c.mp4");
  fs::create_symlink(outside.path(), folder_ / "d");
  fs::create_symlink("nowhere.mp4", folder_ / "e.mp4");
  EXPECT_THAT(names(), ElementsAre("a.mp4", "b.mp4"));
  const std::vector<RefusedFile> refused = open().refused();
  ASSERT_EQ(refused.size(), 3U);
  EXPECT_THAT(refused[0].reason, HasSubstr("c.mp4: a link that leaves the data set folder"));
  EXPECT_THAT(refused[1].reason, HasSubstr("d: a link to a folder"));
  EXPECT_THAT(refused[2].reason, HasSubstr("e.mp4: a link that leads nowhere"));
}

TEST_F(Folder, RefusesASidecarOrDescriptionThatLiesOutside) {
  const TemporaryFolder outside;
  testing::declare_turns(outside.path());
  testing::write_turns(outside / "turns.csv", 3);
  write_numbered_video(folder_ / "a.mp4", 3);
  write_numbered_video(folder_ / "b.mp4", 3);
  testing::declare_turns(folder_.path());
  fs::create_symlink(outside / "turns.csv", folder_ / "a.actions.csv");
  const Dataset dataset = open();
  ASSERT_EQ(dataset.refused().size(), 1U);
  EXPECT_THAT(dataset.refused()[0].reason, HasSubstr("a.actions.csv: a link that leaves"));
  fs::remove(folder_ / "dataset.yaml");
  fs::create_symlink(outside / "dataset.yaml", folder_ / "dataset.yaml");
  EXPECT_THAT(refusal(), HasSubstr("dataset.yaml: a link that leaves"));
}

TEST_F(Folder, PairsSidecarsAndRefusesAnotherLength) {
  testing::declare_turns(folder_.path());
  for (const char* name : {"good.mp4", "short.mp4", "bare.mp4", "hollow.mp4"}) {
    write_numbered_video(folder_ / name, 5);
  }
  testing::write_turns(folder_ / "good.actions.csv", 5);
  testing::write_turns(folder_ / "short.actions.csv", 4);
  testing::write_turns(folder_ / "hollow.actions.csv", 0);
  const Dataset dataset = open();
  ASSERT_EQ(dataset.files().size(), 2U);
  EXPECT_EQ(dataset.files()[0].name, "bare.mp4");
  EXPECT_EQ(dataset.files()[0].actions.rows, 0) << "without sidecar: unlabelled";
  EXPECT_THAT(dataset.files()[1].actions.values, ElementsAre(0, 1, 2, 3, 4));
  ASSERT_EQ(dataset.refused().size(), 2U);
  EXPECT_THAT(dataset.refused()[0].reason, HasSubstr("hollow.actions.csv: no rows of actions"));
  EXPECT_THAT(dataset.refused()[1].reason,
              HasSubstr("short.mp4: the sidecar has 4 rows of actions but the video has 5 frames"));
}

TEST_F(Folder, KeepsItsIndexUntilTheContentChanges) {
  const fs::path video = folder_ / "a.mp4";
  write_numbered_video(video, 5);
  const int64_t end = end_of(open());
  ASSERT_EQ(index_files().size(), 1U);
  mark_index();
  EXPECT_EQ(end_of(open()), end + 1000) << "a current index is used as it is";

  fs::last_write_time(video, fs::last_write_time(video) + std::chrono::seconds(5));
  EXPECT_EQ(end_of(open()), end + 1000) << "touched, with the same content: the index is kept";
  const FrameIndex refreshed = parse_index(read_file(index_files()[0]), "index");
  EXPECT_TRUE(index_is_current(refreshed, video)) << "and refreshed";

  write_numbered_video(video, 6);
  EXPECT_EQ(open().files()[0].index->frame_count(), 6);
}

TEST_F(Folder, RebuildsAnIndexOfTheSameSizeWithOtherContent) {
  const fs::path video = folder_ / "a.mp4";
  write_numbered_video(video, 5);
  const int64_t end = end_of(open());
  mark_index();
  std::string bytes = read_file(video);
  const size_t brand = bytes.find("isom");  // a byte that does not change the pictures
  ASSERT_NE(brand, std::string::npos);
  bytes[brand + 4] = static_cast<char>(bytes[brand + 4] ^ 1);
  write_file_atomic(video, bytes);
  EXPECT_EQ(end_of(open()), end);
}

TEST_F(Folder, RebuildsADamagedIndex) {
  write_numbered_video(folder_ / "a.mp4", 5);
  open();
  write_file_atomic(index_files()[0], "rubbish");
  EXPECT_EQ(open().files()[0].index->frame_count(), 5);
  EXPECT_NE(read_file(index_files()[0]), "rubbish");
}

TEST_F(Folder, WorksWhereNoIndexCanBeWritten) {
  write_numbered_video(folder_ / "a.mp4", 5);
  write_file_atomic(folder_ / ".praxino", "a file where the folder should be");
  EXPECT_EQ(open().files()[0].index->frame_count(), 5);
}

TEST_F(Folder, HashesNamesContentsAndActions) {
  testing::declare_turns(folder_.path());
  write_numbered_video(folder_ / "a.mp4", 5);
  testing::write_turns(folder_ / "a.actions.csv", 5);
  const uint64_t first = open().content_hash();
  EXPECT_EQ(open().content_hash(), first);
  write_file_atomic(folder_ / "a.actions.csv", "turn\n0\n1\n2\n3\n5\n");
  EXPECT_NE(open().content_hash(), first);
  testing::write_turns(folder_ / "a.actions.csv", 5);
  EXPECT_EQ(open().content_hash(), first);
  fs::rename(folder_ / "a.mp4", folder_ / "b.mp4");
  fs::rename(folder_ / "a.actions.csv", folder_ / "b.actions.csv");
  EXPECT_NE(open().content_hash(), first);
}

TEST(Dataset, RefusesRowsThatAreNotOneAFrame) {
  Random random(1);
  EXPECT_THAT(error_text([&] {
                testing::one_file(testing::four_fields(), steady_index(5, 35),
                                  testing::random_rows(6, random));
              }),
              HasSubstr("has 6 rows of actions but the video has 5 frames"));
}

// The rate of a data set of files with these rates, all in milliseconds as Matroska has them.
std::string rate(const std::vector<Rational>& files, double asked = 0, double declared = 0) {
  DatasetConfig config;
  config.fps = declared;
  std::vector<SourceFile> sources;
  for (const Rational& fps : files) {
    sources.push_back(made_file(fps.str(), steady_index(400, fps, Rational(1, 1000))));
  }
  DataConfig data;
  data.fps = asked;
  return Dataset("hand-made", config, std::move(sources)).fps(data).str();
}

TEST(Dataset, TakesTheRateThatIsAskedForDeclaredOrCommon) {
  EXPECT_EQ(rate({35}, 17.5, 35), "35/2");
  EXPECT_EQ(rate({35}, 0, 12), "12");
  EXPECT_EQ(rate({35}), "35");
  EXPECT_EQ(rate({Rational(25, 2)}), "25/2");
  EXPECT_EQ(rate({Rational(30000, 1001), 30}), "30000/1001") << "the lower of nearly equal ones";
}

TEST(Dataset, UnderstandsRoundedRates) {
  for (const double asked : {29.97, 30.0})
    EXPECT_EQ(rate({Rational(30000, 1001)}, asked), "30000/1001");
  EXPECT_EQ(rate({Rational(24000, 1001)}, 23.976), "24000/1001");
  EXPECT_EQ(rate({35}, 34.5), "69/2") << "far enough to be meant as it is";
}

TEST(Dataset, AsksForARateWhereFilesDiffer) {
  EXPECT_THAT(error_text([] {
                rate({35, 30});
              }),
              HasSubstr("30 has 30.000 frames a second and 35 has 35.000; choose one rate"));
  EXPECT_EQ(rate({35, 30}, 15), "15");
}

}  // namespace
}  // namespace praxino
