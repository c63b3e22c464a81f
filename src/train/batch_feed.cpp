#include "batch_feed.h"

#include <ATen/ops/empty.h>

#include <array>
#include <numeric>
#include <utility>

namespace praxino {
namespace {

int64_t own_turn(const ModelRanks& ranks) {
  return ranks.context.rank() * ranks.tensor.size() + ranks.tensor.rank();
}

LoaderOptions in_turns(LoaderOptions options, const ModelRanks& ranks) {
  options.share.turn = own_turn(ranks);
  options.share.turns = ranks.tensor.size() * ranks.context.size();
  return options;
}

/// One rank's part of what all have counted: data.max_bad is judged by each for itself.
LoaderState own_part(LoaderState all, const BatchShare& share) {
  const int64_t ranks = share.of * share.turns;
  const bool first = share.number == 0 && share.turn == 0;
  all.failed_clips = all.failed_clips / ranks + (first ? all.failed_clips % ranks : 0);
  return all;
}

}  // namespace

BatchFeed::BatchFeed(const std::shared_ptr<const Dataset>& dataset, ClipSpace clips,
                     const LoaderOptions& options, const LoaderState& start,
                     const ModelRanks& ranks, const at::Device& device)
    : ranks_(ranks),
      device_(device),
      options_(in_turns(options, ranks)),
      fields_(static_cast<int64_t>(dataset->config().actions.size())),
      next_sample_(start.next_sample),
      loader_(dataset, std::move(clips), options_, own_part(start, options_.share)) {}

Batch BatchFeed::empty_batch() const {
  const DataConfig& data = options_.data;
  const int64_t rows = data.batch / options_.share.of;
  const auto type = at::TensorOptions().device(device_);
  Batch batch;
  batch.frames =
      at::empty({rows, data.clip_frames, 3, data.size[0], data.size[1]}, type.dtype(at::kByte));
  batch.actions = at::empty({rows, data.clip_frames, fields_}, type.dtype(at::kFloat));
  batch.known = at::empty({rows, data.clip_frames}, type.dtype(at::kBool));
  batch.samples.resize(static_cast<size_t>(rows));
  std::iota(batch.samples.begin(), batch.samples.end(),
            next_sample_ + options_.share.number * rows);
  return batch;
}

Batch BatchFeed::next() {
  const bool own = turn_ == options_.share.turn;
  Batch batch = own ? loader_.next().to(device_) : empty_batch();
  const int64_t tensor_rank = turn_ % ranks_.tensor.size();
  const int64_t context_rank = turn_ / ranks_.tensor.size();
  const std::array<at::Tensor, 3> all = {batch.frames, batch.actions, batch.known.view(at::kByte)};
  // Along the owner's tensor group, then from there along every context group.
  if (ranks_.context.rank() == context_rank) {
    for (const at::Tensor& one : all) ranks_.tensor.broadcast(one, tensor_rank).wait();
  }
  for (const at::Tensor& one : all) ranks_.context.broadcast(one, context_rank).wait();
  turn_ = (turn_ + 1) % options_.share.turns;
  next_sample_ += options_.data.batch;
  return batch;
}

LoaderState BatchFeed::state() const {
  return {.next_sample = next_sample_, .failed_clips = loader_.state().failed_clips};
}

}  // namespace praxino
