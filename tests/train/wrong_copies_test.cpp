// Bits that flip in one rank's copy of the weights, on every kind of mesh.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "support/error_text.h"
#include "support/temporary_folder.h"
#include "train/small_training.h"

namespace praxino {
namespace {

using ::testing::HasSubstr;

struct Case {
  const char* name = "";
  MeshShape shape;
  bool sharded = false;
  /// In which the bits flip: one that is whole on every rank, and one whose parts are split.
  std::vector<const char*> parameters = {"blocks.0.modulation.weight",
                                         "blocks.1.attention.output.weight"};
  friend std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
};

class WrongCopiesOnMeshes : public ::testing::TestWithParam<Case> {
 protected:
  RunConfig run(const std::string& name) const {
    RunConfig config = testing::float_run(folder_.path(), name);
    config.parallel.check_weights_every = 1;
    config.parallel.shard_weights = config.model.activation_checkpointing = GetParam().sharded;
    return config;
  }

  /// What each rank says where one bit flips on rank `flipped` in step 2: in the middle of its
  /// backward pass, or before the step, when the weights have arrived.
  std::vector<std::string> told(int64_t flipped, const char* parameter, bool early) const {
    const MeshShape shape = GetParam().shape;
    std::vector<std::string> all(static_cast<size_t>(shape.ranks()));
    RunConfig config = run("flipped");
    config.run.output += std::to_string(flipped) + parameter + (early ? "early" : "late");
    run_as_threads(shape, [&](Mesh& mesh) {
      Trainer trainer(config, {.from = {}, .mesh = {&mesh, [](const Mesh*) {}}});
      trainer.step();
      trainer.save();  // the weights of the update are everywhere
      const Parameters& model = trainer.world().model->parameters();
      const auto flip = [value = model.find(parameter)->value] {
        auto* words = reinterpret_cast<uint32_t*>(value.mutable_data_ptr<float>());
        words[value.numel() - 1] ^= 1;  // the lowest bit: no loss shows it
      };
      if (mesh.rank() == flipped && early) flip();
      if (mesh.rank() == flipped && !early) {
        model.find("head.weight")->value.register_hook([flip](const at::Tensor&) { flip(); });
      }
      std::string& text = all[static_cast<size_t>(mesh.rank())];
      text = testing::error_text([&] { trainer.step(); });
    });
    return all;
  }

  const testing::TemporaryFolder folder_;
};

TEST_P(WrongCopiesOnMeshes, AreNamedOnAllRanks) {
  const Case& c = GetParam();
  for (int64_t rank = 0; rank < c.shape.ranks(); ++rank) {
    for (const char* parameter : c.parameters) {
      const std::string wanted =
          "step 2: rank " + std::to_string(rank) + "'s copy of " + parameter + " ";
      for (const std::string& text : told(rank, parameter, false)) {
        EXPECT_THAT(text, HasSubstr(wanted + "has changed in its memory; a bit"));
      }
    }
  }
}

// What all have whole there are as many copies of as ranks; of split matrices a copy a replica.
TEST_P(WrongCopiesOnMeshes, AreNamedWhereTheyArrivedWrong) {
  const Case& c = GetParam();
  const int64_t rank = c.shape.ranks() - 1;
  const std::string name = c.parameters.front();
  const std::vector<std::string> texts = told(rank, c.parameters.front(), true);
  for (const std::string& text : texts) {
    EXPECT_EQ(text, texts.front());
    EXPECT_THAT(text, HasSubstr("'s copy of " + name + " is not what the others have; a bit"));
  }
  if (c.shape.ranks() < 3) return;  // of two the owner is right
  EXPECT_THAT(texts.front(), HasSubstr("step 2: rank " + std::to_string(rank) + "'s copy"));
}

TEST_P(WrongCopiesOnMeshes, NobodyIsBlamedInTwentySteps) {
  const RunConfig config = run("right");
  run_as_threads(GetParam().shape, [&](Mesh& mesh) {
    Trainer trainer(config, {.from = {}, .mesh = {&mesh, [](const Mesh*) {}}});
    for (int step = 0; step < 20; ++step) EXPECT_EQ(trainer.step().skipped.item<double>(), 0);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Meshes, WrongCopiesOnMeshes,
    ::testing::Values(Case{.name = "tensor2", .shape = {.tensor = 2}},
                      Case{.name = "context2", .shape = {.context = 2}},
                      Case{.name = "data2_tensor2", .shape = {.data = 2, .tensor = 2}},
                      Case{.name = "context2_tensor2", .shape = {.context = 2, .tensor = 2}},
                      Case{.name = "data2_sharded",
                           .shape = {.data = 2},
                           .sharded = true,
                           .parameters = {"places", "head.weight"}},
                      Case{.name = "data2_tensor2_sharded",
                           .shape = {.data = 2, .tensor = 2},
                           .sharded = true,
                           .parameters = {"input.weight"}}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace praxino
