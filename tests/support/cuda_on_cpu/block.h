#pragma once
// One block of emulated threads: their fibers, what they wait for, and the barriers at which they
// meet. Knows nothing of scheduling: threads that may run again are handed to the caller.

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/device/on_cpu.h"
#include "support/cuda_on_cpu/clocks.h"
#include "support/cuda_on_cpu/fault.h"
#include "support/cuda_on_cpu/fiber.h"

namespace praxino::testing {

namespace cpu = kernels::device::cpu;

inline constexpr int kLanes = 32;

struct AsyncCopy {
  void* to;
  const void* from;
  std::vector<std::byte> early;  // the source's bytes, if they were taken when the copy began
  size_t bytes;
};

class Hopper;

class Block {
 public:
  struct Meeting {  // what a thread waits for
    bool of_block = false;
    const char* thing = nullptr;  // neither block nor warp: a thread's own wait, by its name
    cpu::Collective kind = cpu::Collective::kSync;
    uint32_t mask = 0;
    uint32_t value = 0;
    int argument = 0;
    void* own = nullptr;  // of what all lanes do together, as in cpu::together()
    void (*work)(void* const* lanes) = nullptr;
    std::source_location site;
  };
  struct Thread {
    std::optional<Fiber> fiber;
    std::optional<Meeting> waits;
    uint32_t received = 0;  // what the last shuffle brought
    bool done = false;
    std::deque<AsyncCopy> copies;  // under way, oldest first
    std::deque<int> groups;        // how many of them each committed group has
    int uncommitted = 0;           // how many follow after the last group
  };

  struct Blocked {  // a thread that waits for something to become true
    int index;
    std::function<bool()> ready;
  };

  Block(int64_t number, int threads, void* shared);
  ~Block();

  int64_t number() const { return number_; }
  void* shared() const { return shared_; }
  Thread& thread(int index) { return threads_[static_cast<size_t>(index)]; }
  int size() const { return static_cast<int>(threads_.size()); }
  const Clocks& clocks() const { return clocks_; }
  Clocks& clocks() { return clocks_; }
  Hopper& hopper();  // made at its first use
  bool has_hopper() const { return hopper_ != nullptr; }
  bool finished() const { return running_ == 0; }

  /// The thread waits at `meeting`. Returns those that go on if it was the last to come (itself
  /// included), else nothing. Throws MeetingViolation.
  std::vector<int> arrive(int index, const Meeting& meeting);
  void leave(int index);

  /// The thread waits until `ready`, which is asked again by unblocked().
  void block(int index, const Meeting& meeting, std::function<bool()> ready);
  /// The threads that may go on now.
  std::vector<int> unblocked();

  /// Where each warp stands: a line a warp.
  std::string whereabouts() const;

 private:
  std::vector<int> arrive_at_barrier(int index);
  std::vector<int> arrive_at_collective(int index);
  void check_fits(int index, int other, const Meeting& mine) const;
  void work_together(const std::vector<int>& lanes);
  void exchange(const std::vector<int>& lanes);
  int lanes_of_warp(int warp) const { return std::min(kLanes, size() - warp * kLanes); }

  int64_t number_;
  void* shared_;
  Clocks clocks_;
  std::deque<Thread> threads_;  // fibers do not move
  std::vector<Blocked> blocked_;
  std::unique_ptr<Hopper> hopper_;
  int running_;
};

/// "shuffle_xor"
const char* name_of(const Block::Meeting& meeting);

}  // namespace praxino::testing
