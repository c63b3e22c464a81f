#include "support/cuda_on_cpu/barriers.h"

#include <fmt/format.h>

#include <algorithm>

#include "support/cuda_on_cpu/fault.h"

namespace praxino::testing {

int64_t Barriers::arrive_named(int number, int threads, int thread) {
  if (number < 1 || number >= kNamed || threads < 32 || threads % 32 != 0) {
    throw MeetingViolation{
        fmt::format("comes to barrier {} of {} threads, which there cannot be", number, threads)};
  }
  Named& barrier = named_[static_cast<size_t>(number)];
  if (barrier.here.empty()) barrier.threads = threads;
  if (barrier.threads != threads) {
    throw MeetingViolation{fmt::format("comes to barrier {} of {} threads, thread {} to one of {}",
                                       number, threads, barrier.here.front(), barrier.threads)};
  }
  if (std::find(barrier.here.begin(), barrier.here.end(), thread) != barrier.here.end())
    throw MeetingViolation{fmt::format("comes to barrier {} twice in one round", number)};
  const int64_t round = barrier.round;
  barrier.here.push_back(thread);
  clocks_.release(thread, barrier.known);
  if (static_cast<int>(barrier.here.size()) == threads) {
    barrier.full[barrier.round++] = std::move(barrier.known);
    barrier.known.clear();
    barrier.here.clear();
  }
  return round;
}

bool Barriers::passes_named(int number, int64_t round, int thread) {
  Named& barrier = named_[static_cast<size_t>(number)];
  if (barrier.round <= round) return false;
  clocks_.acquire(thread, barrier.full.at(round));
  return true;
}

void Barriers::init(const void* barrier, int arrivals, int thread) {
  constexpr int kMostArrivals = (1 << 20) - 1;
  if (arrivals < 1 || arrivals > kMostArrivals)
    throw MeetingViolation{fmt::format("makes a barrier of {} arrivals", arrivals)};
  shared_[barrier] = {.arrivals = arrivals,
                      .missing = arrivals,
                      .known = {},
                      .known_before = {},
                      .maker = thread,
                      .made = clocks_.now(thread)};
}

void Barriers::fence_init(int thread) {
  for (auto& [address, barrier] : shared_) {
    if (barrier.maker == thread) barrier.fenced = true;
  }
}

Barriers::Shared& Barriers::at(const void* barrier, int thread) {
  const auto found = shared_.find(barrier);
  if (found == shared_.end()) throw MeetingViolation{"uses a barrier that nothing initialised"};
  Shared& it = found->second;
  if (it.maker != thread && !clocks_.knows(thread, it.maker, it.made)) {
    throw MeetingViolation{fmt::format(
        "uses a barrier that thread {} initialised, without sync_block() in between", it.maker)};
  }
  return it;
}

void Barriers::arrive(const void* barrier, uint32_t expected_bytes, int thread) {
  Shared& it = at(barrier, thread);
  if (it.missing == 0)
    throw MeetingViolation{
        fmt::format("arrives at a barrier of {} arrivals once more in a phase", it.arrivals)};
  clocks_.release(thread, it.known);
  it.bytes += expected_bytes;
  --it.missing;
  end_phase(it);
}

void Barriers::complete(const void* barrier, size_t bytes) {
  Shared& it = shared_.at(barrier);
  // The engine's own time alone: who waits learns of this copy, not of what its maker knew.
  it.known.resize(static_cast<size_t>(clocks_.engine()) + 1);
  it.known.back() = clocks_.now(clocks_.engine());
  clocks_.tick(clocks_.engine());
  it.bytes -= static_cast<int64_t>(bytes);
  end_phase(it);
}

void Barriers::end_phase(Shared& barrier) {
  if (barrier.missing != 0 || barrier.bytes != 0) return;
  barrier.missing = barrier.arrivals;
  barrier.known_before = std::move(barrier.known);
  barrier.known.clear();
  ++barrier.phase;
}

bool Barriers::passes(const void* barrier, uint32_t parity, int thread) {
  Shared& it = at(barrier, thread);
  if (parity > 1) throw MeetingViolation{fmt::format("waits for parity {}", parity)};
  if (it.phase % 2 == parity) return false;
  clocks_.acquire(thread, it.known_before);
  return true;
}

void Barriers::check_tells(const void* barrier, int thread) const {
  const Shared& it = const_cast<Barriers*>(this)->at(barrier, thread);
  if (!it.fenced)
    throw MeetingViolation{"copies to a barrier that no fence_barrier_init() made known"};
}

std::string Barriers::whereabouts() const {
  std::string text;
  for (const auto& [address, it] : shared_) {
    if (it.missing == it.arrivals && it.bytes == 0) continue;
    text += fmt::format("\n  barrier {}: phase {} lacks {} of {} arrivals and {} bytes", address,
                        it.phase, it.missing, it.arrivals, it.bytes);
  }
  return text;
}

}  // namespace praxino::testing
