#include "config/print.h"

#include <gtest/gtest.h>

#include <cmath>

#include "config/sample_section.h"
#include "praxino/base/random.h"

namespace praxino {
namespace {

using testing::read_sample;
using testing::Sample;

TEST(Print, OneLineAKeyWithListsInline) {
  Sample sample;
  sample.inner.files = {"a.mp4", "b c.mp4"};
  sample.bounds = {{.metric = "train/loss", .below = 0.06}, {.metric = "x"}};
  EXPECT_EQ(print_document(sample),
            "fast: true\nsteps: 10\nname: sample\nkind: red\nsize: [64, 64]\nscale: 0.5\n"
            "inner:\n  lr: 0.001\n  files: [a.mp4, \"b c.mp4\"]\n  betas: [0.9, 0.99]\n"
            "bounds:\n  - {metric: train/loss, below: 0.06}\n  - {metric: x}\n");
  EXPECT_TRUE(print_document(Sample()).ends_with("files: []\n  betas: [0.9, 0.99]\nbounds: []\n"));
}

TEST(Print, DefaultsReadBack) { EXPECT_EQ(read_sample(print_document(Sample())), Sample()); }

TEST(Print, NumbersAreShortestAndExact) {
  EXPECT_EQ(yaml_text(0.1), "0.1");
  EXPECT_EQ(yaml_text(0.9), "0.9");
  EXPECT_EQ(yaml_text(3.0), "3");
  EXPECT_EQ(yaml_text(1e-9), "1e-09");
  EXPECT_EQ(yaml_text(int64_t{-7}), "-7");
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    Sample sample;
    sample.scale = -std::exp(random.uniform(-700, 700));
    sample.steps = random.integer(std::numeric_limits<int64_t>::max()) + 1;
    ASSERT_EQ(read_sample(print_document(sample)), sample) << yaml_text(sample.scale);
  }
}

TEST(Print, TextReadsBackWhateverItLooksLike) {
  for (const char* text : {"",           " ",
                           " a ",        "true",
                           "No",         "null",
                           "~",          "7",
                           "1e3",        ".5",
                           "-",          "- a",
                           "a: b",       "a #b",
                           "#a",         "[a]",
                           "{a}",        "*a",
                           "&a",         "!a",
                           "%a",         "@a",
                           "`a",         "'a'",
                           "\"a\"",      "a\\b",
                           "a,b",        "?",
                           ":",          "|",
                           ">",          "---",
                           "...",        "<<",
                           "=",          "Grüße 世界",
                           "C:\\videos", "/data/my videos",
                           "a%20b",      "0x10"}) {
    Sample sample;
    sample.name = text;
    sample.inner.files = {text, "x"};
    sample.bounds = {{.metric = text}};
    EXPECT_EQ(read_sample(print_document(sample)), sample) << text;
  }
  EXPECT_EQ(yaml_text(std::string("/data/my-videos_2.mp4")), "/data/my-videos_2.mp4");
  EXPECT_EQ(yaml_text(std::string("no")), "\"no\"");
  EXPECT_EQ(yaml_text(std::string("12")), "\"12\"");
}

}  // namespace
}  // namespace praxino
