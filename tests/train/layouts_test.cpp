// Training on every kind of mesh against one process with the same global batches.
#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "train/small_training.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using testing::expect_close;
using testing::expect_same;
using testing::first_moments;
using testing::Outcome;
using testing::train;

struct Layout {
  const char* name = "";
  MeshShape shape;
  friend std::ostream& operator<<(std::ostream& out, const Layout& l) { return out << l.name; }
};

class Layouts : public ::testing::TestWithParam<Layout> {
 protected:
  RunConfig run(const std::string& name) const {
    RunConfig config = testing::float_run(folder_.path(), name);
    config.model.heads = 4;
    config.model.kv_heads = 2;
    config.model.registers = 1;
    return config;
  }
  const MeshShape shape_ = GetParam().shape;
  const testing::TemporaryFolder folder_;
};

TEST_P(Layouts, LearnsWhatOneProcessLearns) {
  const Outcome one = train(run("one"), 1, 50);
  const Outcome several = train(run("several"), shape_, 50);
  expect_close(several.losses, one.losses, 1e-4);
  EXPECT_LE(std::abs(several.norms[0] - one.norms[0]) / one.norms[0], 1e-6);
}

// From a checkpoint at which every parameter has a gradient: what the moments gain in a step.
TEST_P(Layouts, GradientsOfAStepAreThoseOfOneProcess) {
  RunConfig config = run("step");
  config.optim.clip = 0;
  config.optim.gradient_accumulation = 2;
  const at::Tensor before = first_moments(train(config, 1, 6).state);
  const auto gradient = [&](const MeshShape& shape, const std::string& name) {
    RunConfig own = config;
    own.run.output = (folder_.path() / name).string();
    own.model.activation_checkpointing = shape.ranks() > 1;
    fs::copy(config.run.output, own.run.output, fs::copy_options::recursive);
    return first_moments(train(own, shape, 7).state) - before * config.optim.betas[0];
  };
  const at::Tensor want = gradient({}, "alone"), got = gradient(shape_, "together");
  EXPECT_LE((got - want).norm().item<double>(), 1e-6 * want.norm().item<double>());
}

TEST_P(Layouts, WithMuonAndFrameCausalAttention) {
  const auto configured = [&](const std::string& name) {
    RunConfig config = run(name);
    config.optim.kind = "muon";
    config.optim.lr = 0.01;
    config.model.attention = "frame_causal";
    return config;
  };
  const Outcome one = train(configured("one"), 1, 12);
  const Outcome several = train(configured("several"), shape_, 12);
  expect_close(several.losses, one.losses, 1e-2);  // bfloat16 products
}

TEST_P(Layouts, TwiceTheSameBits) {
  const Outcome first = train(run("first"), shape_, 6), second = train(run("second"), shape_, 6);
  EXPECT_EQ(first.losses, second.losses);
  for (const auto& [name, tensors] : first.state.files) {
    expect_same(second.state.files.at(name), tensors);
  }
}

INSTANTIATE_TEST_SUITE_P(Meshes, Layouts,
                         ::testing::Values(Layout{"Tensor2", {.tensor = 2}},
                                           Layout{"Context2", {.context = 2}},
                                           Layout{"Data2Tensor2", {.data = 2, .tensor = 2}},
                                           Layout{"Data2Context2", {.data = 2, .context = 2}},
                                           Layout{"Context2Tensor2", {.context = 2, .tensor = 2}}),
                         [](const auto& about) { return std::string(about.param.name); });

// One run that changes its layout three times sees each sample once, and learns as if it had not.
TEST(Layout, ChangesInTheMiddleOfARun) {
  const testing::TemporaryFolder folder;
  const Outcome straight = train(testing::float_run(folder.path(), "straight"), 1, 12);
  const RunConfig cut = testing::float_run(folder.path(), "cut");
  train(cut, MeshShape{.tensor = 2}, 3);
  train(cut, MeshShape{.data = 2, .context = 2}, 6);
  train(cut, MeshShape{.data = 4}, 9);
  const Outcome last = train(cut, MeshShape{.context = 2, .tensor = 2}, 12);
  expect_close(last.losses, straight.losses, 1e-4);
  EXPECT_EQ(last.losses.size(), 12U);
}

}  // namespace
}  // namespace praxino
