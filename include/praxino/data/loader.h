#pragma once
// Batches in an order that is a pure function of (seed, data-set content, global sample number): a
// keyed permutation of all training clips for every pass over them. Worker threads decode ahead
// into a bounded ring; the sequence of batches is the same for any number of workers, and after a
// resume.

#include <cstdint>
#include <memory>
#include <span>

#include "praxino/config/run.h"
#include "praxino/data/batch.h"
#include "praxino/data/clip.h"
#include "praxino/video/reader.h"

namespace praxino {

/// Where the loader stands: all that a checkpoint keeps of it.
struct LoaderState {
  /// The global number of the first sample not yet handed out; with turns, of a round of them.
  int64_t next_sample = 0;
  int64_t failed_clips = 0;  // clips replaced so far, in this process's share
};

/// Which part of the batches this process decodes: the rows are cut into `of` equal pieces, of
/// which it takes number `number`; and of every `turns` batches it takes the one after `turn`
/// others. The batches are the same ones for any number of pieces and turns.
struct BatchShare {
  int64_t number = 0;
  int64_t of = 1;
  int64_t turn = 0;
  int64_t turns = 1;
};

struct LoaderOptions {
  DataConfig data;  // batch, workers, ahead, size, clip_frames, resize, max_bad
  uint64_t seed = 1;
  bool pin = false;  // page-locked memory, for a GPU
  BatchShare share = {};
};

/// Owns its worker threads, joined in the destructor. next() from one thread.
class Loader {
 public:
  /// `clips` must not be empty (praxino::Error naming the data set and the reason); `dataset` is
  /// kept alive. data.batch must be a multiple of share.of (praxino::Error).
  Loader(std::shared_ptr<const Dataset> dataset, ClipSpace clips, LoaderOptions options,
         LoaderState start = {});
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next batch, waiting for it if need be: this process's rows of it. A clip that fails is
  /// replaced by the clip at a number that is a function of (seed, sample, attempt), logged with
  /// file and reason, and counted; more than data.max_bad of all clips so far (and more than 8)
  /// ends the run with praxino::Error.
  Batch next();
  /// The state after the batches handed out so far. Same thread as next().
  LoaderState state() const;
  /// What decoding has cost so far, batches decoded ahead included. Any thread.
  ReadStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The clip that global sample `sample` shows: epoch = sample / size, position = keyed permutation
/// of sample % size.
int64_t clip_of_sample(uint64_t seed, uint64_t content_hash, int64_t size, int64_t sample);

/// The clip shown instead when `attempt` clips (>= 1) have failed for this sample.
int64_t replacement_clip(uint64_t seed, int64_t size, int64_t sample, int64_t attempt);

/// Decodes planned clips into `pixels` (T C Y X, uint8: T frames of height x width). Keeps the
/// readers of the files used last open, within a bound on memory. Not thread-safe: one a thread.
/// Throws VideoError.
class ClipDecoder {
 public:
  ClipDecoder(std::shared_ptr<const Dataset> dataset, int64_t height, int64_t width,
              ResizeFilter filter);
  ~ClipDecoder();
  void decode(const ClipPlan& plan, std::span<uint8_t> pixels);
  ReadStats stats() const;  // over all readers since the start

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace praxino
