#include "config/read.h"

#include <gtest/gtest.h>

#include "config/sample_section.h"

namespace praxino {
namespace {

using testing::read_sample;
using testing::Sample;
using testing::sample_refusal;

TEST(Read, KeepsDefaultsOfWhatIsNotWritten) {
  EXPECT_EQ(read_sample(""), Sample());
  EXPECT_EQ(read_sample("# nothing\n"), Sample());
  EXPECT_EQ(read_sample("{}"), Sample());
  EXPECT_EQ(read_sample("inner:\nbounds:\n"), Sample());  // all their lines commented out
}

TEST(Read, EveryType) {
  const Sample expected{.fast = false,
                        .steps = 7,
                        .name = "a b",
                        .kind = "green",
                        .size = {32, 48},
                        .scale = -1e-4,
                        .inner = {.learning_rate = 0.25, .files = {"x.mp4", "7"}, .betas = {0, 1}},
                        .bounds = {{.metric = "m", .below = 3}, {.metric = "n"}}};
  EXPECT_EQ(
      read_sample("fast: false\nsteps: +7\nname: a b\nkind: 'green'\nsize: [32, 48]\nscale: -1e-4\n"
                  "inner:\n  lr: .25\n  files:\n    - x.mp4\n    - 7\n  betas: [0, 1.0]\n"
                  "bounds:\n  - {metric: m, below: 3}\n  - metric: n\n"),
      expected);
}

TEST(Read, ASecondReadingReplacesLists) {
  EXPECT_EQ(
      read_sample("bounds: [{metric: a}]", {"bounds=[{metric: b}, {metric: c}]"}).bounds.size(),
      2u);
}

TEST(Read, UnknownKeysNameTheNearest) {
  EXPECT_EQ(sample_refusal("inner:\n  learning_rate: 1"),
            "s.yaml line 2: unknown key 'inner.learning_rate'; did you mean 'inner.lr'?");
  EXPECT_EQ(sample_refusal("\nstep: 1"),
            "s.yaml line 2: unknown key 'step'; did you mean 'steps'?");
  EXPECT_EQ(sample_refusal("betas: 1"),
            "s.yaml line 1: unknown key 'betas'; did you mean 'inner.betas'?");
  EXPECT_EQ(sample_refusal("inner: {zebra: 1}"),
            "s.yaml line 1: unknown key 'inner.zebra'; valid here: lr, files, betas");
  EXPECT_EQ(sample_refusal("bounds:\n- metric: a\n  belov: 2"),
            "s.yaml line 3: unknown key 'bounds[0].belov'; did you mean 'bounds[0].below'?");
  EXPECT_EQ(sample_refusal("inner.lr: 1"),
            "s.yaml line 1: unknown key 'inner.lr'; write 'lr' inside the section 'inner'");
}

struct Refused {
  const char* yaml;
  const char* text;
};

TEST(Read, WrongTypes) {
  const Refused cases[] = {
      {"fast: yes", "s.yaml line 1: fast needs true or false, not 'yes'"},
      {"fast: 'true'", "s.yaml line 1: fast needs true or false, not the text 'true'"},
      {"fast: 1", "s.yaml line 1: fast needs true or false, not '1'"},
      {"steps: many", "s.yaml line 1: steps needs a whole number, not 'many'"},
      {"steps: 1.5", "s.yaml line 1: steps needs a whole number, not '1.5'"},
      {"steps: 1e4", "s.yaml line 1: steps needs a whole number, not '1e4'"},
      {"steps: '7'", "s.yaml line 1: steps needs a whole number, not the text '7'"},
      {"steps: +-7", "s.yaml line 1: steps needs a whole number, not '+-7'"},
      {"steps: 0x10", "s.yaml line 1: steps needs a whole number, not '0x10'"},
      {"steps:", "s.yaml line 1: steps needs a whole number, not nothing"},
      {"steps: ~", "s.yaml line 1: steps needs a whole number, not nothing"},
      {"steps: [1]", "s.yaml line 1: steps needs a whole number, not a list"},
      {"scale: {a: 1}", "s.yaml line 1: scale needs a number, not a section"},
      {"scale: nan", "s.yaml line 1: scale needs a number, not 'nan'"},
      {"scale: .nan", "s.yaml line 1: scale needs a number, not '.nan'"},
      {"scale: -inf", "s.yaml line 1: scale needs a number, not '-inf'"},
      {"scale: 1,5", "s.yaml line 1: scale needs a number, not '1,5'"},
      {"scale: 1e", "s.yaml line 1: scale needs a number, not '1e'"},
      {"name: [a]", "s.yaml line 1: name needs text, not a list"},
      {"name: null", "s.yaml line 1: name needs text; write \"\" for none"},
      {"name: \"a\\nb\"", "s.yaml line 1: name holds a control character: 'a\\nb'"},
      {"name: \"a\\0\"", "s.yaml line 1: name holds a control character: 'a\\x00'"},
      {"size: 64", "s.yaml line 1: size needs a list of 2, not '64'"},
      {"size: [64]", "s.yaml line 1: size needs a list of 2, not of 1"},
      {"size: [64, 64, 3]", "s.yaml line 1: size needs a list of 2, not of 3"},
      {"size:", "s.yaml line 1: size needs a list of 2, not nothing"},
      {"size: [64,\n b]", "s.yaml line 2: size[1] needs a whole number, not 'b'"},
      {"inner: 5", "s.yaml line 1: inner needs lines of the form 'key: value', not '5'"},
      {"inner: [a]", "s.yaml line 1: inner needs lines of the form 'key: value', not a list"},
      {"inner: {files: a}", "s.yaml line 1: inner.files needs a list, not 'a'"},
      {"bounds: {metric: a}", "s.yaml line 1: bounds needs a list, not a section"},
      {"bounds: [a]", "s.yaml line 1: bounds[0] needs lines of the form 'key: value', not 'a'"},
      {"[a]", "s.yaml line 1: the file needs lines of the form 'key: value', not a list"},
      {"hello", "s.yaml line 1: the file needs lines of the form 'key: value', not 'hello'"},
  };
  for (const auto& [yaml, text] : cases) EXPECT_EQ(sample_refusal(yaml), text);
}

TEST(Read, WrongValues) {
  const Refused cases[] = {
      {"steps: 0", "s.yaml line 1: steps is 0, but must be at least 1"},
      {"scale: 2.5", "s.yaml line 1: scale is 2.5, but must be at most 2"},
      {"size: [64, 4097]", "s.yaml line 1: size[1] is 4097, but must be between 4 and 4096"},
      {"inner: {lr: -1e-9}", "s.yaml line 1: inner.lr is -1e-9, but must be between 0 and 10"},
      {"kind: blue", "s.yaml line 1: kind is 'blue', but must be one of red, green"},
      {"kind: \"\"", "s.yaml line 1: kind is '', but must be one of red, green"},
      {"steps: 9223372036854775808",
       "s.yaml line 1: steps is '9223372036854775808', which is too large or too small for a "
       "number"},
      {"scale: 1e999",
       "s.yaml line 1: scale is '1e999', which is too large or too small for a number"},
  };
  for (const auto& [yaml, text] : cases) EXPECT_EQ(sample_refusal(yaml), text);
}

TEST(Read, RefusalsAreUsageErrors) {
  try {
    read_sample("steps: 0");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
  }
}

TEST(Read, MessagesStayShortAndFreeOfControlCharacters) {
  const std::string text = sample_refusal("steps: \"\\e[2J" + std::string(100'000, 'x') + "\"");
  EXPECT_LT(text.size(), 200u);
  EXPECT_NE(text.find("'\\x1b[2Jxxx"), std::string::npos);
}

}  // namespace
}  // namespace praxino
