#pragma once
// Which accesses of a block's threads are ordered: a vector clock for each thread, and one for the
// engine that copies tiles. A barrier over a set of threads makes each of them know all that any of
// them knew.

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace praxino::testing {

class Clocks {
 public:
  explicit Clocks(int threads)
      : threads_(static_cast<size_t>(threads) + 1), fences_(threads_), known_(threads_ * threads_) {
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

  /// The copy engine's number: the one after the last thread's.
  int engine() const { return static_cast<int>(threads_) - 1; }

  /// How much `thread` knows of the other's time.
  uint32_t known(int thread, int other) const { return at(size_t(thread), size_t(other)); }

  /// What the thread does from here on is later than all that it did.
  void tick(int thread) { ++at(size_t(thread), size_t(thread)); }

  /// Half a barrier: what the thread knows goes into `all`, for others to learn.
  void release(int thread, std::vector<uint32_t>& all) {
    all.resize(threads_);
    for (size_t i = 0; i < threads_; ++i) all[i] = std::max(all[i], at(size_t(thread), i));
    tick(thread);
  }
  /// The other half.
  void acquire(int thread, std::span<const uint32_t> all) {
    for (size_t i = 0; i < all.size(); ++i)
      at(size_t(thread), i) = std::max(at(size_t(thread), i), all[i]);
  }
  void acquire(int thread, int other, uint32_t time) {
    uint32_t& known = at(size_t(thread), size_t(other));
    known = std::max(known, time);
  }

  /// The thread's writes so far become visible to asynchronous readers who learn of this moment.
  void fence(int thread) {
    fences_[size_t(thread)].push_back(now(thread));
    tick(thread);
  }
  /// True where such a fence lies between what `writer` did at its time `stamp` and what `reader`
  /// knows of it.
  bool fenced(int reader, int writer, uint32_t stamp) const {
    const std::vector<uint32_t>& fences = fences_[size_t(writer)];
    const auto first = std::lower_bound(fences.begin(), fences.end(), stamp);
    return first != fences.end() && *first < known(reader, writer);
  }

 private:
  uint32_t& at(size_t row, size_t column) { return known_[row * threads_ + column]; }
  uint32_t at(size_t row, size_t column) const { return known_[row * threads_ + column]; }

  size_t threads_;
  std::vector<std::vector<uint32_t>> fences_;  // of each thread: its times
  std::vector<uint32_t> known_;  // row: a thread; column: how much of another's time it knows
};

}  // namespace praxino::testing
