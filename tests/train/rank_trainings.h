#pragma once
// What is asked of the ranks of a small training one by one.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "praxino/parallel/mesh.h"
#include "praxino/train/trainer.h"
#include "train/rank_memory.h"

namespace praxino::testing {

/// At a rate that no weight survives two ranks skip the same steps.
inline void expect_equal_skips(RunConfig config) {
  config.optim.lr = 1e30;
  config.optim.clip = 0;
  config.optim.warmup = 0;
  config.optim.max_skipped = 1000;
  std::mutex mutex;
  std::map<int64_t, std::vector<double>> skipped;
  run_as_threads({.data = 2}, [&](Mesh& mesh) {
    Trainer trainer(config, {.from = {}, .mesh = {&mesh, [](const Mesh*) {}}});
    for (int64_t step = 0; step < 6; ++step) {
      const double value = trainer.step().skipped.item<double>();
      const std::lock_guard lock(mutex);
      skipped[step].push_back(value);
    }
  });
  double sum = 0;
  for (const auto& [step, values] : skipped) {
    EXPECT_EQ(values[0], values[1]) << "step " << step;
    sum += values[0];
  }
  EXPECT_GT(sum, 0) << "no step was bad";
}

/// The most that the fullest of the ranks had allocated.
struct RankPeaks {
  int64_t start = 0;
  int64_t step = 0;  // in its second and third step
};
inline RankPeaks peaks_of_a_rank(const RunConfig& config, const MeshShape& shape,
                                 const std::filesystem::path& from = {}) {
  RankPeaks most;
  std::mutex mutex;
  run_as_threads(shape, [&](Mesh& mesh) {
    RankMemory memory;
    Trainer trainer(config, {.from = from, .mesh = {&mesh, [](const Mesh*) {}}});
    const int64_t start = memory.peak();
    trainer.step();
    memory.forget_peak();
    trainer.step();
    trainer.step();
    const std::lock_guard lock(mutex);
    most.start = std::max(most.start, start);
    most.step = std::max(most.step, memory.peak());
  });
  return most;
}

}  // namespace praxino::testing
