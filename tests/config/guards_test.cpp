#include "config/guards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "config/sample_section.h"

namespace praxino {
namespace {

using ::testing::HasSubstr;
using testing::read_sample;
using testing::sample_refusal;
using ::testing::StartsWith;

std::string repeat(std::string_view text, size_t bytes) {
  std::string all;
  while (all.size() < bytes) all += text;
  return all;
}

TEST(Guards, SizeEndsAtOneMebibyte) {
  EXPECT_EQ(read_sample("steps: 5\n#" + std::string(kMostConfigBytes - 10, 'x')).steps, 5);
  EXPECT_EQ(sample_refusal("steps: 5\n#" + std::string(kMostConfigBytes - 9, 'x')),
            "s.yaml: larger than 1 MiB, which is no configuration");
}

TEST(Guards, NestingEndsAtSixtyFour) {
  const auto nested = [](size_t depth) {
    return "name: " + std::string(depth, '[') + "x" + std::string(depth, ']');
  };
  EXPECT_THAT(sample_refusal(nested(63)), HasSubstr("name needs text, not a list"));
  EXPECT_EQ(sample_refusal(nested(64)), "s.yaml line 1: nested deeper than 64 levels");
  EXPECT_EQ(sample_refusal(nested(1000)), "s.yaml line 1: nested deeper than 64 levels");
  std::string lines;
  for (int i = 0; i < 500; ++i) lines += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  EXPECT_EQ(sample_refusal(lines), "s.yaml line 65: nested deeper than 64 levels");
}

TEST(Guards, AnchorsAliasesAndTagsAreRefused) {
  EXPECT_EQ(sample_refusal("steps: &n 5"),
            "s.yaml line 1: the anchor '&n' is refused (quote text that begins with '&')");
  EXPECT_EQ(sample_refusal("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]"),
            "s.yaml line 1: the anchor '&a' is refused (quote text that begins with '&')");
  EXPECT_EQ(sample_refusal("&x [*x]"),
            "s.yaml line 1: the anchor '&x' is refused (quote text that begins with '&')");
  EXPECT_EQ(sample_refusal("\nname: *.mp4"),
            "s.yaml line 2: an alias is refused: write the value again "
            "(quote text that begins with '*')");
  EXPECT_EQ(sample_refusal("steps: !!int 5"),
            "s.yaml line 1: the tag 'tag:yaml.org,2002:int' is refused (quote text that begins "
            "with '!')");
  EXPECT_EQ(sample_refusal("name: !python/object x"),
            "s.yaml line 1: the tag '!python/object' is refused (quote text that begins with '!')");
  for (const char* yaml : {"name: ! x", "size: !!seq [1, 2]", "inner: !a {lr: 1}", "!!map {}",
                           "!!str name: x", "%TAG !e! tag:x,2000:\n---\nname: !e!a b"}) {
    EXPECT_THAT(sample_refusal(yaml), HasSubstr("is refused (quote text that begins with '!')"))
        << yaml;
  }
  EXPECT_EQ(read_sample("name: '!x'").name, "!x");
  EXPECT_EQ(read_sample("name: \"*x\"").name, "*x");
}

TEST(Guards, DuplicateKeysAreRefused) {
  EXPECT_EQ(sample_refusal("inner:\n  lr: 0.1\n  files: []\n  lr: 0.2\n"),
            "s.yaml line 4: duplicate key 'inner.lr'; it is on line 2 already");
  EXPECT_EQ(sample_refusal("inner: {}\nsteps: 1\ninner: {}"),
            "s.yaml line 3: duplicate key 'inner'; it is on line 1 already");
  EXPECT_EQ(sample_refusal("steps: 1\n'steps': 2"),
            "s.yaml line 2: duplicate key 'steps'; it is on line 1 already");
  EXPECT_EQ(sample_refusal("bounds: [{metric: a, metric: b}]"),
            "s.yaml line 1: duplicate key 'bounds.metric'; it is on line 1 already");
}

TEST(Guards, OddBytesAreRefused) {
  EXPECT_EQ(sample_refusal(std::string("steps: 5\nname: a\0b", 18)),
            "s.yaml line 2: a control character (is it a text file in UTF-8?)");
  EXPECT_EQ(sample_refusal(std::string("\xff\xfes\0t\0", 6)),
            "s.yaml line 1: a control character (is it a text file in UTF-8?)");  // UTF-16
  EXPECT_EQ(sample_refusal("name: \x1b[2J"),
            "s.yaml line 1: a control character (is it a text file in UTF-8?)");
  for (const char* bytes : {"\xff", "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                            "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe4\xb8"}) {
    EXPECT_EQ(sample_refusal("steps: 5\nname: " + std::string(bytes) + "\n"),
              "s.yaml line 2: not UTF-8; save the file in UTF-8");
  }
  EXPECT_EQ(read_sample("name: \"ü 世 \xf0\x9f\x8e\xae\"").name, "ü 世 \xf0\x9f\x8e\xae");
}

TEST(Guards, AByteOrderMarkAndWindowsLinesAreHarmless) {
  const auto sample = read_sample("\xef\xbb\xbfsteps: 5\r\nname: a\r\n");
  EXPECT_EQ(sample.steps, 5);
  EXPECT_EQ(sample.name, "a");
}

TEST(Guards, TabsIndentNothing) {
  EXPECT_EQ(sample_refusal("inner:\n\tlr: 1"),
            "s.yaml line 2: a tab in the indentation; use spaces");
  EXPECT_EQ(sample_refusal("inner:\n  \tlr: 1"),
            "s.yaml line 2: a tab in the indentation; use spaces");
  EXPECT_EQ(read_sample("steps:\t5\t# five\n\t\n\t# a comment\n").steps, 5);
}

TEST(Guards, OneDocumentOnly) {
  EXPECT_EQ(read_sample("---\nsteps: 5\n...\n").steps, 5);
  EXPECT_EQ(sample_refusal("steps: 5\n---\nsteps: 6\n"),
            "s.yaml line 2: there is text after the end of the YAML document");
  EXPECT_EQ(sample_refusal("{steps: 5} name"),
            "s.yaml line 1: there is text after the end of the YAML document");
}

TEST(Guards, OddKeysAreRefused) {
  EXPECT_EQ(sample_refusal("[a]: 1"),
            "s.yaml line 1: a list or section cannot be a key (or a bracket is not closed)");
  EXPECT_EQ(sample_refusal("? {a: b}\n: 1"),
            "s.yaml line 1: a list or section cannot be a key (or a bracket is not closed)");
  EXPECT_EQ(sample_refusal(": 1"), "s.yaml line 1: a key is empty");
  EXPECT_EQ(sample_refusal("<<: {steps: 5}"),
            "s.yaml line 1: unknown key '<<'; valid here: fast, steps, name, kind, size, scale, "
            "inner, bounds");
}

TEST(Guards, BrokenYamlNamesTheLine) {
  EXPECT_EQ(sample_refusal("steps: 5\n  name: a: b\n"),
            "s.yaml line 2: not valid YAML: illegal map value");
  EXPECT_EQ(sample_refusal("size: [8, 8\n"),
            "s.yaml line 2: not valid YAML: end of sequence flow not found");
  EXPECT_EQ(sample_refusal("size: [8, 8"),
            "s.yaml line 1: not valid YAML: end of sequence flow not found");
}

TEST(Guards, QuotesMustBeClosed) {
  for (const char* quoted : {"\"a", "'a", "\"", "'", "\"a\\\"", "'a''"}) {
    const std::string yaml = "steps: 5\nname: " + std::string(quoted);
    EXPECT_THAT(sample_refusal(yaml), StartsWith("s.yaml line 2: ")) << quoted;
    // With an end of line at the end of the file, yaml-cpp alone would take the quote for closed.
    EXPECT_EQ(sample_refusal(yaml + "\n"),
              "s.yaml line 2: the quote that begins here is not closed")
        << quoted;
  }
  EXPECT_EQ(read_sample("name: \"a\\\"b\\\\\"").name, "a\"b\\");
  EXPECT_EQ(read_sample("'name': 'ü''s'").name, "ü's");
  EXPECT_EQ(read_sample("name: it's").name, "it's");
}

TEST(Guards, MebibytesOfEverySyntaxAreRefused) {
  for (const char* unit : {"[",    "{",          "- ",     "? ",     ": ",
                           "a: ",  "\"",         "'",      "&a ",    "*a ",
                           "!a ",  "[a,",        "{a: ",   "a: 1\n", "- a\n",
                           "|\n ", "%TAG ! a\n", "---\n",  "]",      "a: [b, {c: d}]\n",
                           "'a' ", "? a\n",      "- - a\n"}) {
    EXPECT_THAT(sample_refusal(repeat(unit, kMostConfigBytes / 2)), StartsWith("s.yaml")) << unit;
  }
  EXPECT_EQ(sample_refusal(repeat("[", 30'000)),
            "s.yaml: more than 20000 opening brackets, which is no configuration");
  EXPECT_EQ(sample_refusal("name: [" + repeat("a,", 60'000) + "]"),
            "s.yaml line 1: more than 20000 values");
}

}  // namespace
}  // namespace praxino
