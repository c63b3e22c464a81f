#include "praxino/checkpoint/background.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "praxino/base/file.h"
#include "small_state.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using testing::is_small_state;
using testing::names_in;
using testing::small_state;
using testing::TemporaryFolder;

/// Whoever holds the lock of the checkpoint folder keeps a save waiting.
FileLock hold_saves(const fs::path& folder) { return FileLock(folder, FileLock::Mode::kWait); }

TEST(BackgroundSaves, SaveWhatTheStateWasNotWhatItBecomes) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  TrainState state = small_state(1);
  BackgroundSaves saves(store);
  {
    const FileLock lock = hold_saves(run / "checkpoints");
    saves.begin(state);  // returns although nothing can be written yet
    EXPECT_TRUE(store.steps().empty());
    EXPECT_EQ(saves.written_step(), -1);
    for (auto& [name, tensors] : state.files)
      for (auto& [key, tensor] : tensors) tensor.fill_(-1);
  }
  saves.finish();
  EXPECT_EQ(saves.written_step(), 1);
  EXPECT_TRUE(is_small_state(store.load(1)));
}

TEST(BackgroundSaves, SaveIntoMemoryThatWasMadeReadyBefore) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  BackgroundSaves saves(store);
  TrainState state = small_state(1, 300);
  saves.prepare(state);
  saves.begin(state);
  saves.finish();
  EXPECT_TRUE(is_small_state(store.load(1), 300));
  BackgroundSaves others(store);
  others.prepare(small_state(1, 10));  // for something else
  others.begin(small_state(2, 300));
  others.finish();
  EXPECT_TRUE(is_small_state(store.load(2), 300));
}

TEST(BackgroundSaves, TakeStatesThatChangeTheirShape) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints", 5);
  BackgroundSaves saves(store);
  saves.begin(small_state(1, 10));
  saves.begin(small_state(2, 300));
  TrainState bare = small_state(3, 20);
  bare.files.erase("ema");
  saves.begin(bare);
  saves.begin(small_state(4, 20));
  saves.finish();
  EXPECT_THAT(store.steps(), ElementsAre(1, 2, 3, 4));
  EXPECT_TRUE(is_small_state(store.load(1), 10));
  EXPECT_TRUE(is_small_state(store.load(2), 300));
  EXPECT_FALSE(store.load(3).files.contains("ema"));
  EXPECT_TRUE(is_small_state(store.load(4), 20));
}

TEST(BackgroundSaves, AreDoneWhenTheirObjectIsGone) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  { BackgroundSaves(store).begin(small_state(7)); }
  EXPECT_TRUE(is_small_state(store.load(7)));
}

class FailingSave : public ::testing::Test {
 protected:
  FailingSave() : store_(run_ / "checkpoints"), saves_(store_) {
    saves_.begin(small_state(1));
    saves_.finish();
    TrainState bad = small_state(2);
    bad.files["model"].emplace_back("a.weight", bad.files["model"][0].second);  // the name, twice
    saves_.begin(bad);
  }
  TemporaryFolder run_;
  CheckpointStore store_;
  BackgroundSaves saves_;
};

TEST_F(FailingSave, IsToldByTheNextCheckAndLeavesTheOlderCheckpoint) {
  std::string text = "(no error)";
  while (text == "(no error)") {  // or the test's time runs out
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    text = error_text([&] { saves_.check(); });
  }
  EXPECT_THAT(text, AllOf(HasSubstr("the checkpoint of step 2 was not saved"),
                          HasSubstr("'a.weight' is given twice")));
  EXPECT_THAT(names_in(run_ / "checkpoints"), ElementsAre("step-00000001"));
  EXPECT_EQ(saves_.written_step(), 1);
  saves_.check();  // told once
  saves_.begin(small_state(2));
  saves_.finish();
  EXPECT_TRUE(is_small_state(*store_.load_newest()));
}

TEST_F(FailingSave, IsToldByTheNextSave) {
  EXPECT_THAT(error_text([&] { saves_.begin(small_state(3)); }),
              HasSubstr("the checkpoint of step 2 was not saved"));
  EXPECT_THAT(names_in(run_ / "checkpoints"), ElementsAre("step-00000001"));
}

}  // namespace
}  // namespace praxino
