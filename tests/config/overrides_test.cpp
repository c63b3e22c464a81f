#include "config/overrides.h"

#include <gtest/gtest.h>

#include "config/sample_section.h"

namespace praxino {
namespace {

using testing::Bound;
using testing::read_sample;
using testing::sample_refusal;

TEST(Overrides, WinOverTheFileAndTheLastOneWins) {
  EXPECT_EQ(read_sample("steps: 5", {"steps=6"}).steps, 6);
  EXPECT_EQ(read_sample("steps: 5", {"steps=6", "steps=7"}).steps, 7);
  EXPECT_EQ(read_sample("", {"inner.lr=1e-4"}).inner.learning_rate, 1e-4);
  EXPECT_EQ(read_sample("inner:", {"inner.lr=1"}).inner.learning_rate, 1);
}

TEST(Overrides, ValuesAreYaml) {
  const auto sample =
      read_sample("size: [8, 8]\nbounds: [{metric: a}]\n",
                  {"size=[16, 32]", "bounds=[{metric: b, below: 2}]", "name=\"x: y\"",
                   "inner={files: [p, q]}", "kind=green # the colour"});
  EXPECT_EQ(sample.size, (std::array<int64_t, 2>{16, 32}));
  EXPECT_EQ(sample.bounds, (std::vector<Bound>{{.metric = "b", .below = 2}}));
  EXPECT_EQ(sample.name, "x: y");
  EXPECT_EQ(sample.inner.files, (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(sample.kind, "green");
  EXPECT_EQ(read_sample("", {"name=a=b"}).name, "a=b");
  EXPECT_TRUE(read_sample("bounds: [{metric: a}]", {"bounds=[]"}).bounds.empty());
}

TEST(Overrides, SectionsAreMerged) {
  const auto sample = read_sample("inner: {lr: 2, files: [a]}", {"inner={lr: 3}"});
  EXPECT_EQ(sample.inner.learning_rate, 3);
  EXPECT_EQ(sample.inner.files, (std::vector<std::string>{"a"}));
}

TEST(Overrides, RefusalsNameTheOverride) {
  const auto refused = [](const char* override) {
    return sample_refusal("steps: 5\nsize: [8, 8]\n", {override});
  };
  EXPECT_EQ(refused("inner.learning_rate=1"),
            "override 'inner.learning_rate=1': unknown key 'inner.learning_rate'; did you mean "
            "'inner.lr'?");
  EXPECT_EQ(refused("iner.lr=1"),
            "override 'iner.lr=1': unknown key 'iner'; did you mean 'inner'?");
  EXPECT_EQ(refused("steps"),
            "override 'steps' is not of the form key=value, such as optim.lr=1e-4");
  EXPECT_EQ(refused("=5"), "override '=5' is not of the form key=value, such as optim.lr=1e-4");
  EXPECT_EQ(refused("inner..lr=1"),
            "override 'inner..lr=1': the key 'inner..lr' has an empty part");
  EXPECT_EQ(refused("inner.=1"), "override 'inner.=1': the key 'inner.' has an empty part");
  EXPECT_EQ(refused("steps=fast"), "override 'steps=fast': steps needs a whole number, not 'fast'");
  EXPECT_EQ(refused("steps="), "override 'steps=': steps needs a whole number, not nothing");
  EXPECT_EQ(refused("steps=0"), "override 'steps=0': steps is 0, but must be at least 1");
  EXPECT_EQ(refused("steps.x=1"), "override 'steps.x=1': steps is '5', not a section");
  EXPECT_EQ(refused("size.0=1"), "override 'size.0=1': size is a list, not a section");
  EXPECT_EQ(refused("name=[a"),
            "override 'name=[a': a list or section cannot be a key (or a bracket is not closed)");
  EXPECT_EQ(refused("name=&a b"),
            "override 'name=&a b': the anchor '&a' is refused (quote text that begins with '&')");
  EXPECT_EQ(refused("inner={lr: 1, lr: 2}"), "override 'inner={lr: 1, lr: 2}': duplicate key 'lr'");
}

TEST(Overrides, OnAFileThatIsNoMapBlameTheFile) {
  EXPECT_EQ(sample_refusal("[a]", {"steps=1"}),
            "override 'steps=1': s.yaml is a list, not a section");
}

}  // namespace
}  // namespace praxino
