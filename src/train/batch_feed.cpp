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

Batch empty_batch(const DataConfig& data, int64_t rows, int64_t fields, int64_t first_sample,
                  const at::Device& device) {
  const auto on = at::TensorOptions().device(device);
  Batch batch;
  batch.frames =
      at::empty({rows, data.clip_frames, 3, data.size[0], data.size[1]}, on.dtype(at::kByte));
  batch.actions = at::empty({rows, data.clip_frames, fields}, on.dtype(at::kFloat));
  batch.known = at::empty({rows, data.clip_frames}, on.dtype(at::kBool));
  batch.samples.resize(static_cast<size_t>(rows));
  std::iota(batch.samples.begin(), batch.samples.end(), first_sample);
  return batch;
}

BatchFeed::BatchFeed(const std::shared_ptr<const Dataset>& dataset, ClipSpace clips,
                     const LoaderOptions& options, const LoaderState& start,
                     const ModelRanks& ranks, const at::Device& device)
    : ranks_(ranks),
      device_(device),
      options_(in_turns(options, ranks)),
      fields_(static_cast<int64_t>(dataset->config().actions.size())),
      next_sample_(start.next_sample),
      loader_(dataset, std::move(clips), options_, own_part(start, options_.share)) {}

Batch BatchFeed::next() {
  const int64_t rows = options_.data.batch / options_.share.of;
  const bool own = turn_ == options_.share.turn;
  const Batch batch = own ? loader_.next().to(device_)
                          : empty_batch(options_.data, rows, fields_,
                                        next_sample_ + options_.share.number * rows, device_);
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
