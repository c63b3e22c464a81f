#pragma once
// A block's named barriers, and those in its shared memory that count arrivals and bytes. What
// breaks their rules throws MeetingViolation. Internal to cuda_on_cpu.

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "support/cuda_on_cpu/clocks.h"

namespace praxino::testing {

class Barriers {
 public:
  explicit Barriers(Clocks& clocks) : clocks_(clocks) {}

  /// A thread comes to the named barrier. Returns the round that it counts for.
  int64_t arrive_named(int number, int threads, int thread);
  /// True once that round is full; the thread then knows what all of it knew.
  bool passes_named(int number, int64_t round, int thread);

  void init(const void* barrier, int arrivals, int thread);
  void fence_init(int thread);
  void arrive(const void* barrier, uint32_t expected_bytes, int thread);
  /// The bytes of a copy have come.
  void complete(const void* barrier, size_t bytes);
  /// True where the current phase has the other parity.
  bool passes(const void* barrier, uint32_t parity, int thread);
  /// Of a copy that will tell the barrier, by the thread that begins it.
  void check_tells(const void* barrier, int thread) const;

  /// What each barrier in shared memory waits for.
  std::string whereabouts() const;

 private:
  static constexpr int kNamed = 16;
  struct Named {
    int threads = 0;
    std::vector<int> here;  // who came to the round that fills
    std::vector<uint32_t> known;
    int64_t round = 0;
    std::map<int64_t, std::vector<uint32_t>> full;  // what is known behind each full round
  };
  struct Shared {
    int arrivals;
    int missing;
    int64_t bytes = 0;
    uint32_t phase = 0;
    std::vector<uint32_t> known, known_before;
    int maker;
    uint32_t made;
    bool fenced = false;
  };

  Shared& at(const void* barrier, int thread);
  void end_phase(Shared& barrier);

  Clocks& clocks_;
  std::array<Named, kNamed> named_;
  std::map<const void*, Shared> shared_;
};

}  // namespace praxino::testing
