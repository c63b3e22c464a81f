#include "praxino/config/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/config/load.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

constexpr std::string_view kLeast = "data:\n  path: videos\n";

std::string refusal(const std::vector<std::string>& overrides) {
  return testing::error_text([&] { parse_run(kLeast, "run.yaml", overrides); });
}

TEST(Run, DefaultsAreAValidRun) {
  RunConfig config;
  config.data.path = "videos";
  EXPECT_EQ(to_yaml(parse_run(kLeast, "run.yaml")), to_yaml(config));
  EXPECT_EQ(to_yaml(parse_run(to_yaml(config), "again")), to_yaml(config));
}

TEST(Run, OtherValuesReadBack) {
  const RunConfig config =
      parse_run(kLeast, "run.yaml",
                {"run.name=doom-2", "run.steps=400", "data.size=[32, 48]",
                 "data.split.val_files=[a b.mp4, c.mp4]", "optim.lr=0.1", "optim.betas=[0.8, 0.95]",
                 "run.device=cuda:1",
                 "expect=[{metric: train/loss, at: 400, below: 0.06}, {metric: x, above: -1e-3}]"});
  const RunConfig again = parse_run(to_yaml(config), "again");
  EXPECT_EQ(again.run.name, "doom-2");
  EXPECT_EQ(again.data.size, (std::array<int64_t, 2>{32, 48}));
  EXPECT_EQ(again.data.split.val_files, (std::vector<std::string>{"a b.mp4", "c.mp4"}));
  EXPECT_EQ(again.optim.betas, (std::array<double, 2>{0.8, 0.95}));
  ASSERT_EQ(again.expect.size(), 2u);
  EXPECT_EQ(again.expect[0].below, 0.06);
  EXPECT_EQ(again.expect[1].above, -1e-3);
  EXPECT_EQ(to_yaml(again), to_yaml(config));
}

TEST(Run, SwitchesAllKernelsWithOneWord) {
  const RunConfig all = parse_run("data: {path: videos}\nkernels: off\n", "run.yaml");
  EXPECT_EQ(all.kernels.attention, "off");
  EXPECT_EQ(all.kernels.optimizer, "off");
  EXPECT_EQ(to_yaml(parse_run(to_yaml(all), "again")), to_yaml(all));
  EXPECT_EQ(to_yaml(parse_run(kLeast, "run.yaml", {"kernels=off"})), to_yaml(all));

  const RunConfig one = parse_run(kLeast, "run.yaml", {"kernels={attention: off}"});
  EXPECT_EQ(one.kernels.attention, "off");
  EXPECT_EQ(one.kernels.norm, "auto");
  EXPECT_EQ(to_yaml(parse_run(kLeast, "run.yaml", {"kernels=off", "kernels=auto"})),
            to_yaml(parse_run(kLeast, "run.yaml")));

  EXPECT_EQ(refusal({"kernels=never"}),
            "override 'kernels=never': kernels is 'never', but must be one of auto, off");
  EXPECT_EQ(refusal({"kernels.attention=on"}),
            "override 'kernels.attention=on': kernels.attention is 'on', but must be one of auto, "
            "off");
  EXPECT_THAT(refusal({"model=off"}), ::testing::HasSubstr("model needs lines of the form"));
}

TEST(Run, OfAnEarlierVersionIsReadAsItWasThen) {
  RunConfig config = parse_run(kLeast, "run.yaml", {"model.depth=3"});
  EXPECT_EQ(to_yaml(parse_stored_run(to_yaml(config), "config.yaml")), to_yaml(config));

  const std::string added = "  input_scaling: true\n", seed = "  seed: 1\n";
  std::string before = to_yaml(config);
  before.erase(before.find(added), added.size());
  before.insert(before.find(seed), "  log_every: 10\n");
  config.model.input_scaling = false;
  EXPECT_EQ(to_yaml(parse_stored_run(before, "config.yaml")), to_yaml(config));
  EXPECT_THAT(testing::error_text([&] { parse_run(before, "config.yaml"); }),
              ::testing::HasSubstr("run.log_every"));
  EXPECT_THAT(testing::error_text([&] { parse_stored_run(before + "odd: 1\n", "config.yaml"); }),
              ::testing::HasSubstr("odd"));
}

TEST(Run, UnboundedExpectationsAreNotPrinted) {
  RunConfig config;
  config.expect = {{.metric = "eval/psnr@1", .at = 0, .above = 20}};
  EXPECT_THAT(to_yaml(config),
              ::testing::EndsWith("expect:\n  - {metric: eval/psnr@1, at: 0, above: 20}\n"));
}

TEST(Run, HashFollowsTheValuesNotTheText) {
  const auto hash = [](std::string_view yaml) { return config_hash(parse_run(yaml, "any")); };
  EXPECT_EQ(hash("data: {path: videos}"),
            hash("# other text\ndata:\n  path: 'videos'\n  batch: 8\n"));
  EXPECT_NE(hash("data: {path: videos}"), hash("data: {path: video}"));
  EXPECT_EQ(hash(kLeast).size(), 32u);
}

TEST(Run, LoadsAFileWithOverridesAndNamesItInErrors) {
  const testing::TemporaryFolder folder;
  const auto path = folder / "train.yaml";
  write_file_atomic(path, "data:\n  path: videos\noptim:\n  learning_rate: 1\n");
  EXPECT_EQ(testing::error_text([&] { load_run(path); }),
            path.string() + " line 4: unknown key 'optim.learning_rate'; did you mean 'optim.lr'?");
  write_file_atomic(path, kLeast);
  EXPECT_EQ(load_run(path, {"optim.lr=1e-4"}).optim.lr, 1e-4);
}

TEST(Run, AMissingFileIsWrongUsage) {
  try {
    load_run("/no/such/run.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
    EXPECT_STREQ(error.what(), "cannot open '/no/such/run.yaml': No such file or directory");
  }
}

TEST(CheckRun, NamesAndPaths) {
  EXPECT_EQ(refusal({"data.path=''"}),
            "override 'data.path=''': data.path must name the folder of the data set");
  EXPECT_EQ(testing::error_text([] { parse_run("", "run.yaml"); }),
            "run.yaml: data.path must name the folder of the data set");
  EXPECT_EQ(refusal({"run.name=\"\""}),
            "override 'run.name=\"\"': run.name must not be empty: it names the folder of the run");
  for (const char* name : {"a/b", ".hidden", "..", "a\\b"}) {
    const std::string override = std::string("run.name=") + name;
    EXPECT_EQ(refusal({override}),
              "override '" + override + "': run.name is '" + name +
                  "', but a folder name without '/' and without '.' in front is needed; "
                  "run.output says where");
  }
  EXPECT_EQ(refusal({"run.output=''"}),
            "override 'run.output=''': run.output must not be empty; '.' is the current folder");
  for (const char* device : {"gpu", "'cuda:'", "cuda:x", "cuda:-1", "cpu0"}) {
    EXPECT_THAT(refusal({std::string("run.device=") + device}),
                ::testing::HasSubstr("but must be auto, cpu, cuda or cuda:N"));
  }
  EXPECT_EQ(refusal({"data.split.val_files=[../x.mp4]"}),
            "override 'data.split.val_files=[../x.mp4]': data.split.val_files holds '../x.mp4', "
            "but paths below "
            "data.path are needed");
}

TEST(CheckRun, Shapes) {
  EXPECT_EQ(refusal({"data.size=[4096, 4096]"}),
            "override 'data.size=[4096, 4096]': data.size is [4096, 4096], but a frame can have at "
            "most 9437184 pixels");
  EXPECT_EQ(refusal({"tokenizer.patch=8", "data.size=[64, 60]"}),
            "override 'data.size=[64, 60]': data.size is [64, 60], but both must be multiples of "
            "tokenizer.patch (8)");
  EXPECT_EQ(refusal({"model.width=64", "model.heads=3"}),
            "override 'model.heads=3': model.heads is 3, which does not divide model.width (64)");
  EXPECT_EQ(refusal({"model.width=64", "model.heads=16"}),
            "override 'model.heads=16': model.heads is 16: model.width / heads is 4, but each head "
            "needs an even "
            "width of at least 8");
  EXPECT_EQ(refusal({"model.width=36", "model.heads=4"}),
            "override 'model.heads=4': model.heads is 4: model.width / heads is 9, but each head "
            "needs an even "
            "width of at least 8");
  EXPECT_EQ(
      refusal({"model.width=64", "model.heads=4", "model.kv_heads=3"}),
      "override 'model.kv_heads=3': model.kv_heads is 3, which does not divide model.heads (4)");
  EXPECT_EQ(refusal({"model.width=64", "model.heads=8", "model.kv_heads=2", "model.window=2",
                     "model.sinks=1"}),
            "(no error)");
}

TEST(CheckRun, Time) {
  EXPECT_EQ(refusal({"model.window=1"}),
            "override 'model.window=1': model.window is 1: a frame would see only itself; use 0 or "
            "at least 2");
  EXPECT_EQ(refusal({"model.window=4", "model.sinks=4"}),
            "override 'model.sinks=4': model.sinks is 4, but must be less than model.window (4)");
  EXPECT_EQ(
      refusal({"data.clip_frames=8", "model.window=0", "model.sinks=8"}),
      "override 'model.sinks=8': model.sinks is 8, but must be less than data.clip_frames (8)");
  EXPECT_EQ(refusal({"model.attention=space_time", "model.depth=2", "model.time_every=3"}),
            "override 'model.time_every=3': model.time_every is 3, but model.depth is 2: no block "
            "would attend "
            "along time");
  EXPECT_EQ(refusal({"model.attention=frame_causal", "model.depth=2", "model.time_every=3"}),
            "(no error)");
  EXPECT_THAT(refusal({"eval.context=0"}),
              ::testing::StartsWith("override 'eval.context=0': eval.context is 0"));
}

TEST(CheckRun, Expectations) {
  const auto refused = [](const std::string& entries) {
    return testing::error_text(
        [&] { parse_run(std::string(kLeast) + "expect:\n" + entries, "run.yaml"); });
  };
  EXPECT_EQ(refused("- {metric: a, below: 1}\n- {below: 1}\n"),
            "run.yaml line 5: expect[1] needs a metric, such as train/loss");
  EXPECT_EQ(refused("- {metric: a}\n"), "run.yaml line 4: expect[0] (a) needs 'below' or 'above'");
  EXPECT_EQ(refused("- {metric: a, below: 1, above: 2}\n"),
            "run.yaml line 4: expect[0] (a) cannot hold: above 2 and below 1");
  EXPECT_EQ(refused("- {metric: a, below: 1, at: 5000000}\n"),
            "run.yaml line 4: expect[0] (a) is judged at step 5000000, but run.steps is 1000; "
            "expect=[] drops all "
            "expectations");
}

TEST(CheckRun, TheLineOfTheKeyIsNamedWhereTheFileHasIt) {
  const auto refused = [](std::string_view yaml) {
    return testing::error_text([&] { parse_run(yaml, "run.yaml"); });
  };
  EXPECT_THAT(refused("model:\n  width: 64\n  heads: 3\ndata: {path: x}\n"),
              ::testing::StartsWith("run.yaml line 3: model.heads is 3"));
  EXPECT_THAT(refused("model:\n  width: 30\ndata: {path: x}\n"),
              ::testing::StartsWith("run.yaml: model.heads is "));
}

TEST(CheckRun, AConfigurationFromCodeIsCheckedUnderTheGivenName) {
  RunConfig config;
  EXPECT_EQ(testing::error_text([&] { check_run(config, "from code"); }),
            "from code: data.path must name the folder of the data set");
  config.data.path = "x";
  EXPECT_EQ(testing::error_text([&] { check_run(config, "from code"); }), "(no error)");
}

}  // namespace
}  // namespace praxino
