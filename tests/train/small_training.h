#pragma once
// Small trainings on one process or several ranks (threads of this process, over Gloo), to compare
// with each other.

#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "praxino/checkpoint/store.h"
#include "praxino/data/synthetic.h"
#include "praxino/parallel/mesh.h"
#include "praxino/train/trainer.h"
#include "support/run_log_lines.h"

namespace praxino::testing {

namespace fs = std::filesystem;

/// A small world with every kind of parameter; batches of four.
inline RunConfig small_run(const fs::path& folder, const std::string& name) {
  if (!fs::exists(folder / "data")) {
    make_dataset({.world = "pan", .episodes = 2, .frames = 24, .height = 16, .width = 16},
                 folder / "data");
  }
  RunConfig config;
  config.run.name = name;
  config.run.output = (folder / "runs").string();
  config.run.steps = 50;
  config.run.threads = 1;
  config.run.precision = "fp32";
  config.data.path = (folder / "data").string();
  config.data.clip_frames = 4;
  config.data.size = {16, 16};
  config.data.batch = 4;
  config.data.split.val = 0;
  config.model.width = 32;
  config.model.depth = 2;
  config.model.heads = 2;
  config.model.time_every = 2;
  config.optim.warmup = 5;
  config.checkpoint.every = 1000;
  return config;
}

/// With an optimizer that computes in float32 throughout: Muon's products are bfloat16 where the
/// processor has it, which makes the last bit of a gradient a visible one.
inline RunConfig float_run(const fs::path& folder, const std::string& name) {
  RunConfig config = small_run(folder, name);
  config.optim.kind = "adamw";
  config.optim.lr = 1e-3;
  return config;
}

struct Outcome {
  std::vector<double> losses, norms;  // of each step
  TrainState state;                   // the last checkpoint
};

/// Steps until `steps` are done, on the ranks of `shape`, and a checkpoint.
inline Outcome train(const RunConfig& config, const MeshShape& shape, int64_t steps) {
  Outcome outcome;
  const auto run = [&](const std::shared_ptr<const Mesh>& mesh) {
    Trainer trainer(config, {.from = {}, .mesh = mesh});
    while (trainer.steps_done() < steps) {
      const StepStats stats = trainer.step();
      if (!mesh || mesh->first()) outcome.norms.push_back(stats.gradient_norm.item<double>());
    }
    trainer.save();
  };
  if (shape.ranks() == 1) {
    run(nullptr);
  } else {
    run_as_threads(shape, [&](Mesh& mesh) { run({&mesh, [](const Mesh*) {}}); });
  }
  const fs::path directory = fs::path(config.run.output) / config.run.name;
  for (const auto& [step, loss] : losses(directory)) outcome.losses.push_back(loss);
  outcome.state = CheckpointStore(directory / "checkpoints").load(steps);
  return outcome;
}

inline void expect_close(const std::vector<double>& got, const std::vector<double>& want,
                         double bound) {
  ASSERT_EQ(got.size(), want.size());
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    worst = std::max(worst, std::abs(got[i] - want[i]) / std::abs(want[i]));
  }
  EXPECT_LE(worst, bound);
}

inline void expect_same(const NamedTensors& got, const NamedTensors& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got[i].first, want[i].first);
    EXPECT_TRUE(got[i].second.equal(want[i].second)) << want[i].first;
  }
}

/// The same on `ranks` data ranks.
inline Outcome train(const RunConfig& config, int64_t ranks, int64_t steps) {
  return train(config, MeshShape{.data = ranks}, steps);
}

/// First moments of AdamW, all in one vector.
inline at::Tensor first_moments(const TrainState& state) {
  std::vector<at::Tensor> flat;
  for (const auto& [name, tensor] : state.files.at("optimizer")) {
    if (name.starts_with("exp_avg.")) flat.push_back(tensor.reshape(-1).to(at::kDouble));
  }
  return at::cat(flat);
}

}  // namespace praxino::testing
