// What one layout of ranks saves, any other loads: weights, moments and averages to the bit.
#include "train/train_state.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <optional>

#include "praxino/base/file.h"
#include "praxino/checkpoint/store.h"
#include "praxino/parallel/mesh.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "train/sharded_model.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kStep = 5;

RunConfig small_config() {
  RunConfig config;
  config.data.size = {16, 16};
  config.model.width = 32;
  config.model.depth = 2;
  config.model.heads = 4;
  config.model.time_every = 2;
  config.optim.ema = 0.99;
  return config;
}

struct Layout {
  MeshShape mesh = {};
  bool shard_weights = false;
};

/// One rank's world, optimizer and averages; `mesh` is nothing for one process.
struct Rank {
  Rank(std::shared_ptr<const Mesh> mesh, bool shard_weights)
      : ranks(std::move(mesh)),
        world(build_world(small_config(), {}, {.ranks = ranks.model_ranks()})) {
    RunConfig config = small_config();
    config.parallel.shard_weights = shard_weights;
    if (ranks.several()) sharded.emplace(*world.model, config.parallel, ranks);
    ema.emplace(config.optim.ema, own());
    optimizer = make_optimizer(config.optim, own(),
                               sharded ? sharded->optimizer_ranks() : OptimizerRanks(), &*ema);
  }
  const Parameters& own() { return sharded ? sharded->own() : world.model->parameters(); }
  TrainParts parts() { return {world, own(), *optimizer, *ema, ranks.model_ranks().tensor}; }
  /// Returns how many bytes were read.
  int64_t load(const fs::path& folder) {
    const auto state =
        CheckpointStore(folder, 3, ranks.save_group()).load_newest(wanted_by(parts()));
    EXPECT_EQ(restore_state(*state, parts()).step, kStep);
    if (sharded) {
      sharded->start_sharing_weights();
      sharded->settle();
    }
    int64_t bytes = 0;
    for (const auto& [name, tensors] : state->files) {
      for (const auto& [key, tensor] : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
    }
    return bytes;
  }
  void save(const fs::path& folder) {
    CheckpointStore(folder, 3, ranks.save_group())
        .save(capture_state(parts(), {.step = kStep, .loader = {}}, ranks.first()));
  }

  Ranks ranks;
  World world;
  std::optional<ShardedModel> sharded;
  std::optional<Ema> ema;
  std::unique_ptr<Optimizer> optimizer;
};

void on_ranks(const Layout& layout, const std::function<void(Rank&)>& run) {
  if (layout.mesh.ranks() == 1) {
    Rank alone(nullptr, layout.shard_weights);
    return run(alone);
  }
  run_as_threads(layout.mesh, [&](Mesh& mesh) {
    Rank rank(std::shared_ptr<const Mesh>(&mesh, [](const Mesh*) {}), layout.shard_weights);
    run(rank);
  });
}

/// Every tensor another random one, so that none can stand in for another.
void scramble(const NamedTensors& tensors, uint64_t seed) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors) {
    at::Tensor values = tensor;
    values.copy_(tensor.dim() == 0 ? at::full({}, 7.0) : testing::normal(tensor.sizes(), ++seed));
  }
}

void expect_same(const NamedTensors& got, const NamedTensors& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  std::map<std::string, at::Tensor> by_name(got.begin(), got.end());
  for (const auto& [name, tensor] : want) {
    ASSERT_TRUE(by_name.contains(name)) << what << ": " << name;
    EXPECT_TRUE(by_name.at(name).equal(tensor)) << what << ": " << name;
  }
}

// One rank asks alone: it would wait forever if another were needed.
TEST(TrainState, IsKnownInItsSizesBeforeItIsPutTogether) {
  for (const Layout& layout :
       {Layout{}, Layout{{.tensor = 3}}, Layout{{.data = 2, .tensor = 2}, true}}) {
    on_ranks(layout, [&](Rank& rank) {
      const RunCounters counters{.loader = {}};
      TrainState like;
      if (rank.ranks.first()) like = state_like(rank.parts(), counters, true);
      const TrainState state = capture_state(rank.parts(), counters, rank.ranks.first());
      if (!rank.ranks.first()) like = state_like(rank.parts(), counters, false);
      ASSERT_EQ(like.files.size(), state.files.size());
      for (const auto& [file, tensors] : state.files) {
        ASSERT_EQ(like.files.at(file).size(), tensors.size()) << file;
        for (size_t i = 0; i < tensors.size(); ++i) {
          const auto& [name, tensor] = like.files.at(file)[i];
          EXPECT_EQ(name, tensors[i].first);
          EXPECT_EQ(tensor.sizes(), tensors[i].second.sizes()) << name;
          EXPECT_EQ(tensor.scalar_type(), tensors[i].second.scalar_type()) << name;
        }
      }
    });
  }
}

TEST(TrainState, GoesFromAnyLayoutToAnyOtherToTheBit) {
  const testing::TemporaryFolder folder;
  const fs::path first = folder / "first";
  on_ranks({}, [&](Rank& rank) {
    const TrainState state = capture_state(rank.parts(), {.loader = {}}, true);
    uint64_t seed = 0;
    for (const auto& [name, tensors] : state.files) scramble(tensors, seed += 1000);
    rank.save(first);
  });
  const TrainState want = load_checkpoint(checkpoint_directory(first, kStep));
  EXPECT_EQ(want.files.size(), 3U);
  fs::path from = first;
  int64_t hop = 0;
  const std::vector<Layout> layouts = {{{.data = 4}},
                                       {{.data = 4}, true},
                                       {{.data = 2, .tensor = 2}},
                                       {{.data = 1}},
                                       {{.tensor = 3}},
                                       {{.data = 3}, true},
                                       {{.data = 2, .tensor = 2}, true},
                                       {{.context = 2, .tensor = 2}},
                                       {{.data = 3}},
                                       {{.data = 2, .context = 2}, true},
                                       {{.data = 2, .context = 2}},
                                       {}};
  for (const Layout& layout : layouts) {
    const MeshShape& m = layout.mesh;
    const std::string folder_name = fmt::format("{}-{}x{}x{}{}", ++hop, m.data, m.context, m.tensor,
                                                layout.shard_weights ? "-sharded" : "");
    const fs::path to = folder / folder_name;
    on_ranks(layout, [&](Rank& rank) {
      rank.load(from);
      // Every rank has all weights that it computes with, whoever keeps their moments.
      const WorldModel& model = *rank.world.model;
      const std::vector<int64_t>& blocks = model.block_of_parameters();
      size_t compared = 0;
      for (int64_t block = -1; block <= std::ranges::max(blocks); ++block) {
        const bool comes = block >= 0 && layout.shard_weights;
        if (comes) rank.sharded->hooks_of(block).before(Pass::kForward);
        NamedTensors weights, own;
        for (size_t i = 0; i < blocks.size(); ++i) {
          if (blocks[i] != block) continue;
          const Parameter& p = model.parameters().all()[i];
          const auto& all = want.files.at("model");
          const auto found =
              std::ranges::find(all, p.name, [](const auto& named) { return named.first; });
          ASSERT_NE(found, all.end()) << p.name;
          weights.emplace_back(p.name, p.value.detach());
          own.emplace_back(p.name, p.slice ? p.slice->part_of(found->second) : found->second);
        }
        expect_same(weights, own, "weights of a rank");
        compared += own.size();
        if (comes) rank.sharded->hooks_of(block).after(Pass::kForward);
      }
      EXPECT_EQ(compared, want.files.at("model").size());
      rank.save(to);
    });
    const TrainState got = load_checkpoint(checkpoint_directory(to, kStep));
    for (const auto& [name, tensors] : want.files) {
      expect_same(got.files.at(name), tensors, name + " of " + folder_name);
    }
    from = to;
  }
  // Back in one process the files are the same bytes.
  for (const char* name :
       {"model.safetensors", "ema.safetensors", "optimizer-00000-of-00001.safetensors"}) {
    EXPECT_EQ(read_file(checkpoint_directory(from, kStep) / name),
              read_file(checkpoint_directory(first, kStep) / name));
  }
}

TEST(TrainState, ARankReadsItsShare) {
  const testing::TemporaryFolder folder;
  int64_t all = 0;
  on_ranks({}, [&](Rank& rank) {
    rank.save(folder.path());
    all = rank.load(folder.path());
  });
  for (const bool shard_weights : {false, true}) {
    on_ranks({{.data = 4}, shard_weights},
             [&](Rank& rank) { EXPECT_LE(rank.load(folder.path()), all * 2 / 5); });
  }
}

TEST(TrainState, ARankWritesItsShareAndTheFirstWhatAllHave) {
  std::mutex mutex;
  int64_t all = 0, most = 0, counters = 0;
  on_ranks({{.data = 4}}, [&](Rank& rank) {
    const TrainState state = capture_state(rank.parts(), {.loader = {}}, rank.ranks.first());
    const std::lock_guard lock(mutex);
    int64_t bytes = 0;
    for (const auto& [name, tensors] : state.files) {
      for (const auto& [key, tensor] : tensors) {
        bytes += static_cast<int64_t>(tensor.nbytes());
        counters += tensor.dim() == 0 ? 1 : 0;
      }
    }
    all += bytes;
    most = std::max(most, bytes);
  });
  EXPECT_EQ(counters, 2);  // steps of the optimizer, updates of the averages
  EXPECT_LE(most, 0.4 * static_cast<double>(all));
}

}  // namespace
}  // namespace praxino
