#pragma once
// Worker threads that fill the rows of batches ahead of their use, in a bounded ring. The unit of
// work is one row, so that all workers fill the next batch together. What a row holds is the
// business of a function given to it.

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "praxino/data/batch.h"

namespace praxino {

/// One clip's place in a batch. Its memory is not initialised: all of it must be written.
struct BatchRow {
  int64_t sample = 0;         // global sample number
  int64_t batch_end = 0;      // the first sample after this batch's rows
  std::span<uint8_t> pixels;  // T C Y X
  std::span<float> actions;   // T A
  std::span<bool> known;      // T
};

/// What filling a row took.
struct RowReport {
  int64_t failed = 0;  // clips that could not be used
  std::string reason;  // of the last of them
};

/// Fills a row on worker thread `worker`; returns early when a stop is requested. What it throws
/// reaches next().
using FillRow =
    std::function<RowReport(int64_t worker, const BatchRow& row, const std::stop_token& stop)>;

struct BatchShape {
  int64_t batch = 1;
  int64_t frames = 1;
  int64_t height = 1;
  int64_t width = 1;
  int64_t fields = 0;
  bool pin = false;
};

struct RingOptions {
  BatchShape shape;
  int64_t ahead = 1;  // batches at most, the one in work included
  int64_t workers = 1;
  int64_t first_sample = 0;
  int64_t stride = 0;  // from the first sample of a batch to that of the next; 0: shape.batch
};

/// Owns its threads; the destructor stops them at the end of their row and joins them. next() from
/// one thread.
class BatchRing {
 public:
  BatchRing(const RingOptions& options, FillRow fill);
  ~BatchRing();
  BatchRing(const BatchRing&) = delete;
  BatchRing& operator=(const BatchRing&) = delete;

  struct Filled {
    Batch batch;
    RowReport report;  // over its rows
  };
  /// The next batch in order, waiting for it. Throws what the fill function threw for its first
  /// failing row, again at every further call; batches before it are still handed out.
  Filled next();

 private:
  struct Slot {
    Batch batch;
    std::vector<RowReport> reports;
    std::vector<std::exception_ptr> errors;  // of each row
    int64_t filled = 0;
  };

  int64_t first_sample(int64_t number) const;  // of a batch
  void reset(Slot& slot, int64_t number) const;
  void work(int64_t worker, const std::stop_token& stop);
  void fill_row(int64_t worker, int64_t claimed, const std::stop_token& stop);
  void wait_until_filled(std::unique_lock<std::mutex>& lock, const Slot& slot);

  RingOptions options_;
  FillRow fill_;
  std::mutex mutex_;
  std::condition_variable_any room_;
  std::condition_variable filled_;
  std::vector<Slot> slots_;            // batch n lives in slot n % ahead
  int64_t claimed_ = 0;                // rows handed to workers since the start
  int64_t consumed_ = 0;               // batches handed out by next()
  std::vector<std::jthread> threads_;  // last: they end before what they use
};

}  // namespace praxino
