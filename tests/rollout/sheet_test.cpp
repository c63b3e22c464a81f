#include "praxino/rollout/sheet.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <filesystem>

#include "praxino/video/reader.h"

namespace praxino {
namespace {

using testing::ElementsAre;

/// A grey truth and a white dream of 8 x 8 pixels, with one button that is held.
RolloutPictures rollout(int64_t frames, int64_t context, bool truth = true) {
  RolloutPictures pictures;
  pictures.title = "clip";
  if (truth) pictures.truth = at::full({frames, 3, 8, 8}, 128, at::kByte);
  pictures.dream = at::full({frames, 3, 8, 8}, 255, at::kByte);
  pictures.context = context;
  pictures.actions = at::ones({frames, 1});
  pictures.known = at::ones({frames}, at::kBool);
  pictures.fields.resize(1);
  pictures.fields[0].name = "fire";
  return pictures;
}

int64_t count_pixels(const Canvas& canvas, uint8_t r, uint8_t g, uint8_t b) {
  const std::vector<uint8_t>& pixels = canvas.frames().pixels;
  int64_t found = 0;
  for (size_t i = 0; i < pixels.size(); i += 3)
    found += pixels[i] == r && pixels[i + 1] == g && pixels[i + 2] == b;
  return found;
}

TEST(SheetColumns, ShowsAllFramesWhenTheyFit) {
  EXPECT_THAT(sheet_columns(4, 2, 16), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(sheet_columns(1, 0, 16), ElementsAre(0));
}

TEST(SheetColumns, ShowsTheLastGivenTheFirstImaginedAndTheLastFrame) {
  EXPECT_THAT(sheet_columns(1000, 4, 5), ElementsAre(3, 4, 335, 667, 999));
  EXPECT_THAT(sheet_columns(20, 18, 4), ElementsAre(16, 17, 18, 19));
  EXPECT_THAT(sheet_columns(10, 0, 2), ElementsAre(0, 1));
}

TEST(ContactSheet, ShowsTruthAndDreamEnlargedByAWholeNumber) {
  const Canvas sheet = contact_sheet({rollout(3, 1)});
  // 8 lines become 96: 12 times. Truth and dream of three columns each; text is white, too.
  EXPECT_EQ(count_pixels(sheet, 128, 128, 128), 3 * 96 * 96);
  EXPECT_GE(count_pixels(sheet, 255, 255, 255), 3 * 96 * 96);
}

TEST(ContactSheet, MarksGivenFramesAndShowsTheDreamAloneWithoutATruth) {
  const Canvas sheet = contact_sheet({rollout(3, 1, /*truth=*/false)});
  EXPECT_EQ(count_pixels(sheet, 128, 128, 128), 0);
  EXPECT_GE(count_pixels(sheet, 74, 222, 128), 96 * 3);
  EXPECT_GE(count_pixels(sheet, 251, 146, 60), 2 * 96 * 3);
}

TEST(ContactSheet, StacksSeveralClips) {
  const int64_t one = contact_sheet({rollout(3, 1)}).height();
  EXPECT_EQ(contact_sheet({rollout(3, 1), rollout(5, 1)}).height(), 2 * one);
}

TEST(ContactSheet, DrawsPressedButtonsAndLeavesUnknownOnesOpen) {
  RolloutPictures unknown = rollout(3, 1);
  unknown.known = at::zeros({3}, at::kBool);
  EXPECT_EQ(count_pixels(contact_sheet({rollout(3, 1)}), 96, 165, 250), 3 * 96 * 7);
  EXPECT_EQ(count_pixels(contact_sheet({unknown}), 96, 165, 250), 0);
}

TEST(RolloutVideo, IsReadBackWithTruthAndDreamSideBySide) {
  const auto path = std::filesystem::temp_directory_path() / "praxino_rollout_sheet_test.mp4";
  write_rollout_video(path, rollout(5, 2), 10);
  const auto index = std::make_shared<const FrameIndex>(build_index(path));
  EXPECT_EQ(index->frame_count(), 5);
  const std::vector<int64_t> numbers{4};
  const Frames frame = Reader(path, index).read(numbers);
  const auto red = [&](int64_t y, int64_t x) {
    return int{frame.frame(0)[static_cast<size_t>((y * frame.width + x) * 3)]};
  };
  EXPECT_NEAR(red(128, 128), 128, 6);
  EXPECT_NEAR(red(128, 256 + 4 + 128), 255, 6);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace praxino
