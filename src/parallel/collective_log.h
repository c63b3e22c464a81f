#pragma once
// What a rank has done last in one group: a ring of the newest collectives, for the dump that is
// written when one hangs.

#include <c10/core/ScalarType.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace praxino {

/// One collective, or one message, as this rank saw it. Times are nanoseconds of the steady clock;
/// 0: not yet.
struct CollectiveRecord {
  static constexpr size_t kSizes = 4;
  int64_t number = 0;     // of the collectives of its group, from 1; messages have numbers of their
                          // own; 0: none
  const char* kind = "";  // "all_reduce"; a literal
  int64_t peer = -1;      // of a broadcast or message: a rank of the world
  bool message = false;   // between two ranks: the others know nothing of it
  at::ScalarType type = at::kFloat;
  int64_t dims = 0;
  std::array<int64_t, kSizes> sizes = {};  // the first of them
  int64_t entered = 0;                     // handed to the backend
  int64_t waited = 0;                      // this rank began to wait for it
  int64_t ended = 0;                       // it was there (over NCCL: the GPU waits for it)

  bool waiting() const { return waited > 0 && ended == 0; }
  /// "broadcast from rank 0".
  std::string name() const;
  /// "all_gather (Float [3, 5])".
  std::string text() const;
};

/// One thread at a time writes; any thread may read meanwhile. A call costs some 20 stores and one
/// look at the clock: no lock, no allocation.
class CollectiveLog {
 public:
  static constexpr size_t kKept = 64;

  /// Returns the place by which the others name the record.
  int64_t enter(CollectiveRecord record);
  void wait_begins(int64_t place);
  void ends(int64_t place);

  /// Those of the kept ones that no writer is busy with, oldest first.
  std::vector<CollectiveRecord> last() const;

 private:
  static constexpr size_t kWords = 9 + CollectiveRecord::kSizes;
  /// A record as words, each of them atomic: a reader sees by `place` whether they belong together.
  struct Slot {
    std::atomic<int64_t> place = 0;
    std::array<std::atomic<int64_t>, kWords> words = {};
  };
  static constexpr size_t kWaited = 7, kEnded = 8;  // of Slot::words
  void stamp(int64_t place, size_t word);

  std::array<Slot, kKept> slots_ = {};
  int64_t entered_ = 0;
};

}  // namespace praxino
