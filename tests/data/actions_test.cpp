#include "praxino/data/actions.h"

#include <gmock/gmock.h>

#include <cstring>

#include "data/hand_made.h"
#include "praxino/base/file.h"
#include "praxino/base/safetensors.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

using ::testing::ElementsAre;
using testing::error_text;
using testing::four_fields;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

constexpr const char* kHeader = "fire,turn,forward,weapon\n";

class Sidecar : public ::testing::Test {
 protected:
  ActionTable read(const std::string& text) {
    const auto file = folder_ / "a.actions.csv";
    write_file_atomic(file, text);
    return read_actions(file, four_fields().actions);
  }
  std::string refusal(const std::string& text) {
    return error_text([&] { read(text); });
  }
  ActionTable read_tensors(std::vector<RawTensor> tensors) {
    const auto file = folder_ / "a.actions.safetensors";
    write_safetensors(file, std::move(tensors));
    return read_actions(file, four_fields().actions);
  }
  TemporaryFolder folder_;
};

template <class T>
RawTensor tensor(const char* name, const char* dtype, std::vector<int64_t> shape,
                 const std::vector<T>& values) {
  return {name, dtype, std::move(shape), std::as_bytes(std::span(values))};
}

TEST_F(Sidecar, ReadsColumnsInAnyOrder) {
  const ActionTable table = read("weapon,forward,fire,turn\n3,-1.5,1,+7\n0,2e1,0,-8\n");
  EXPECT_EQ(table.rows, 2);
  EXPECT_EQ(table.fields, 4);
  EXPECT_THAT(table.values, ElementsAre(1, 7, -1.5F, 3, 0, -8, 20, 0));
}

TEST_F(Sidecar, AcceptsWhatSpreadsheetsWrite) {
  const ActionTable table =
      read("\xef\xbb\xbf\"fire\", turn ,forward,weapon\r\n1, 2 ,3,\"4\"\r\n\r\n\n");
  EXPECT_THAT(table.values, ElementsAre(1, 2, 3, 4));
}

TEST_F(Sidecar, HasNoRowsBelowALoneHeader) { EXPECT_EQ(read(kHeader).rows, 0); }

TEST_F(Sidecar, NamesTheWrongColumn) {
  EXPECT_THAT(refusal(""), HasSubstr("a.actions.csv: the file is empty"));
  EXPECT_THAT(refusal("fire,turn,forward,weapon,jump\n"),
              HasSubstr("line 1: unknown column 'jump'; dataset.yaml declares fire, turn"));
  EXPECT_THAT(refusal("fire,turn,forward\n"), HasSubstr("line 1: column 'weapon' is missing"));
  EXPECT_THAT(refusal("fire,turn,fire,weapon\n"), HasSubstr("line 1: column 'fire' appears twice"));
}

TEST_F(Sidecar, NamesLineColumnAndValueOfWhatIsWrong) {
  const auto last_row = [&](const std::string& row) {
    return refusal(kHeader + ("0,0,0,0\n" + row));
  };
  EXPECT_THAT(last_row("2,0,0,0"), HasSubstr("line 3, column 'fire': '2' must be 0 or 1"));
  EXPECT_THAT(last_row("0,x,0,0"), HasSubstr("line 3, column 'turn': 'x' is not a number"));
  EXPECT_THAT(last_row("0,,0,0"), HasSubstr("line 3, column 'turn': '' is not a number"));
  EXPECT_THAT(last_row("0,1e,0,0"), HasSubstr("'1e' is not a number"));
  EXPECT_THAT(last_row("0,0,nan,0"), HasSubstr("column 'forward': 'nan' is not finite"));
  EXPECT_THAT(last_row("0,1e39,0,0"), HasSubstr("'1e39' is not finite"));
  EXPECT_THAT(last_row("0,0,0,9"),
              HasSubstr("column 'weapon': '9' must be a whole number from 0 to 8"));
  EXPECT_THAT(last_row("0,0,0,1.5"), HasSubstr("must be a whole number"));
  EXPECT_THAT(last_row("0,0,0,-1"), HasSubstr("must be a whole number"));
  EXPECT_THAT(last_row("0,0,0"), HasSubstr("line 3: 3 values but 4 columns"));
  EXPECT_THAT(last_row("0,0,0,0,0"), HasSubstr("line 3: 5 values but 4 columns"));
  EXPECT_THAT(last_row("\n0,0,0,0"), HasSubstr("line 3: 1 values but 4 columns"));
}

TEST_F(Sidecar, TakesAValueOutsideTheRange) {
  EXPECT_THAT(read(std::string(kHeader) + "0,5000,0,0\n").values, ElementsAre(0, 5000, 0, 0));
}

TEST_F(Sidecar, ReadsATensorForEachField) {
  const std::vector<uint8_t> fire = {0, 1};
  const std::vector<double> turn = {2.5, -2};
  const std::vector<float> forward = {3, 4};
  const std::vector<int64_t> weapon = {8, 0};
  const ActionTable table =
      read_tensors({tensor("fire", "BOOL", {2}, fire), tensor("turn", "F64", {2, 1}, turn),
                    tensor("forward", "F32", {2}, forward), tensor("weapon", "I64", {2}, weapon)});
  EXPECT_EQ(table.rows, 2);
  EXPECT_THAT(table.values, ElementsAre(0, 2.5F, 3, 8, 1, -2, 4, 0));
}

TEST_F(Sidecar, ReadsOneTensorOfAllFields) {
  const std::vector<int16_t> rows = {0, 2, 3, 8, 1, -2, 4, 0};
  EXPECT_THAT(read_tensors({tensor("actions", "I16", {2, 4}, rows)}).values,
              ElementsAre(0, 2, 3, 8, 1, -2, 4, 0));
}

TEST_F(Sidecar, NamesTheWrongTensor) {
  const std::vector<float> two = {0, 0};
  const std::vector<float> three = {0, 0, 7};
  const auto refused = [&](std::vector<RawTensor> tensors) {
    return error_text([&] { read_tensors(std::move(tensors)); });
  };
  const RawTensor fire = tensor("fire", "F32", {2}, two);
  const RawTensor turn = tensor("turn", "F32", {2}, two);
  const RawTensor forward = tensor("forward", "F32", {2}, two);
  EXPECT_THAT(refused({fire, turn, forward}), HasSubstr("tensor 'weapon' is missing"));
  EXPECT_THAT(refused({tensor("jump", "F32", {2}, two)}), HasSubstr("unknown tensor 'jump'"));
  EXPECT_THAT(refused({fire, turn, forward, tensor("weapon", "F32", {3}, three)}),
              HasSubstr("tensor 'weapon' has 3 rows but 'fire' has 2"));
  EXPECT_THAT(refused({tensor("actions", "F32", {1, 3}, three)}),
              HasSubstr("tensor 'actions' must have the shape [frames, 4]"));
  EXPECT_THAT(refused({tensor("fire", "F32", {1, 3}, three), turn, forward,
                       tensor("weapon", "F32", {2}, two)}),
              HasSubstr("tensor 'fire' must have the shape [frames] or [frames, 1]"));
  EXPECT_THAT(refused({tensor("fire", "F32", {3}, three), turn, forward,
                       tensor("weapon", "F32", {2}, two)}),
              HasSubstr("tensor 'fire', row 2, field 'fire': 7 must be 0 or 1"));
  EXPECT_THAT(
      refused({tensor("fire", "F16", {4}, two), turn, forward, tensor("weapon", "F32", {2}, two)}),
      HasSubstr("tensor 'fire' is F16; store actions as F32"));
}

TEST_F(Sidecar, IsFoundBesideItsVideo) {
  EXPECT_EQ(find_sidecar(folder_ / "run.1.mp4"), std::filesystem::path());
  write_file_atomic(folder_ / "run.1.actions.safetensors", "");
  EXPECT_EQ(find_sidecar(folder_ / "run.1.mp4"), folder_ / "run.1.actions.safetensors");
  write_file_atomic(folder_ / "run.1.actions.csv", "");
  EXPECT_THAT(error_text([&] { find_sidecar(folder_ / "run.1.mp4"); }),
              HasSubstr("both exist; keep one of them"));
}

class Combined : public ::testing::TestWithParam<const char*> {
 protected:
  // As action_at_frame: rows (fire, turn, forward, weapon) applied while frames 0, 1, 2, 3 are
  // shown.
  std::vector<float> between(int64_t from, int64_t to) const {
    const ActionTable at_frame{4, 4, {0, 1, 10, 2, 1, 2, 20, 3, 0, 4, 30, 5, 9, 9, 9, 9}};
    const DatasetConfig config = four_fields(GetParam());
    const bool before = config.alignment == "action_before_frame";
    std::vector<float> out(4, -1);
    combine_actions(before ? testing::shifted_rows(at_frame) : at_frame, config, from, to, out);
    return out;
  }
};

TEST_P(Combined, IsTheRowBetweenNeighbours) {
  EXPECT_THAT(between(1, 2), ElementsAre(1, 2, 20, 3));
}

TEST_P(Combined, OrsButtonsSumsDeltasAndTakesTheLastOfTheRest) {
  EXPECT_THAT(between(0, 3), ElementsAre(1, 7, 30, 5));
}

TEST_P(Combined, HoldsOnlyTheAxisOfARepeatedFrame) {
  EXPECT_THAT(between(2, 2), ElementsAre(0, 0, 20, 0));
  EXPECT_THAT(between(0, 0), ElementsAre(0, 0, 0, 0));
}

INSTANTIATE_TEST_SUITE_P(Alignments, Combined,
                         ::testing::Values("action_at_frame", "action_before_frame"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace praxino
