#pragma once
// The batches of a run on its device, on every rank that needs them. Ranks that share one model see
// the same clips: they take turns in decoding them, so that the clips of a step are decoded once.

#include <memory>

#include "praxino/data/loader.h"
#include "praxino/layers/ranks.h"

namespace praxino {

/// `rows` clips of `data`'s shape without contents, with `fields` actions; the samples are those
/// from number `first_sample` on.
Batch empty_batch(const DataConfig& data, int64_t rows, int64_t fields, int64_t first_sample,
                  const at::Device& device);

/// next() from one thread, on all ranks of the model together.
class BatchFeed {
 public:
  /// As of Loader; `options.share` says which rows of a batch the ranks of this model take, turns
  /// are given out here. `start` is of all ranks together.
  BatchFeed(const std::shared_ptr<const Dataset>& dataset, ClipSpace clips,
            const LoaderOptions& options, const LoaderState& start, const ModelRanks& ranks,
            const at::Device& device);

  /// The next batch. Where it is another rank's turn it comes from there, by a broadcast within
  /// each group; wait_seconds is then zero: what is waited for is a collective.
  Batch next();
  /// After the batches handed out so far. Clips that failed: a part of those of `start`,
  /// and those of this rank's turns; the ranks' sum is that of all.
  LoaderState state() const;
  /// What this rank's decoding has cost so far.
  ReadStats stats() const { return loader_.stats(); }

 private:
  ModelRanks ranks_;
  at::Device device_;
  LoaderOptions options_;
  int64_t fields_;
  int64_t next_sample_;
  int64_t turn_ = 0;  // whose rank has the next batch: tensor rank + tensor ranks x context rank
  Loader loader_;
};

}  // namespace praxino
