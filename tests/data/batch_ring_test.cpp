#include "data/batch_ring.h"

#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <semaphore>

#include "praxino/base/error.h"
#include "support/error_text.h"

namespace praxino {
namespace {

using ::testing::ElementsAre;
using testing::error_text;

RingOptions options(int64_t workers, int64_t ahead, int64_t first_sample = 0) {
  return {{.batch = 3, .frames = 2, .height = 1, .width = 1, .fields = 1},
          ahead,
          workers,
          first_sample};
}

// Writes the sample number everywhere.
RowReport write_sample(int64_t, const BatchRow& row, const std::stop_token&) {
  std::fill(row.pixels.begin(), row.pixels.end(), static_cast<uint8_t>(row.sample));
  std::fill(row.actions.begin(), row.actions.end(), static_cast<float>(row.sample));
  std::fill(row.known.begin(), row.known.end(), row.sample % 2 == 0);
  return {};
}

TEST(BatchRing, HandsOutBatchesInOrderForAnyNumberOfWorkers) {
  for (const int64_t workers : {1, 2, 3, 8}) {
    for (const int64_t ahead : {1, 4}) {
      BatchRing ring(options(workers, ahead, 10), write_sample);
      for (int64_t n = 0; n < 30; ++n) {
        const Batch batch = ring.next().batch;
        const int64_t first = 10 + 3 * n;
        ASSERT_THAT(batch.samples, ElementsAre(first, first + 1, first + 2));
        ASSERT_EQ(batch.frames.sizes(), (std::vector<int64_t>{3, 2, 3, 1, 1}));
        ASSERT_EQ(batch.actions.sizes(), (std::vector<int64_t>{3, 2, 1}));
        for (int64_t row = 0; row < 3; ++row) {
          ASSERT_EQ(batch.frames.const_data_ptr<uint8_t>()[row * 6 + 5], first + row);
          ASSERT_EQ(batch.actions.const_data_ptr<float>()[row * 2 + 1],
                    static_cast<float>(first + row));
          ASSERT_EQ(batch.known.const_data_ptr<bool>()[row * 2 + 1], (first + row) % 2 == 0);
        }
      }
    }
  }
}

TEST(BatchRing, KeepsWhatItHandedOut) {
  BatchRing ring(options(2, 2), write_sample);
  const Batch first = ring.next().batch;
  for (int n = 0; n < 10; ++n) ring.next();
  EXPECT_EQ(first.frames.const_data_ptr<uint8_t>()[17], 2);
}

TEST(BatchRing, NeverWorksFurtherAheadThanItsRoom) {
  std::atomic<int64_t> handed_out{0};
  std::atomic<int64_t> furthest{0};
  BatchRing ring(options(4, 2), [&](int64_t, const BatchRow& row, const std::stop_token&) {
    const int64_t ahead = row.sample / 3 - handed_out;
    int64_t seen = furthest;
    while (ahead > seen && !furthest.compare_exchange_weak(seen, ahead)) {
    }
    return RowReport{};
  });
  for (int n = 0; n < 50; ++n) {
    ++handed_out;  // before next(), so that a worker never sees too small a number
    ring.next();
  }
  EXPECT_LE(furthest, 1);
}

TEST(BatchRing, AddsUpWhatItsRowsReport) {
  BatchRing ring(options(3, 2), [](int64_t, const BatchRow& row, const std::stop_token&) {
    return row.sample == 1 ? RowReport{2, "bad file"} : RowReport{};
  });
  const BatchRing::Filled first = ring.next();
  EXPECT_EQ(first.report.failed, 2);
  EXPECT_EQ(first.report.reason, "bad file");
  EXPECT_EQ(ring.next().report.failed, 0);
}

TEST(BatchRing, ThrowsAWorkersExceptionAtItsBatchAndAgainAfterwards) {
  for (const int64_t workers : {1, 4}) {
    BatchRing ring(options(workers, 3), [](int64_t, const BatchRow& row, const std::stop_token&) {
      if (row.sample >= 7) fail("row {}", row.sample);
      return RowReport{};
    });
    ring.next();
    ring.next();
    EXPECT_EQ(error_text([&] { ring.next(); }), "row 7");
    EXPECT_EQ(error_text([&] { ring.next(); }), "row 7");
  }
}

TEST(BatchRing, StopsWhileWorkersAreBusyIdleOrFailed) {
  for (int round = 0; round < 50; ++round) {
    BatchRing ring(options(4, 2), [](int64_t, const BatchRow& row, const std::stop_token&) {
      if (row.sample % 5 == 4) throw std::bad_alloc();
      return RowReport{};
    });
    if (round % 3 == 1) ring.next();
    if (round % 3 == 2) std::this_thread::yield();
  }
}

TEST(BatchRing, AsksBusyRowsToStop) {
  std::counting_semaphore<8> begun(0);
  {
    BatchRing ring(options(2, 1), [&](int64_t, const BatchRow&, const std::stop_token& stop) {
      begun.release();
      while (!stop.stop_requested()) std::this_thread::yield();
      return RowReport{};
    });
    begun.acquire();
  }  // would hang here
  SUCCEED();
}

TEST(BatchRing, MeasuresHowLongItWaited) {
  BatchRing ring(options(1, 1), [](int64_t, const BatchRow&, const std::stop_token&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return RowReport{};
  });
  // A batch may have been ready before this thread got its turn to ask for it: not all of them are.
  double waited = 0;
  for (int n = 0; n < 200 && waited < 0.001; ++n) waited = ring.next().batch.wait_seconds;
  EXPECT_GE(waited, 0.001);
}

TEST(Batch, CopiesToADevice) {
  BatchRing ring(options(1, 1), write_sample);
  const Batch batch = ring.next().batch;
  const Batch moved = batch.to(at::Device(at::kCPU));
  EXPECT_TRUE(moved.frames.equal(batch.frames));
  EXPECT_TRUE(moved.actions.equal(batch.actions));
  EXPECT_TRUE(moved.known.equal(batch.known));
  EXPECT_EQ(moved.samples, batch.samples);
}

}  // namespace
}  // namespace praxino
