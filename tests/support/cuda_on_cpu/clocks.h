#pragma once
// Which accesses of a block's threads are ordered: a vector clock for each thread. A barrier over a
// set of threads makes each of them know all that any of them knew.

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace praxino::testing {

class Clocks {
 public:
  explicit Clocks(int threads)
      : threads_(static_cast<size_t>(threads)), known_(threads_ * threads_) {
    for (size_t i = 0; i < threads_; ++i) at(i, i) = 1;
  }

  /// The thread's own time: what it does now carries this stamp.
  uint32_t now(int thread) const { return at(size_t(thread), size_t(thread)); }

  /// True where what `other` did at its time `stamp` comes before what `thread` does now.
  bool knows(int thread, int other, uint32_t stamp) const {
    return at(size_t(thread), size_t(other)) >= stamp;
  }

  /// A barrier that `members` pass together.
  void join(std::span<const int> members) {
    std::vector<uint32_t> all(threads_);
    for (const int member : members) {
      for (size_t i = 0; i < threads_; ++i) all[i] = std::max(all[i], at(size_t(member), i));
    }
    for (const int member : members) {
      std::copy(all.begin(), all.end(), known_.begin() + member * static_cast<int64_t>(threads_));
      ++at(size_t(member), size_t(member));
    }
  }

 private:
  uint32_t& at(size_t row, size_t column) { return known_[row * threads_ + column]; }
  uint32_t at(size_t row, size_t column) const { return known_[row * threads_ + column]; }

  size_t threads_;
  std::vector<uint32_t> known_;  // row: a thread; column: how much of another's time it knows
};

}  // namespace praxino::testing
