// A model that several ranks share (threads of this process, over Gloo) against the same model in
// one process: predictions, the gradient of every parameter, and rollouts.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "praxino/model/world_model.h"
#include "praxino/parallel/mesh.h"
#include "support/tensors.h"

namespace praxino {
namespace {

using testing::normal;
using testing::relative_error;
using testing::uniform;

constexpr int64_t kBatch = 2, kFrames = 5;
// Sums in another order, through four blocks of weights of about one: measured up to 1e-6.
constexpr double kRounding = 3e-6;
const TokenGrid kGrid{.rows = 3, .columns = 3, .width = 12};

/// How a model is built and over which ranks it is spread.
struct Case {
  friend std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
  const char* name = "";
  MeshShape shape;
  const char* attention = "space_time";
  int64_t heads = 4, kv_heads = 2;
  int64_t registers = 2;
  bool checkpointing = false;
};

ModelConfig config_of(const Case& c) {
  ModelConfig config;
  config.width = 32;
  config.depth = 4;
  config.heads = c.heads;
  config.kv_heads = c.kv_heads;
  config.time_every = 2;
  config.registers = c.registers;
  config.attention = c.attention;
  config.activation_checkpointing = c.checkpointing;
  config.temporal_preconditioning = true;
  return config;
}

// Every part speaks: the zero-initialized matrices get values, the same for any number of ranks.
std::unique_ptr<WorldModel> make_model(const Case& c, const ModelRanks& ranks = {}) {
  const std::vector<ActionField> fields = {
      {.name = "turn", .kind = "delta", .low = -4, .high = 4, .unit = ""}};
  auto model = std::make_unique<WorldModel>(
      config_of(c), kGrid, fields, WorldModelOptions{.clip_frames = kFrames, .ranks = ranks});
  const at::NoGradGuard off;
  uint64_t seed = 100;
  for (const Parameter& p : model->parameters().all()) {
    const auto sizes = p.slice ? p.slice->whole_sizes(p.value.sizes()) : p.value.sizes().vec();
    const at::Tensor noise = normal(sizes, seed++);
    p.value.add_(p.slice ? p.slice->part_of(noise) : noise, 0.1);
  }
  return model;
}

struct Input {
  at::Tensor z = normal({kBatch, kFrames, kGrid.count(), kGrid.width}, 1);
  at::Tensor signal = uniform({kBatch, kFrames}, 2);
  ActionBatch actions{.values = normal({kBatch, kFrames, 1}, 3),
                      .known = at::ones({kBatch, kFrames}, at::kBool)};
};

using Gradients = std::map<std::string, at::Tensor>;

/// One pass over the input; the gradients of the parameters that the model holds.
at::Tensor learn(const WorldModel& model, const at::Tensor& target) {
  const Input in;
  const at::Tensor prediction = model.forward(in.z, in.signal, in.actions);
  (prediction - target).square().sum().backward();
  return prediction.detach();
}

class SharedModel : public ::testing::TestWithParam<Case> {
 protected:
  const at::Tensor target_ = normal({kBatch, kFrames, kGrid.count(), kGrid.width}, 9);
};

TEST_P(SharedModel, PredictsAndDifferentiatesLikeOneProcess) {
  const Case& c = GetParam();
  const auto one = make_model(c);
  const at::Tensor want = learn(*one, target_);
  // The parts of sliced parameters by tensor rank, and the sum over all who hold a parameter.
  std::map<std::string, std::vector<at::Tensor>> parts;
  std::map<std::string, Slice> slices;
  std::mutex mutex;
  run_as_threads(c.shape, [&](Mesh& mesh) {
    const auto model = make_model(c, {.tensor = mesh.tensor(), .context = mesh.context()});
    const at::Tensor got = learn(*model, target_);
    EXPECT_LT(relative_error(got, want), kRounding);
    const std::lock_guard lock(mutex);
    EXPECT_EQ(model->parameters().count(), one->parameters().count());
    EXPECT_EQ(model->forward_flops(kFrames), one->forward_flops(kFrames));
    for (const Parameter& p : model->parameters().all()) {
      auto& held = parts[p.name];
      held.resize(p.slice ? static_cast<size_t>(p.slice->ranks()) : 1);
      if (p.slice) slices.emplace(p.name, *p.slice);
      at::Tensor& sum = held[p.slice ? static_cast<size_t>(p.slice->rank) : 0];
      const at::Tensor gradient =
          p.value.grad().defined() ? p.value.grad() : at::zeros_like(p.value);
      sum = sum.defined() ? sum + gradient : gradient;
    }
  });
  std::vector<at::Tensor> all_got, all_want;
  for (const Parameter& p : one->parameters().all()) {
    const auto& held = parts.at(p.name);
    const at::Tensor got = held.size() > 1 ? slices.at(p.name).join(held) : held.front();
    EXPECT_LT(relative_error(got, p.value.grad()), 5e-6) << p.name;
    all_got.push_back(got.reshape(-1));
    all_want.push_back(p.value.grad().reshape(-1));
  }
  const at::Tensor difference = at::cat(all_got) - at::cat(all_want);
  EXPECT_LT(difference.norm().item<double>(), kRounding * at::cat(all_want).norm().item<double>());
}

TEST_P(SharedModel, RollsOutLikeOneProcess) {
  const Case& c = GetParam();
  const auto roll = [](const WorldModel& model) {
    const at::InferenceMode inference;
    const Input in;
    const auto cache = model.make_cache(kBatch, 3);
    std::vector<at::Tensor> frames;
    for (int64_t t = 0; t < kFrames; ++t) {
      const ActionBatch actions{.values = in.actions.values.narrow(1, t, 1),
                                .known = in.actions.known.narrow(1, t, 1)};
      frames.push_back(
          model.decode(in.z.narrow(1, t, 1), in.signal.narrow(1, t, 1), actions, *cache, true));
    }
    return at::cat(frames, 1).clone();
  };
  const at::Tensor want = roll(*make_model(c));
  run_as_threads(c.shape, [&](Mesh& mesh) {
    const auto model = make_model(c, {.tensor = mesh.tensor(), .context = mesh.context()});
    EXPECT_LT(relative_error(roll(*model), want), kRounding);
  });
}

// 11 or 9 tokens, 5 frames and 3 or 5 heads: nothing divides.
INSTANTIATE_TEST_SUITE_P(
    Layouts, SharedModel,
    ::testing::Values(
        Case{.name = "Tensor2", .shape = {.tensor = 2}},
        Case{.name = "Tensor3", .shape = {.tensor = 3}, .heads = 8, .kv_heads = 4},
        Case{.name = "Tensor2OfThreeGroups",
             .shape = {.tensor = 2},
             .heads = 4,
             .kv_heads = 4,
             .registers = 0},
        Case{.name = "Tensor2Causal", .shape = {.tensor = 2}, .attention = "frame_causal"},
        Case{.name = "Context2", .shape = {.context = 2}},
        Case{.name = "Context3", .shape = {.context = 3}, .registers = 0},
        Case{.name = "Context2Causal", .shape = {.context = 2}, .attention = "frame_causal"},
        Case{.name = "Context3CausalFewGroups",
             .shape = {.context = 3},
             .attention = "frame_causal",
             .kv_heads = 2},
        Case{.name = "Context2Tensor2", .shape = {.context = 2, .tensor = 2}},
        Case{.name = "Context2Tensor2Causal",
             .shape = {.context = 2, .tensor = 2},
             .attention = "frame_causal",
             .checkpointing = true},
        Case{.name = "Context2Tensor2Checkpointed",
             .shape = {.context = 2, .tensor = 2},
             .checkpointing = true}),
    [](const auto& about) { return std::string(about.param.name); });

}  // namespace
}  // namespace praxino
