#include "parallel/group.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <stdexcept>
#include <thread>

namespace praxino {

std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

Communicator::Group::~Group() {
  if (broken && *broken) (void)backend.release();
}

std::string Communicator::Group::silent_ranks() {
  constexpr std::chrono::milliseconds kPatience{2000};
  constexpr std::chrono::milliseconds kPause{10};
  const auto key = [](int64_t member) { return fmt::format("failed/{}", member); };
  std::vector<int64_t> silent;
  try {
    store->set(key(rank), "1");
    const auto until = std::chrono::steady_clock::now() + kPatience;
    do {
      silent.clear();
      for (int64_t member = 0; member < size(); ++member) {
        if (!store->check({key(member)})) silent.push_back(members[static_cast<size_t>(member)]);
      }
      if (silent.empty()) return "every rank of the group reports it";
      std::this_thread::sleep_for(kPause);
    } while (std::chrono::steady_clock::now() < until);
  } catch (const std::exception&) {
    return "the store does not answer: the rank or launcher that hosts it has ended";
  }
  return fmt::format("no word from rank{} {}", silent.size() == 1 ? "" : "s",
                     fmt::join(silent, ", "));
}

void Communicator::Group::wait(c10d::Work& work, std::chrono::milliseconds limit) const {
  constexpr std::chrono::milliseconds kPause{2};
  while (gives_up && !work.isCompleted()) {
    if (broken && *broken) throw std::runtime_error("another collective has failed");
    std::this_thread::sleep_for(kPause);
  }
  if (limit.count() > 0) {
    work.wait(limit);
  } else {
    work.wait();
  }
}

GroupPtr join_gloo(const c10::intrusive_ptr<c10d::Store>& store, std::string name, int64_t rank,
                   std::vector<int64_t> members, std::chrono::milliseconds silence) {
  auto group = std::make_shared<Communicator::Group>();
  group->name = std::move(name);
  group->rank = rank;
  group->members = std::move(members);
  if (group->size() == 1) return group;
  // The first member names the group: the groups of one axis share nothing.
  group->store = c10::make_intrusive<c10d::PrefixStore>(
      fmt::format("{}/{}", group->name, group->members.front()), store);
  group->over_gloo = true;
  group->backend = c10::make_intrusive<c10d::ProcessGroupGloo>(
      group->store, static_cast<int>(rank), static_cast<int>(group->size()),
      c10d::ProcessGroupGloo::Options::create_default(silence));
  return group;
}

}  // namespace praxino
