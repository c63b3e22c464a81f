#include "parallel/collective_log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace praxino {
namespace {

/// Every field follows from the number.
CollectiveRecord numbered(int64_t number) {
  return {.number = number,
          .kind = number % 2 == 0 ? "all_gather" : "all_reduce",
          .peer = number % 2 == 0 ? number : -1,
          .type = number % 2 == 0 ? at::kBFloat16 : at::kFloat,
          .dims = 4,
          .sizes = {number, number + 1, number + 2, number + 3}};
}

bool is_whole(const CollectiveRecord& r) {
  const CollectiveRecord want = numbered(r.number);
  return r.kind == want.kind && r.peer == want.peer && r.type == want.type &&
         r.sizes == want.sizes && r.entered > 0;
}

TEST(CollectiveLog, KeepsTheNewestInTheirOrder) {
  CollectiveLog log;
  EXPECT_TRUE(log.last().empty());
  const auto kept = static_cast<int64_t>(CollectiveLog::kKept);
  for (int64_t number = 1; number <= 3 * kept + 5; ++number) {
    log.enter(numbered(number));
    const std::vector<CollectiveRecord> last = log.last();
    ASSERT_EQ(last.size(), static_cast<size_t>(std::min(number, kept)));
    for (size_t i = 0; i < last.size(); ++i) {
      EXPECT_EQ(last[i].number, number - static_cast<int64_t>(last.size() - 1 - i));
      EXPECT_TRUE(is_whole(last[i]));
    }
  }
}

TEST(CollectiveLog, TellsWhatIsWaitedForAndWhatHasEnded) {
  CollectiveLog log;
  const int64_t first = log.enter(numbered(1)), second = log.enter(numbered(2));
  log.wait_begins(first);
  EXPECT_TRUE(log.last()[0].waiting());
  EXPECT_FALSE(log.last()[1].waiting());
  log.ends(first);
  log.ends(second);
  for (const CollectiveRecord& record : log.last()) {
    EXPECT_FALSE(record.waiting());
    EXPECT_GE(record.ended, record.entered);
  }
  for (size_t i = 0; i < CollectiveLog::kKept; ++i) log.enter(numbered(3));
  log.wait_begins(first);  // gone: its place belongs to another
  for (const CollectiveRecord& record : log.last()) EXPECT_FALSE(record.waiting());
}

// A reader at any moment sees whole records only.
TEST(CollectiveLog, IsReadWhileItIsWritten) {
  CollectiveLog log;
  std::atomic<bool> done = false;
  std::atomic<int64_t> seen = 0;
  int64_t written = 0;
  {
    const std::jthread writer([&] {
      for (int64_t number = 1; number <= 200'000 || seen == 0; ++number) {
        const int64_t place = log.enter(numbered(number));
        log.wait_begins(place);
        log.ends(place);
        written = number;
      }
      done = true;
    });
    while (!done) {
      int64_t before = 0;
      for (const CollectiveRecord& record : log.last()) {
        ++seen;
        ASSERT_TRUE(is_whole(record)) << record.number;
        ASSERT_GT(record.number, before);
        before = record.number;
      }
    }
  }
  EXPECT_EQ(log.last().back().number, written);
}

TEST(CollectiveLog, NamesWhatWasDone) {
  EXPECT_EQ(numbered(1).text(), "all_reduce (Float [1, 2, 3, 4])");
  CollectiveRecord record = numbered(2);
  record.dims = 5;
  EXPECT_EQ(record.text(), "all_gather rank 2 (BFloat16 [2, 3, 4, 5, ...])");
  record.dims = 0;
  EXPECT_EQ(record.text(), "all_gather rank 2 (BFloat16 [])");
}

}  // namespace
}  // namespace praxino
