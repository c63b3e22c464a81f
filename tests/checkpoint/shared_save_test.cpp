// Checkpoints that several ranks write together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstring>

#include "praxino/checkpoint/background.h"
#include "save_group.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::as_ranks;
using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using testing::is_small_state;
using ::testing::IsEmpty;
using testing::names_in;
using testing::save_as_ranks;
using testing::share_of;
using testing::small_state;
using testing::TemporaryFolder;

/// A share that cannot be written.
void name_twice(TrainState& share) {
  for (int i = 0; i < 2; ++i) share.files["model"].emplace_back("twice", at::full({1}, 1.0));
}

class SharedSave : public ::testing::Test {
 protected:
  /// What `change` makes of each rank's share is saved; the errors of all ranks, by rank.
  std::vector<std::string> errors_of_save(
      int64_t ranks, int64_t step,
      const std::function<void(const SaveGroup&, TrainState&)>& change = {}) {
    std::vector<std::string> errors(static_cast<size_t>(ranks));
    as_ranks(ranks, [&](const SaveGroup& group) {
      TrainState share = share_of(small_state(step), group);
      if (change) change(group, share);
      errors[static_cast<size_t>(group.rank)] =
          error_text([&] { CheckpointStore(folder_, 3, group).save(share); });
    });
    return errors;
  }

  TemporaryFolder run_;
  const fs::path folder_ = run_ / "checkpoints";
};

TEST_F(SharedSave, IsOneCheckpointOfAllParts) {
  save_as_ranks(folder_, 3, 20);
  EXPECT_THAT(names_in(folder_), ElementsAre("step-00000020"));
  const fs::path directory = checkpoint_directory(folder_, 20);
  EXPECT_THAT(
      names_in(directory),
      ElementsAre("config.yaml", "ema-00000-of-00003.safetensors", "ema-00001-of-00003.safetensors",
                  "ema-00002-of-00003.safetensors", "manifest.json",
                  "model-00000-of-00003.safetensors", "model-00001-of-00003.safetensors",
                  "model-00002-of-00003.safetensors", "optimizer-00000-of-00003.safetensors",
                  "optimizer-00001-of-00003.safetensors", "optimizer-00002-of-00003.safetensors",
                  "state.json"));
  EXPECT_THAT(read_file(directory / "manifest.json"),
              AllOf(HasSubstr("\"version\": 2,\n"), HasSubstr("\"layout\": {\"ranks\": 3},\n")));
  EXPECT_THAT(verify_checkpoint(directory), IsEmpty());
  EXPECT_TRUE(is_small_state(*CheckpointStore(folder_).load_newest()));
}

TEST_F(SharedSave, OfAnyNumberOfRanksIsLoadedAndSavedByAnyOther) {
  const fs::path before = run_ / "before";
  save_as_ranks(before, 4, 1);
  fs::path from = before;
  for (const int64_t ranks : {2, 1, 3, 4}) {
    const fs::path to = run_ / ("as-" + std::to_string(ranks));
    as_ranks(ranks, [&](const SaveGroup& group) {
      const TrainState loaded = CheckpointStore(from, 3, group).load(1);
      ASSERT_TRUE(is_small_state(loaded)) << ranks;
      CheckpointStore(to, 3, group).save(share_of(loaded, group));
    });
    from = to;
  }
  for (const std::string& name : names_in(checkpoint_directory(before, 1))) {
    EXPECT_EQ(read_file(checkpoint_directory(from, 1) / name),
              read_file(checkpoint_directory(before, 1) / name))
        << name;
  }
}

TEST_F(SharedSave, ReplacesTheSameStepWhateverItsLayout) {
  for (const int64_t ranks : {4, 1, 2}) {
    save_as_ranks(folder_, ranks, 7);
    EXPECT_THAT(names_in(folder_), ElementsAre("step-00000007"));
    EXPECT_TRUE(is_small_state(CheckpointStore(folder_).load(7))) << ranks;
  }
}

TEST_F(SharedSave, KeepsTheNewestAndTheLastThatIsWhole) {
  for (const int64_t step : {1, 2, 3}) save_as_ranks(folder_, 2, step);
  for (const int64_t step : {2, 3}) {
    testing::overwrite(checkpoint_directory(folder_, step) / "model-00001-of-00002.safetensors",
                       "");
  }
  as_ranks(2, [&](const SaveGroup& group) {  // whole, but older than all
    CheckpointStore(folder_, 1, group).save(share_of(small_state(0), group));
  });
  const CheckpointStore store(folder_);
  EXPECT_THAT(store.steps(), ElementsAre(0, 1, 3));
  EXPECT_EQ(store.load_newest()->step, 1);
}

TEST_F(SharedSave, ThatFailsOnOneRankFailsOnAllNamingItAndCanBeRepeated) {
  save_as_ranks(folder_, 3, 1);
  const std::vector<std::string> errors =
      errors_of_save(3, 2, [](const SaveGroup& group, TrainState& share) {
        if (group.rank == 1) name_twice(share);
      });
  EXPECT_THAT(errors[0], AllOf(HasSubstr("the checkpoint of step 2 was not saved"),
                               HasSubstr("rank 1: cannot write"), HasSubstr("given twice")));
  EXPECT_THAT(errors, ElementsAre(errors[0], errors[0], errors[0]));
  EXPECT_THAT(names_in(folder_), ElementsAre("step-00000001"));
  save_as_ranks(folder_, 3, 2);
  EXPECT_TRUE(is_small_state(*CheckpointStore(folder_).load_newest()));
  EXPECT_EQ(CheckpointStore(folder_).load_newest()->step, 2);
}

TEST_F(SharedSave, TellsOfEveryRankThatFails) {
  const std::vector<std::string> errors =
      errors_of_save(3, 2, [](const SaveGroup& group, TrainState& share) {
        if (group.rank > 0) name_twice(share);
      });
  EXPECT_THAT(errors[0], AllOf(HasSubstr("rank 1: "), HasSubstr("; rank 2: ")));
  EXPECT_THAT(names_in(folder_), IsEmpty());
}

ino_t inode(const fs::path& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

TEST_F(SharedSave, AppearsByOneRenameOfTheFolderThatAllWroteInto) {
  ino_t draft = 0;
  as_ranks(3, [&](const SaveGroup& group) {
    SaveGroup watching = group;
    watching.exchange = [&](const std::string& text) {
      if (group.rank == 0 && text.find("state.json") != std::string::npos) {  // of its files
        EXPECT_EQ(names_in(folder_).size(), 1U);
        draft = inode(folder_ / names_in(folder_)[0]);
      }
      return group.exchange(text);
    };
    CheckpointStore(folder_, 3, watching).save(share_of(small_state(1), group));
  });
  EXPECT_NE(draft, 0U);
  EXPECT_EQ(inode(checkpoint_directory(folder_, 1)), draft);
}

// A rank of an earlier start may still be writing when the next one saves the same step.
TEST_F(SharedSave, IsNeverPreparedTwiceInOneFolder) {
  std::vector<std::string> drafts;
  for (int i = 0; i < 2; ++i) {
    as_ranks(2, [&](const SaveGroup& group) {
      SaveGroup heard = group;
      heard.exchange = [&](const std::string& text) {
        if (group.rank == 0 && text.find(".tmp-") != std::string::npos) drafts.push_back(text);
        return group.exchange(text);
      };
      CheckpointStore(folder_, 3, heard).save(share_of(small_state(1), group));
    });
  }
  ASSERT_EQ(drafts.size(), 2U);
  EXPECT_NE(drafts[0], drafts[1]);
}

TEST_F(SharedSave, IsRefusedWhereTheRanksAreAtDifferentSteps) {
  const std::vector<std::string> errors = errors_of_save(
      2, 2, [](const SaveGroup& group, TrainState& share) { share.step += group.rank; });
  EXPECT_THAT(errors[0], HasSubstr("and this rank step 3"));
  EXPECT_THAT(errors[1], HasSubstr("rank 1: rank 0 saves"));
  EXPECT_THAT(names_in(folder_), IsEmpty());
}

TEST_F(SharedSave, IsRefusedWhereARankHasAnotherFolder) {
  std::vector<std::string> errors(2);
  as_ranks(2, [&](const SaveGroup& group) {
    const fs::path folder = run_ / ("of-" + std::to_string(group.rank));
    errors[static_cast<size_t>(group.rank)] = error_text(
        [&] { CheckpointStore(folder, 3, group).save(share_of(small_state(1), group)); });
  });
  EXPECT_THAT(errors[0], HasSubstr("all ranks must see the same run.output"));
  EXPECT_EQ(errors[0], errors[1]);
  EXPECT_THAT(names_in(run_ / "of-0"), IsEmpty());
}

TEST_F(SharedSave, RefusesPartsThatShareATensorOrLackARank) {
  as_ranks(2, [&](const SaveGroup& group) {
    TrainState whole = small_state(1);
    if (group.rank == 1) whole = share_of(whole, {.rank = 0, .ranks = 1});
    CheckpointStore(folder_, 3, group).save(whole);
  });
  EXPECT_THAT(error_text([&] { CheckpointStore(folder_).load(1); }),
              AllOf(HasSubstr("ema-00001-of-00002.safetensors' holds the tensor 'a.weight'"),
                    HasSubstr("another rank's part")));
  EXPECT_THAT(error_text([&] {
                as_ranks(2, [&](const SaveGroup& group) {
                  TrainState share = share_of(small_state(2), group);
                  if (group.rank == 1) share.files.erase("ema");
                  CheckpointStore(folder_, 3, group).save(share);
                });
                CheckpointStore(folder_).load(2);
              }),
              HasSubstr("it lists 1 of 2 parts of 'ema'"));
}

TEST_F(SharedSave, IsRefusedWhereAFileIsNotWhatItsRankWrote) {
  std::vector<std::string> errors(2);
  as_ranks(2, [&](const SaveGroup& group) {
    // Rank 1's disk loses a file between its words and those of rank 0.
    SaveGroup losing = group;
    losing.exchange = [&](const std::string& text) {
      if (group.rank == 1 && text.find("model-00001") != std::string::npos) {
        for (const auto& entry : fs::directory_iterator(folder_)) {
          fs::resize_file(entry.path() / "model-00001-of-00002.safetensors", 8);
        }
      }
      return group.exchange(text);
    };
    errors[static_cast<size_t>(group.rank)] = error_text(
        [&] { CheckpointStore(folder_, 3, losing).save(share_of(small_state(1), group)); });
  });
  EXPECT_THAT(errors[0],
              AllOf(HasSubstr("rank 0: "), HasSubstr("model-00001-of-00002.safetensors' is not "
                                                     "there as its rank wrote it")));
  EXPECT_EQ(errors[0], errors[1]);
  EXPECT_THAT(names_in(folder_), IsEmpty());
}

class SharedLoad : public SharedSave {
 protected:
  SharedLoad() {
    for (const int64_t step : {1, 2}) save_as_ranks(folder_, 3, step);
  }
  /// The step that every rank of two takes, -1 for an error; what rank 0 warns of is in warning_.
  std::vector<int64_t> steps_taken() {
    std::vector<int64_t> steps(2, -1);
    ::testing::internal::CaptureStderr();
    as_ranks(2, [&](const SaveGroup& group) {
      const auto own = static_cast<size_t>(group.rank);
      errors_[own] = error_text([&] {
        const auto state = CheckpointStore(folder_, 3, group).load_newest();
        if (!state) return;
        steps[own] = state->step;
        EXPECT_TRUE(is_small_state(*state));
      });
    });
    warning_ = ::testing::internal::GetCapturedStderr();
    return steps;
  }
  std::array<std::string, 2> errors_;
  std::string warning_;
};

TEST_F(SharedLoad, TakesTheSameCheckpointOnAllRanksWhicheverFileIsDamaged) {
  EXPECT_THAT(steps_taken(), ElementsAre(2, 2));
  const fs::path newest = checkpoint_directory(folder_, 2);
  for (const std::string& name : names_in(newest)) {
    const std::string whole = read_file(newest / name);
    fs::remove(newest / name);
    EXPECT_THAT(steps_taken(), ElementsAre(1, 1)) << name;
    EXPECT_THAT(warning_, AllOf(HasSubstr("checkpoint of step 2 cannot be used"),
                                HasSubstr((newest / name).string() + "' is missing")));
    testing::overwrite(newest / name, whole);
  }
  for (const int64_t step : {1, 2}) fs::remove(checkpoint_directory(folder_, step) / "state.json");
  EXPECT_THAT(steps_taken(), ElementsAre(-1, -1));
  EXPECT_THAT(errors_[0], HasSubstr("none of the 2 checkpoints"));
  EXPECT_EQ(errors_[0], errors_[1]);
}

TEST_F(SharedLoad, VerifiesEveryFileOnSomeRank) {
  const fs::path newest = checkpoint_directory(folder_, 2);
  for (const std::string& name : names_in(newest)) {
    const std::string whole = read_file(newest / name);
    std::string flipped = whole;
    flipped[whole.size() - 1] = static_cast<char>(flipped[whole.size() - 1] ^ 1);
    testing::overwrite(newest / name, flipped);
    EXPECT_THAT(steps_taken(), ElementsAre(1, 1)) << name;
    EXPECT_THAT(warning_, HasSubstr((newest / name).string())) << name;
    testing::overwrite(newest / name, whole);
  }
}

TEST_F(SharedLoad, ReadsWhatARankWants) {
  as_ranks(2, [&](const SaveGroup& group) {
    const auto state = CheckpointStore(folder_, 3, group)
                           .load_newest([&](const std::string& file, const std::string& tensor) {
                             return file == "model" && (group.rank == 0) == (tensor == "a.weight");
                           });
    ASSERT_EQ(state->files.at("model").size(), 1U);
    EXPECT_EQ(state->files.at("model")[0].first, group.rank == 0 ? "a.weight" : "b.weight");
    EXPECT_TRUE(state->files.at("optimizer").empty());
    EXPECT_EQ(state->texts, small_state(2).texts);
  });
}

TEST_F(SharedSave, RunsBesideTrainingOnEveryRank) {
  std::vector<std::string> errors(2);
  as_ranks(2, [&](const SaveGroup& group) {
    CheckpointStore store(folder_, 3, group);
    BackgroundSaves saves(store);
    TrainState share = share_of(small_state(1), group);
    saves.begin(share);  // rank 0 does not wait for rank 1 here, nor the other way round
    for (auto& [name, tensors] : share.files) {
      for (auto& [key, tensor] : tensors) tensor.fill_(-1);
    }
    saves.finish();
    EXPECT_FALSE(saves.failed());
    share = share_of(small_state(2), group);
    if (group.rank == 1) name_twice(share);
    saves.begin(share);
    while (!saves.failed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    errors[static_cast<size_t>(group.rank)] = error_text([&] { saves.finish(); });
    EXPECT_FALSE(saves.failed());
  });
  EXPECT_THAT(errors[0], HasSubstr("rank 1: cannot write"));
  EXPECT_EQ(errors[0], errors[1]);
  EXPECT_THAT(names_in(folder_), ElementsAre("step-00000001"));
  EXPECT_TRUE(is_small_state(CheckpointStore(folder_).load(1)));
}

/// Saves as rank `rank` in a process whose files may not grow beyond `limit` bytes; writes what
/// that ended with into a file. Runs after a fork.
[[noreturn]] void save_within(rlim_t limit, testing::Wires& wires, int64_t rank,
                              const fs::path& folder, const fs::path& told) {
  wires.keep(rank);
  std::signal(SIGXFSZ, SIG_IGN);
  const SaveGroup group = wires.group(rank);
  CheckpointStore store(folder, 3, group);
  const rlimit small{.rlim_cur = limit, .rlim_max = RLIM_INFINITY};
  const rlimit large{.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
  if (rank == 1 && ::setrlimit(RLIMIT_FSIZE, &small) != 0) ::_exit(1);
  const std::string text = error_text([&] { store.save(share_of(small_state(2, 10'000), group)); });
  if (::setrlimit(RLIMIT_FSIZE, &large) != 0) ::_exit(1);
  testing::overwrite(told, text);
  store.save(share_of(small_state(3, 10'000), group));
  ::_exit(0);
}

TEST_F(SharedSave, OnADiskThatIsFullForOneRankLeavesThePreviousCheckpoint) {
  save_as_ranks(folder_, 3, 1);
  testing::Wires wires(3);
  std::vector<pid_t> ranks;
  for (int64_t rank = 0; rank < 3; ++rank) {
    ranks.push_back(::fork());
    if (ranks.back() == 0) {
      save_within(10'000, wires, rank, folder_, run_ / std::to_string(rank));
    }
  }
  wires.keep(-1);
  for (const pid_t rank : ranks) {
    int status = 0;
    ::waitpid(rank, &status, 0);
    EXPECT_EQ(status, 0);
  }
  const std::string told = read_file(run_ / "0");
  EXPECT_THAT(told,
              AllOf(HasSubstr("the checkpoint of step 2 was not saved"), HasSubstr("rank 1: "),
                    HasSubstr("-00001-of-00003.safetensors"), HasSubstr(std::strerror(EFBIG))));
  EXPECT_EQ(read_file(run_ / "1"), told);
  EXPECT_EQ(read_file(run_ / "2"), told);
  EXPECT_THAT(names_in(folder_), ElementsAre("step-00000001", "step-00000003"));
  EXPECT_TRUE(is_small_state(CheckpointStore(folder_).load(3), 10'000));
}

}  // namespace
}  // namespace praxino
