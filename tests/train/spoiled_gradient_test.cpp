// A gradient that is not finite on one rank, where every rank's loss is: who is named, and for
// what.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <mutex>
#include <regex>

#include "support/temporary_folder.h"
#include "train/small_training.h"

namespace praxino {
namespace {

using ::testing::ElementsAre;
using testing::float_run;

constexpr int64_t kSteps = 4, kSpoiled = 3;  // the step that is spoiled, from 1

struct Told {
  std::vector<std::string> lines;            // that name a rank
  std::vector<std::vector<double>> skipped;  // of each rank, by step
};

/// Trains; `prepare` is given each rank's trainer and a flag that is set during the spoiled step.
template <class Prepare>
Told told(const RunConfig& config, const MeshShape& shape, const Prepare& prepare) {
  Told told;
  told.skipped.resize(static_cast<size_t>(shape.ranks()));
  ::testing::internal::CaptureStderr();
  run_as_threads(shape, [&](Mesh& mesh) {
    Trainer trainer(config, {.from = {}, .mesh = {&mesh, [](const Mesh*) {}}});
    bool armed = false;
    prepare(mesh.rank(), trainer.world().model->parameters(), armed);
    for (int64_t step = 1; step <= kSteps; ++step) {
      armed = step == kSpoiled;
      const double skipped = trainer.step().skipped.item<double>();
      told.skipped[static_cast<size_t>(mesh.rank())].push_back(skipped);
    }
  });
  std::istringstream log(::testing::internal::GetCapturedStderr());
  for (std::string line; std::getline(log, line);) {
    const size_t begin = line.find("step ");
    if (line.find(" of rank ") != std::string::npos) told.lines.push_back(line.substr(begin));
  }
  return told;
}

struct Case {
  const char* name = "";
  MeshShape shape;
  int64_t rank = 0;  // whose gradient is spoiled
  const char* parameter = "";
  float value = std::numeric_limits<float>::quiet_NaN();
  bool sharded = false;
  int64_t parts = 1;  // micro-batches
  const char* gradients = "fp32";
  friend std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
};

class SpoiledGradient : public ::testing::TestWithParam<Case> {
 protected:
  RunConfig run() const {
    RunConfig config = float_run(folder_.path(), GetParam().name);
    config.parallel.shard_weights = config.model.activation_checkpointing = GetParam().sharded;
    config.parallel.gradients = GetParam().gradients;
    config.optim.gradient_accumulation = GetParam().parts;
    return config;
  }
  const testing::TemporaryFolder folder_;
};

TEST_P(SpoiledGradient, IsNamedWithItsRankAndParameterAndSkippedByAll) {
  const Case& c = GetParam();
  const RunConfig config = run();
  const Told all = told(config, c.shape, [&](int64_t rank, const Parameters& model, bool& armed) {
    if (rank != c.rank) return;
    model.find(c.parameter)->value.register_hook([&c, &armed](const at::Tensor& gradient) {
      at::Tensor spoiled = gradient.clone();
      if (std::exchange(armed, false)) spoiled.view(-1)[3] = c.value;  // of one micro-batch
      return spoiled;
    });
  });
  for (const std::vector<double>& skipped : all.skipped) {
    EXPECT_THAT(skipped, ElementsAre(0, 0, 1, 0));
  }
  const int64_t data_rank = mesh_place(c.shape, c.rank).data, rows = 4 / c.shape.data;
  std::string samples;
  for (int64_t part = 0; part < c.parts; ++part) {
    const int64_t first = 4 * ((kSpoiled - 1) * c.parts + part) + data_rank * rows;
    for (int64_t i = 0; i < rows; ++i) {
      samples += (samples.empty() ? "" : ", ") + std::to_string(first + i);
    }
  }
  EXPECT_THAT(all.lines,
              ElementsAre("step 3: the gradient of rank " + std::to_string(c.rank) +
                          " is not finite; first in " + c.parameter + "; its samples " + samples));
}

constexpr float kInfinite = std::numeric_limits<float>::infinity();
INSTANTIATE_TEST_SUITE_P(
    Ranks, SpoiledGradient,
    ::testing::Values(
        Case{.name = "data2", .shape = {.data = 2}, .rank = 1, .parameter = "places"},
        Case{.name = "data4",
             .shape = {.data = 4},
             .rank = 2,
             .parameter = "blocks.1.attention.query.weight",
             .value = -kInfinite},
        Case{.name = "data2_in_two_parts",
             .shape = {.data = 2},
             .rank = 0,
             .parameter = "blocks.0.feed_forward.down.weight",
             .parts = 2},
        Case{.name = "data2_bf16",
             .shape = {.data = 2},
             .rank = 1,
             .parameter = "head.weight",
             .value = kInfinite,
             .gradients = "bf16"},
        Case{.name = "data2_sharded",
             .shape = {.data = 2},
             .rank = 1,
             .parameter = "input.weight",
             .sharded = true},
        Case{.name = "data4_sharded_in_two_parts",
             .shape = {.data = 4},
             .rank = 3,
             .parameter = "blocks.1.modulation.weight",
             .sharded = true,
             .parts = 2},
        Case{.name = "tensor2",
             .shape = {.tensor = 2},
             .rank = 1,
             .parameter = "blocks.0.attention.output.weight"},
        Case{.name = "tensor2_unsplit",
             .shape = {.tensor = 2},
             .rank = 0,
             .parameter = "blocks.0.modulation.weight",
             .parts = 2},
        Case{.name = "tensor2_sharded",
             .shape = {.tensor = 2},
             .rank = 1,
             .parameter = "blocks.0.feed_forward.up.weight",
             .sharded = true},
        Case{.name = "context2", .shape = {.context = 2}, .rank = 1, .parameter = "places"},
        Case{.name = "data2_tensor2",
             .shape = {.data = 2, .tensor = 2},
             .rank = 2,
             .parameter = "blocks.1.feed_forward.down.weight"}),
    [](const auto& test) { return std::string(test.param.name); });

// Rank 1 computes with a weight of its own that is wrong during the backward pass alone. What comes
// of it reaches the ranks that share the model: of them rank 1 alone is named, with the parameter
// that backward came to first.
class SpoiledActivations : public ::testing::TestWithParam<Case> {};

TEST_P(SpoiledActivations, AreThoseOfTheRankThatHadThemFirst) {
  const testing::TemporaryFolder folder;
  const Told all =
      told(float_run(folder.path(), "run"), GetParam().shape,
           [&](int64_t rank, const Parameters& model, bool& armed) {
             if (rank != 1) return;
             auto* weight =
                 model.find("blocks.1.feed_forward.down.weight")->value.mutable_data_ptr<float>();
             auto right = std::make_shared<float>();
             // The first parameter that backward comes to, and one of its last.
             model.find("head.weight")->value.register_hook([=, &armed](const at::Tensor&) {
               *right = *weight;
               if (armed) *weight = std::numeric_limits<float>::quiet_NaN();
             });
             model.find("input.weight")->value.register_hook([=](const at::Tensor&) {
               *weight = *right;
             });
           });
  for (const std::vector<double>& skipped : all.skipped) {
    EXPECT_THAT(skipped, ElementsAre(0, 0, 1, 0));
  }
  ASSERT_EQ(all.lines.size(), 1U) << ::testing::PrintToString(all.lines);
  EXPECT_THAT(all.lines[0], ::testing::StartsWith("step 3: the gradient of rank 1 is not finite; "
                                                  "first in blocks.1.feed_forward.up.weight; "));
}

INSTANTIATE_TEST_SUITE_P(Ranks, SpoiledActivations,
                         ::testing::Values(Case{.name = "data2", .shape = {.data = 2}},
                                           Case{.name = "tensor2", .shape = {.tensor = 2}},
                                           Case{.name = "context2", .shape = {.context = 2}},
                                           Case{.name = "context2_tensor2",
                                                .shape = {.context = 2, .tensor = 2}}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace praxino
