#include "train/batch_feed.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "praxino/data/dataset.h"
#include "praxino/data/synthetic.h"
#include "praxino/parallel/mesh.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

constexpr int64_t kBatches = 24;
constexpr int64_t kBatch = 4;
constexpr int64_t kFrames = 4;

class Feed : public ::testing::Test {
 protected:
  LoaderOptions options(const Mesh& mesh) const {
    LoaderOptions options;
    options.data.path = (folder_ / "data").string();
    options.data.clip_frames = kFrames;
    options.data.size = {16, 16};
    options.data.batch = kBatch;
    options.data.workers = 1;
    options.data.ahead = 1;
    options.share = {.number = mesh.data().rank(), .of = mesh.data().size()};
    return options;
  }
  BatchFeed feed(const Mesh& mesh, const LoaderState& start = {}) const {
    std::vector<Span> spans;
    for (int64_t f = 0; f < static_cast<int64_t>(dataset_->files().size()); ++f) {
      spans.push_back({.file = f, .first = 0, .last = kLength});
    }
    return {dataset_,
            ClipSpace(*dataset_, spans, kFrames, 10),
            options(mesh),
            start,
            {.tensor = mesh.tensor(), .context = mesh.context()},
            at::kCPU};
  }

  static constexpr int64_t kLength = 24;
  testing::TemporaryFolder folder_;
  bool made_ = [this] {
    make_dataset({.world = "pan", .episodes = 3, .frames = kLength, .height = 16, .width = 16},
                 folder_ / "data");
    return true;
  }();
  std::shared_ptr<const Dataset> dataset_ =
      std::make_shared<const Dataset>(Dataset::open(folder_ / "data"));
};

TEST_F(Feed, RanksOfOneModelSeeTheSameClipsAndDecodeThemOnce) {
  const auto alone = Mesh::alone();
  std::vector<Batch> want;
  BatchFeed whole = feed(*alone);
  for (int64_t n = 0; n < kBatches; ++n) want.push_back(whole.next());
  for (const MeshShape& shape :
       {MeshShape{.context = 2, .tensor = 2}, MeshShape{.data = 2, .context = 1, .tensor = 3},
        MeshShape{.data = 2, .context = 2, .tensor = 1}}) {
    run_as_threads(shape, [&](Mesh& mesh) {
      BatchFeed shared = feed(mesh);
      const int64_t rows = kBatch / shape.data;
      const int64_t first = rows * mesh.data().rank();
      for (const Batch& all : want) {
        const Batch own = shared.next();
        EXPECT_TRUE(at::equal(own.frames, all.frames.narrow(0, first, rows)));
        EXPECT_TRUE(at::equal(own.actions, all.actions.narrow(0, first, rows)));
        EXPECT_TRUE(at::equal(own.known, all.known.narrow(0, first, rows)));
        const auto begin = all.samples.begin() + first;
        EXPECT_EQ(own.samples, std::vector<int64_t>(begin, begin + rows));
      }
      EXPECT_EQ(shared.state().next_sample, whole.state().next_sample);
      // Its turns, and what the loader has made ahead of them.
      const int64_t turns = kBatches / (shape.context * shape.tensor);
      EXPECT_LE(shared.stats().frames_delivered, (turns + 2) * rows * kFrames);
    });
  }
}

// Each rank judges its own clips: it must not be told of all ranks' failures as its own.
TEST_F(Feed, FailuresSoFarAreSharedOut) {
  std::atomic<int64_t> all = 0, most = 0;
  run_as_threads({.data = 2, .tensor = 3}, [&](Mesh& mesh) {
    const int64_t own = feed(mesh, {.next_sample = 4000, .failed_clips = 32}).state().failed_clips;
    all += own;
    most = std::max(most.load(), own);
  });
  EXPECT_EQ(all, 32);
  EXPECT_EQ(most, 7);
}

TEST_F(Feed, GoesOnWhereItWas) {
  run_as_threads({.tensor = 3}, [&](Mesh& mesh) {
    BatchFeed straight = feed(mesh);
    for (int n = 0; n < 4; ++n) straight.next();
    BatchFeed resumed = feed(mesh, straight.state());
    for (int n = 0; n < 4; ++n) {
      const Batch a = straight.next(), b = resumed.next();
      EXPECT_EQ(a.samples, b.samples);
      EXPECT_TRUE(at::equal(a.frames, b.frames));
    }
  });
}

}  // namespace
}  // namespace praxino
