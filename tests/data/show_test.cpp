#include "praxino/data/show.h"

#include <gtest/gtest.h>

#include "praxino/base/file.h"
#include "praxino/data/synthetic.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

using testing::error_text;
using testing::TemporaryFolder;

void make_world(const std::string& world, const std::filesystem::path& folder) {
  SyntheticOptions options;
  options.world = world;
  options.episodes = 1;
  options.frames = 30;
  make_dataset(options, folder);
}

TEST(Show, DrawsClipsOfTheAskedSize) {
  const TemporaryFolder folder;
  make_world("pan", folder / "world");
  const Dataset dataset = Dataset::open(folder / "world");
  const Canvas small = contact_sheet(dataset, {.clips = 1, .frames = 4});
  const Canvas wide = contact_sheet(dataset, {.clips = 1, .frames = 8});
  const Canvas tall = contact_sheet(dataset, {.clips = 3, .frames = 4});
  EXPECT_GE(wide.width() - small.width(), 4 * 128);
  EXPECT_GE(tall.height() - small.height(), 2 * 128);
  EXPECT_EQ(tall.width(), small.width());
}

TEST(Show, IsAFunctionOfTheSeed) {
  const TemporaryFolder folder;
  make_world("paddle", folder / "world");
  const Dataset dataset = Dataset::open(folder / "world");
  const auto pixels = [&](uint64_t seed) {
    return contact_sheet(dataset, {.clips = 2, .frames = 4, .seed = seed}).frames().pixels;
  };
  EXPECT_EQ(pixels(1), pixels(1));
  EXPECT_NE(pixels(1), pixels(2));
}

TEST(Show, WritesAPng) {
  const TemporaryFolder folder;
  make_world("balls", folder / "world");
  write_contact_sheet(folder / "world", folder / "sheet.png", {.clips = 1, .frames = 3, .fps = 5});
  EXPECT_EQ(read_file(folder / "sheet.png").substr(1, 3), "PNG");
}

TEST(Show, SaysWhenNothingIsLongEnough) {
  const TemporaryFolder folder;
  make_world("balls", folder / "world");
  const Dataset dataset = Dataset::open(folder / "world");
  EXPECT_NE(error_text([&] { contact_sheet(dataset, {.frames = 64}); }).find("long enough"),
            std::string::npos);
  EXPECT_NE(error_text([&] { contact_sheet(dataset, {.clips = 0}); }).find("at least 1 clip"),
            std::string::npos);
}

}  // namespace
}  // namespace praxino
