#include "praxino/checkpoint/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "small_state.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using testing::is_small_state;
using ::testing::IsEmpty;
using testing::names_in;
using testing::small_state;
using testing::TemporaryFolder;

class CheckpointStoreTest : public ::testing::Test {
 protected:
  TemporaryFolder run_;
  const fs::path folder_ = run_ / "checkpoints";
};

TEST_F(CheckpointStoreTest, HasNothingInANewRun) {
  const CheckpointStore store(folder_);
  EXPECT_TRUE(fs::is_directory(folder_));
  EXPECT_THAT(store.steps(), IsEmpty());
  EXPECT_FALSE(store.load_newest().has_value());
}

TEST_F(CheckpointStoreTest, GivesBackWhatItSaved) {
  CheckpointStore store(folder_);
  store.save(small_state(200));
  EXPECT_THAT(names_in(folder_), ElementsAre("step-00000200"));
  EXPECT_THAT(names_in(folder_ / "step-00000200"),
              ElementsAre("config.yaml", "ema.safetensors", "manifest.json", "model.safetensors",
                          "optimizer-00000-of-00001.safetensors", "state.json"));
  // What one process writes has no layout, so that builds that know of none read it.
  EXPECT_THAT(read_file(folder_ / "step-00000200" / "manifest.json"),
              HasSubstr("\"version\": 1,\n \"step\": 200,\n \"files\""));
  const CheckpointStore again(folder_);
  const auto state = again.load_newest();
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->step, 200);
  EXPECT_TRUE(is_small_state(*state));
  EXPECT_TRUE(is_small_state(again.load(200)));
  EXPECT_TRUE(is_small_state(load_checkpoint(again.directory(200))));
  EXPECT_THAT(verify_checkpoint(again.directory(200)), IsEmpty());
}

TEST_F(CheckpointStoreTest, KeepsTheNewest) {
  CheckpointStore store(folder_, 2);
  for (const int64_t step : {5, 10, 100'000'000, 15}) store.save(small_state(step));
  EXPECT_THAT(store.steps(), ElementsAre(15, 100'000'000));
  EXPECT_EQ(store.load_newest()->step, 100'000'000);
}

TEST_F(CheckpointStoreTest, KeepsTheOneJustWrittenEvenWhenItIsNotTheNewest) {
  CheckpointStore store(folder_, 1);
  store.save(small_state(500));
  store.save(small_state(100));
  EXPECT_THAT(store.steps(), ElementsAre(100, 500));
}

TEST_F(CheckpointStoreTest, NeverDeletesTheNewestThatIsWhole) {
  CheckpointStore many(folder_, 100);
  for (const int64_t step : {1, 2, 3, 4}) many.save(small_state(step));
  for (const int64_t step : {3, 4}) testing::overwrite(many.directory(step) / "state.json", "{}");
  CheckpointStore few(folder_, 1);
  few.save(small_state(0));  // whole, but older than all
  EXPECT_THAT(few.steps(), ElementsAre(0, 2, 4));
  EXPECT_EQ(few.load_newest()->step, 2);
}

TEST_F(CheckpointStoreTest, ReplacesACheckpointOfTheSameStep) {
  CheckpointStore store(folder_);
  TrainState state = small_state(7);
  state.texts["notes.txt"] = "first";
  store.save(state);
  store.save(small_state(7));
  EXPECT_THAT(names_in(folder_), ElementsAre("step-00000007"));
  EXPECT_TRUE(is_small_state(store.load(7)));
}

TEST_F(CheckpointStoreTest, SavesEqualStatesAsEqualBytes) {
  CheckpointStore one(folder_);
  CheckpointStore two(run_ / "other");
  one.save(small_state(3));
  two.save(small_state(3));
  for (const std::string& name : names_in(one.directory(3))) {
    EXPECT_EQ(read_file(one.directory(3) / name), read_file(two.directory(3) / name)) << name;
  }
}

TEST_F(CheckpointStoreTest, RemovesWhatATornSaveLeft) {
  CheckpointStore(folder_).save(small_state(1));
  fs::create_directories(folder_ / ".tmp-step-00000002");
  testing::overwrite(folder_ / ".tmp-step-00000002" / "model.safetensors", "half");
  fs::create_directories(folder_ / ".tmp-delete-step-00000000");
  const CheckpointStore store(folder_);
  EXPECT_THAT(names_in(folder_), ElementsAre("step-00000001"));
}

TEST_F(CheckpointStoreTest, PutsBackACheckpointWhoseReplacementWasTorn) {
  CheckpointStore first(folder_);
  first.save(small_state(1));
  fs::rename(first.directory(1), folder_ / ".old-step-00000001");
  const CheckpointStore store(folder_);
  EXPECT_THAT(names_in(folder_), ElementsAre("step-00000001"));
  EXPECT_TRUE(is_small_state(store.load(1)));
}

TEST_F(CheckpointStoreTest, RemovesAnOldOneThatWasReplaced) {
  CheckpointStore first(folder_);
  first.save(small_state(1));
  fs::copy(first.directory(1), folder_ / ".old-step-00000001");
  const CheckpointStore store(folder_);
  EXPECT_THAT(names_in(folder_), ElementsAre("step-00000001"));
}

TEST_F(CheckpointStoreTest, LeavesOtherFilesAlone) {
  CheckpointStore store(folder_, 1);
  fs::create_directories(folder_ / "step-7");
  testing::overwrite(folder_ / "step-00000003", "a file, not a folder");
  testing::overwrite(folder_ / "notes.txt", "mine");
  store.save(small_state(1));
  store.save(small_state(2));
  EXPECT_THAT(store.steps(), ElementsAre(2));
  EXPECT_THAT(names_in(folder_),
              ElementsAre("notes.txt", "step-00000002", "step-00000003", "step-7"));
}

TEST_F(CheckpointStoreTest, SaysWhichStepIsMissing) {
  const CheckpointStore store(folder_);
  EXPECT_THAT(error_text([&] { store.load(12); }), HasSubstr("no checkpoint of step 12"));
}

TEST_F(CheckpointStoreTest, NoticesARenamedFolder) {
  CheckpointStore store(folder_);
  store.save(small_state(1));
  fs::rename(store.directory(1), store.directory(2));
  EXPECT_THAT(error_text([&] { store.load(2); }), HasSubstr("step 1"));
}

TEST_F(CheckpointStoreTest, RefusesTensorNamesThatLookLikeARanksPart) {
  CheckpointStore store(folder_);
  TrainState state = small_state(1);
  state.files["model-00001-of-00002"] = state.files["model"];
  EXPECT_THROW(store.save(state), c10::Error);
}

TEST_F(CheckpointStoreTest, RefusesNamesThatLeaveTheFolder) {
  CheckpointStore store(folder_);
  for (const char* name :
       {"../x", "a/b", "", ".hidden", "state.json", "manifest.json", "x.safetensors"}) {
    TrainState state = small_state(1);
    state.texts[name] = "text";
    EXPECT_THROW(store.save(state), c10::Error) << name;
  }
  EXPECT_THAT(names_in(folder_), IsEmpty());
}

}  // namespace
}  // namespace praxino
