#include "praxino/data/loader.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <string>

#include "data/batch_ring.h"
#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/base/random.h"

namespace praxino {
namespace {

constexpr int64_t kFewFailures = 8;     // never end a run, whatever their share
constexpr int64_t kMostAttempts = 100;  // for one sample: by then the data set is gone

}  // namespace

int64_t clip_of_sample(uint64_t seed, uint64_t content_hash, int64_t size, int64_t sample) {
  const auto epoch = static_cast<uint64_t>(sample / size);
  const uint64_t key =
      derive_seed(derive_seed(seed, "data.order", content_hash), "data.epoch", epoch);
  const Permutation order(key, static_cast<uint64_t>(size));
  return static_cast<int64_t>(order(static_cast<uint64_t>(sample % size)));
}

int64_t replacement_clip(uint64_t seed, int64_t size, int64_t sample, int64_t attempt) {
  const uint64_t key = derive_seed(seed, "data.replacement", static_cast<uint64_t>(sample));
  return Random(derive_seed(key, "data.attempt", static_cast<uint64_t>(attempt))).integer(size);
}

struct Loader::State {
  State(std::shared_ptr<const Dataset> set, ClipSpace space, LoaderOptions opt, LoaderState start)
      : dataset(std::move(set)), clips(std::move(space)), options(std::move(opt)), position(start) {
    if (clips.size() == 0) {
      fail_usage("{}: no clip fits: {}; shorten data.clip_frames or raise data.fps",
                 dataset->folder().string(), clips.describe_lengths());
    }
    const DataConfig& data = options.data;
    if (data.batch % options.share.of != 0) {
      fail_usage("data.batch is {}, which {} ranks cannot share equally; make it a multiple",
                 data.batch, options.share.of);
    }
    const ResizeFilter filter = parse_resize_filter(data.resize);
    for (int64_t w = 0; w < data.workers; ++w) {
      decoders.push_back(
          std::make_unique<ClipDecoder>(dataset, data.size[0], data.size[1], filter));
    }
    stats.resize(decoders.size());
    const int64_t rows = data.batch / options.share.of;
    const BatchShape shape{.batch = rows,
                           .frames = clips.clip_frames(),
                           .height = data.size[0],
                           .width = data.size[1],
                           .fields = static_cast<int64_t>(dataset->config().actions.size()),
                           .pin = options.pin};
    ring = std::make_unique<BatchRing>(
        RingOptions{.shape = shape,
                    .ahead = data.ahead,
                    .workers = data.workers,
                    .first_sample = position.next_sample + options.share.turn * data.batch +
                                    options.share.number * rows,
                    .stride = data.batch * options.share.turns},
        [this](int64_t worker, const BatchRow& row, const std::stop_token& stop) {
          return fill(worker, row, stop);
        });
  }

  RowReport fill(int64_t worker, const BatchRow& row, const std::stop_token& stop) {
    RowReport report;
    while (!stop.stop_requested()) {
      const int64_t clip =
          report.failed == 0
              ? clip_of_sample(options.seed, dataset->content_hash(), clips.size(), row.sample)
              : replacement_clip(options.seed, clips.size(), row.sample, report.failed);
      const ClipPlan plan = clips.plan(clip);
      try {
        decode(static_cast<size_t>(worker), plan, row);
        return report;
      } catch (const Error& error) {  // anything else is a fault of the program and ends the run
        ++report.failed;
        report.reason = error.what();
        tell(plan, row.sample, report.reason);
      }
      if (too_many(report.failed, row.batch_end))
        return report;  // next() ends the run at this batch
      if (report.failed >= kMostAttempts) {
        fail("{}: {} clips in a row could not be decoded; the last: {}", dataset->folder().string(),
             report.failed, report.reason);
      }
    }
    return report;
  }

  void decode(size_t worker, const ClipPlan& plan, const BatchRow& row) {
    decoders[worker]->decode(plan, row.pixels);
    std::copy(plan.actions.begin(), plan.actions.end(), row.actions.begin());
    std::transform(plan.known.begin(), plan.known.end(), row.known.begin(),
                   [](uint8_t known) { return known != 0; });
    const ReadStats cost = decoders[worker]->stats();
    const std::lock_guard lock(mutex);
    stats[worker] = cost;
  }

  // Each file is told once; the count goes on.
  void tell(const ClipPlan& plan, int64_t sample, const std::string& reason) {
    {
      const std::lock_guard lock(mutex);
      if (!told.insert(plan.file).second) return;
    }
    log::warning(
        "a clip is replaced (sample {}, frames {} to {}; later ones of this file without a line): "
        "{}",
        sample, plan.numbers.front(), plan.numbers.back(), reason);
  }

  bool too_many(int64_t failed, int64_t good) const {
    const auto tried =
        static_cast<double>(good / (options.share.of * options.share.turns) + failed);
    return failed > kFewFailures && static_cast<double>(failed) > options.data.max_bad * tried;
  }

  Batch next() {
    BatchRing::Filled filled = ring->next();
    position.next_sample += options.data.batch * options.share.turns;
    position.failed_clips += filled.report.failed;
    if (too_many(position.failed_clips, position.next_sample)) {
      fail(
          "{}: {} of {} clips could not be decoded, more than data.max_bad allows ({:g} %); the "
          "last: {}; "
          "run `praxino data check` on the folder",
          dataset->folder().string(), position.failed_clips,
          position.next_sample + position.failed_clips, options.data.max_bad * 100,
          filled.report.reason);
    }
    return std::move(filled.batch);
  }

  std::shared_ptr<const Dataset> dataset;
  ClipSpace clips;
  LoaderOptions options;
  LoaderState position;
  std::vector<std::unique_ptr<ClipDecoder>> decoders;  // one a worker
  std::mutex mutex;
  std::vector<ReadStats> stats;     // of each worker
  std::set<int64_t> told;           // files whose failure was logged
  std::unique_ptr<BatchRing> ring;  // last: its threads use all of the above
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, ClipSpace clips, LoaderOptions options,
               LoaderState start)
    : state_(std::make_unique<State>(std::move(dataset), std::move(clips), std::move(options),
                                     start)) {}

Loader::~Loader() = default;

Batch Loader::next() { return state_->next(); }

LoaderState Loader::state() const { return state_->position; }

ReadStats Loader::stats() const {
  ReadStats sum;
  const std::lock_guard lock(state_->mutex);
  for (const ReadStats& one : state_->stats) {
    sum.seeks += one.seeks;
    sum.frames_decoded += one.frames_decoded;
    sum.frames_delivered += one.frames_delivered;
  }
  return sum;
}

}  // namespace praxino
