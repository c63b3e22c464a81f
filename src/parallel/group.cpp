#include "parallel/group.h"

#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace praxino {

Communicator::Group::~Group() {
  if (watchdog && watchdog->broken()) (void)backend.release();
}

namespace {

/// The longest wait after which a rank looks what time it is. While the machine stands still nobody
/// goes on: however long that takes, it counts as one turn, and what has arrived meanwhile is seen
/// before anybody is blamed.
constexpr std::chrono::milliseconds kTurn{250};

void wait_in_turns(c10d::Work& work, std::chrono::milliseconds limit) {
  const auto turn = std::min(kTurn, limit / 4 + std::chrono::milliseconds(1));
  for (auto left = limit; left > turn; left -= turn) {
    try {
      work.wait(turn);
      return;
    } catch (const std::exception&) {
      if (work.isCompleted()) break;
    }
  }
  work.wait(turn);  // throws what it ended with, or that it has not
}

}  // namespace

void Communicator::Group::wait(c10d::Work& work, std::chrono::milliseconds limit,
                               bool message) const {
  if (!over_gloo) {  // a limit would make the host wait
    work.wait();
    return;
  }
  if (limit.count() == 0 && !patient) limit = watchdog->limit();
  if (!patient && message) {
    work.wait(limit);  // in one: Gloo gives a connection up when a wait for a message has ended
    return;
  }
  if (!patient) {
    wait_in_turns(work, limit);
    return;
  }
  constexpr std::chrono::microseconds kShortPause{50}, kLongPause{2000};
  using Clock = std::chrono::steady_clock;
  Clock::duration passed{0};
  for (auto before = Clock::now(); !work.isCompleted();) {
    if (watchdog->broken()) {
      throw std::runtime_error("the ranks no longer go on: " + watchdog->reason());
    }
    const auto now = Clock::now();
    passed += std::min<Clock::duration>(now - before, kTurn);
    before = now;
    if (limit.count() > 0 && passed > limit) throw std::runtime_error("it takes too long");
    std::this_thread::sleep_for(passed < kLongPause ? kShortPause : kLongPause);
  }
  work.wait();
}

std::string key_prefix(const Communicator::Group& group) {
  // The first member names the group: the groups of one axis share nothing.
  return fmt::format("{}/{}", group.name, group.members.front());
}

GroupPtr make_group(const c10::intrusive_ptr<c10d::Store>& store, std::string name, int64_t rank,
                    std::vector<int64_t> members) {
  auto group = std::make_shared<Communicator::Group>();
  group->name = std::move(name);
  group->rank = rank;
  group->members = std::move(members);
  if (group->size() > 1) {
    group->store = c10::make_intrusive<c10d::PrefixStore>(key_prefix(*group), store);
  }
  return group;
}

void connect_gloo(Communicator::Group& group, const c10::intrusive_ptr<c10d::Store>& store,
                  const std::string& address, std::chrono::milliseconds silence) {
  using Gloo = c10d::ProcessGroupGloo;
  auto options =
      address.empty() ? Gloo::Options::create_default(silence) : Gloo::Options::create(silence);
  if (!address.empty()) options->devices.push_back(Gloo::createDeviceForHostname(address));
  group.over_gloo = true;
  group.backend = c10::make_intrusive<Gloo>(
      c10::make_intrusive<c10d::PrefixStore>(key_prefix(group), store),
      static_cast<int>(group.rank), static_cast<int>(group.size()), std::move(options));
  // Gloo's own limit, by the clock, was for connecting: from here on waits have theirs.
  group.backend->setTimeout(std::chrono::hours(24));
}

}  // namespace praxino
