#include "praxino/rollout/script.h"

#include <gmock/gmock.h>

#include <string>

#include "praxino/base/error.h"

namespace praxino {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ActionField field(const char* name, const char* kind, double range = 1) {
  ActionField result;
  result.name = name;
  result.kind = kind;
  result.low = -range;
  result.high = range;
  result.size = 9;
  return result;
}

const std::vector<ActionField> kFields = {field("forward", "axis", 50), field("turn", "delta", 40),
                                          field("fire", "button"), field("weapon", "discrete")};

ActionSequence parse(const std::string& script) { return parse_action_script(script, kFields); }

std::string refusal(const std::string& script) {
  try {
    parse(script);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "accepted";
}

TEST(ActionScript, RepeatsAStepForItsFrames) {
  const ActionSequence sequence = parse("fire*3");
  EXPECT_EQ(sequence.frames, 3);
  EXPECT_THAT(sequence.values, ElementsAre(0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0));
}

TEST(ActionScript, JoinsFieldsAndTakesTheHighValueByDefault) {
  EXPECT_THAT(parse("forward+fire").values, ElementsAre(50, 0, 1, 0));
  EXPECT_THAT(parse("turn:-8.5+weapon:8").values, ElementsAre(0, -8.5F, 0, 8));
}

TEST(ActionScript, KeepsTheOrderOfStepsAndIgnoresSpaces) {
  const ActionSequence sequence = parse(" forward : 25 * 1 , none*1,turn:2 ,-");
  EXPECT_EQ(sequence.frames, 4);
  EXPECT_THAT(sequence.values, ElementsAre(25, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0));
}

TEST(ActionScript, CountsFramesEvenWithoutFields) {
  EXPECT_EQ(parse_action_script("none*7", {}).frames, 7);
}

TEST(ActionScript, NamesTheStepAndTheFieldsThatExist) {
  const std::string text = refusal("forward*2,jump*3");
  EXPECT_THAT(text, HasSubstr("step 2 'jump*3'"));
  EXPECT_THAT(text, HasSubstr("forward, turn, fire, weapon"));
}

TEST(ActionScript, RefusesWhatIsNotAStep) {
  EXPECT_THAT(refusal(""), HasSubstr("empty"));
  EXPECT_THAT(refusal("forward,"), HasSubstr("step 2"));
  EXPECT_THAT(refusal("forward++fire"), HasSubstr("field name is missing"));
  EXPECT_THAT(refusal("fire+fire"), HasSubstr("given twice"));
  EXPECT_THAT(refusal("forward:fast"), HasSubstr("'fast' is not a number"));
  EXPECT_THAT(refusal("forward:inf"), HasSubstr("not a number"));
  EXPECT_THAT(refusal("forward:1x"), HasSubstr("not a number"));
}

TEST(ActionScript, RefusesValuesAndCountsOutsideTheirRange) {
  EXPECT_THAT(refusal("fire:2"), HasSubstr("0 or 1"));
  EXPECT_THAT(refusal("weapon:9"), HasSubstr("from 0 to 8"));
  EXPECT_THAT(refusal("weapon:1.5"), HasSubstr("whole number"));
  EXPECT_THAT(refusal("fire*0"), HasSubstr("number of frames"));
  EXPECT_THAT(refusal("fire*99999999999"), HasSubstr("number of frames"));
  EXPECT_THAT(refusal("fire*900000,fire*900000"), HasSubstr("step 2"));
}

}  // namespace
}  // namespace praxino
