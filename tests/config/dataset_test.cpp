#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "praxino/base/file.h"
#include "praxino/config/load.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

constexpr std::string_view kDataset = R"(name: doom
fps: 35
alignment: action_before_frame
actions:
  - {name: forward}
  - {name: weapon, kind: discrete, size: 7}
  - {name: turn, kind: delta, low: -12.5, high: 12.5, unit: degrees}
)";

std::string refusal(std::string_view yaml) {
  return testing::error_text([&] { parse_dataset(yaml, "dataset.yaml"); });
}

TEST(Dataset, ReadsAndPrintsBack) {
  const DatasetConfig config = parse_dataset(kDataset, "dataset.yaml");
  ASSERT_EQ(config.actions.size(), 3u);
  EXPECT_EQ(config.actions[0].name, "forward");
  EXPECT_EQ(config.actions[0].kind, "button");
  EXPECT_EQ(config.actions[2].high, 12.5);
  const DatasetConfig again = parse_dataset(to_yaml(config), "again");
  EXPECT_EQ(again.name, "doom");
  EXPECT_EQ(again.fps, 35);
  EXPECT_EQ(again.alignment, "action_before_frame");
  EXPECT_EQ(again.actions, config.actions);
}

TEST(Dataset, WithoutActionsIsUnlabelledVideo) {
  EXPECT_TRUE(parse_dataset("", "dataset.yaml").actions.empty());
  EXPECT_TRUE(parse_dataset(to_yaml(DatasetConfig()), "dataset.yaml").actions.empty());
}

TEST(Dataset, LoadsAFile) {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "dataset.yaml", kDataset);
  EXPECT_EQ(load_dataset(folder / "dataset.yaml").name, "doom");
  EXPECT_THAT(testing::error_text([&] { load_dataset(folder / "other.yaml"); }),
              ::testing::HasSubstr("other.yaml': No such file"));
}

TEST(Dataset, RefusesActionsThatCannotWork) {
  EXPECT_EQ(refusal("actions:\n- {name: a}\n- {name: b}\n- {name: a}\n"),
            "dataset.yaml line 4: actions[2] has the name 'a', which an entry before it has, too");
  EXPECT_EQ(refusal("actions: [{name: move forward}]"),
            "dataset.yaml line 1: actions[0] has the name 'move forward', but letters, digits and "
            "'_' are needed");
  EXPECT_EQ(
      refusal("actions: [{kind: axis}]"),
      "dataset.yaml line 1: actions[0] has the name '', but letters, digits and '_' are needed");
  EXPECT_EQ(refusal("actions:\n- {name: a, kind: axis, low: 1, high: 1}"),
            "dataset.yaml line 2: actions[0] (a) has low 1 and high 1, but low must be less");
  EXPECT_EQ(refusal("actions: [{name: a, kind: discrete, size: 1}]"),
            "dataset.yaml line 1: actions[0].size is 1, but must be between 2 and 4096");
  EXPECT_EQ(refusal("actions: [{name: a, kind: key}]"),
            "dataset.yaml line 1: actions[0].kind is 'key', but must be one of button, discrete, "
            "axis, delta");
  EXPECT_EQ(refusal("aligment: x"),
            "dataset.yaml line 1: unknown key 'aligment'; did you mean 'alignment'?");
}

}  // namespace
}  // namespace praxino
