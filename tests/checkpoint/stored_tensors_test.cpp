#include "praxino/checkpoint/stored_tensors.h"

#include <gmock/gmock.h>

#include "checkpoint/save_group.h"
#include "praxino/checkpoint/store.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;

TEST(StoredTensors, AreKnownBySizeAndReadByNameHoweverManyWroteThem) {
  for (const int64_t ranks : {1, 3}) {
    const testing::TemporaryFolder folder;
    testing::save_as_ranks(folder.path(), ranks, 20, /*values=*/7);
    const fs::path directory = checkpoint_directory(folder.path(), 20);
    const std::optional<StoredTensors> stored = StoredTensors::open(directory, "model");
    ASSERT_TRUE(stored);
    EXPECT_EQ(stored->name(), "model");
    EXPECT_EQ(stored->directory(), directory);
    EXPECT_THAT(stored->names(), ElementsAre("a.weight", "b.weight"));
    EXPECT_THAT(*stored->sizes("b.weight"), ElementsAre(7));
    EXPECT_EQ(stored->sizes("c.weight"), nullptr);
    EXPECT_THROW(stored->read("c.weight"), c10::Error);
    EXPECT_FALSE(StoredTensors::open(directory, "other"));
    fs::remove_all(directory);  // as a run in progress does with its older checkpoints
    const TrainState want = testing::small_state(20, 7);
    for (const auto& [name, tensor] : want.files.at("model"))
      EXPECT_TRUE(stored->read(name).equal(tensor)) << name;
  }
}

TEST(StoredTensors, OfEqualCheckpointsHaveEqualManifests) {
  const auto manifest = [](int64_t step) {
    const testing::TemporaryFolder folder;
    testing::save_as_ranks(folder.path(), 2, step);
    return StoredTensors::open(checkpoint_directory(folder.path(), step), "model")->manifest();
  };
  EXPECT_EQ(manifest(3), manifest(3));
  EXPECT_NE(manifest(3), manifest(4)) << "the same names and sizes";
}

TEST(StoredTensors, NameTheFileThatIsMissing) {
  const testing::TemporaryFolder folder;
  testing::save_as_ranks(folder.path(), 2, 3);
  const fs::path directory = checkpoint_directory(folder.path(), 3);
  fs::remove(directory / "model-00001-of-00002.safetensors");
  const auto open = [&] { StoredTensors::open(directory, "model"); };
  EXPECT_THAT(error_text(open), HasSubstr("model-00001-of-00002.safetensors"));
  fs::remove(directory / "manifest.json");
  EXPECT_THAT(error_text(open), HasSubstr("manifest.json"));
}

}  // namespace
}  // namespace praxino
