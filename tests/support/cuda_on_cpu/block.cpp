#include "support/cuda_on_cpu/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "support/cuda_on_cpu/hopper.h"

namespace praxino::testing {
namespace {

bool same_site(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         std::string_view(a.file_name()) == b.file_name();
}

bool names(uint32_t mask, int lane) { return (mask >> lane & 1U) != 0; }

}  // namespace

const char* name_of(const Block::Meeting& meeting) {
  if (meeting.thing != nullptr) return meeting.thing;
  if (meeting.of_block) return "sync_block";
  switch (meeting.kind) {
    case cpu::Collective::kSync: return "sync_warp";
    case cpu::Collective::kShuffleXor: return "shuffle_xor";
    case cpu::Collective::kShuffleDown: return "shuffle_down";
    case cpu::Collective::kShuffle: return "shuffle";
    case cpu::Collective::kLoadMatrices: return "load_matrices";
    case cpu::Collective::kMultiply: return "multiply_add";
    case cpu::Collective::kTranspose: return "transpose_matrix";
  }
  return "?";
}

Block::Block(int64_t number, int threads, void* shared)
    : number_(number),
      shared_(shared),
      clocks_(threads),
      threads_(static_cast<size_t>(threads)),
      running_(threads) {}

Block::~Block() = default;

Hopper& Block::hopper() {
  if (hopper_ == nullptr) hopper_ = std::make_unique<Hopper>(shared_, clocks_);
  return *hopper_;
}

void Block::block(int index, const Meeting& meeting, std::function<bool()> ready) {
  thread(index).waits = meeting;
  blocked_.push_back({index, std::move(ready)});
}

std::vector<int> Block::unblocked() {
  std::vector<int> free;
  for (size_t i = 0; i < blocked_.size();) {
    if (!blocked_[i].ready()) {
      ++i;
      continue;
    }
    free.push_back(blocked_[i].index);
    thread(free.back()).waits.reset();
    blocked_.erase(blocked_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return free;
}

std::vector<int> Block::arrive(int index, const Meeting& meeting) {
  thread(index).waits = meeting;
  return meeting.of_block ? arrive_at_barrier(index) : arrive_at_collective(index);
}

void Block::leave(int index) {
  thread(index).done = true;
  --running_;
}

std::vector<int> Block::arrive_at_barrier(int index) {
  std::vector<int> all;
  for (int i = 0; i < size(); ++i) {
    const auto& waits = thread(i).waits;
    if (!waits || !waits->of_block) continue;
    if (!same_site(waits->site, thread(index).waits->site)) {
      throw MeetingViolation{fmt::format("waits for the block while thread {} waits for it at {}",
                                         i, describe(waits->site))};
    }
    all.push_back(i);
  }
  if (static_cast<int>(all.size()) < size()) return {};
  for (const int i : all) thread(i).waits.reset();
  clocks_.join(all);
  return all;
}

// Lanes that name each other must make the same call.
void Block::check_fits(int index, int other, const Meeting& mine) const {
  const Thread& there = threads_[static_cast<size_t>(other)];
  const int lane = index % kLanes, other_lane = other % kLanes;
  if (there.done) {
    if (!names(mine.mask, other_lane)) return;
    throw MeetingViolation{
        fmt::format("calls {} with lane {}, which has left the kernel", name_of(mine), other_lane)};
  }
  if (!there.waits || there.waits->of_block || there.waits->thing != nullptr) return;
  const Meeting& theirs = *there.waits;
  if (!names(mine.mask, other_lane) && !names(theirs.mask, lane)) return;
  if (mine.mask != theirs.mask) {
    throw MeetingViolation{
        fmt::format("calls {} with mask {:#010x}, lane {} calls {} with {:#010x}", name_of(mine),
                    mine.mask, other_lane, name_of(theirs), theirs.mask)};
  }
  const bool differs_by_right = mine.kind == cpu::Collective::kShuffle;
  if (mine.kind != theirs.kind || !same_site(mine.site, theirs.site) ||
      (mine.argument != theirs.argument && !differs_by_right)) {
    throw MeetingViolation{fmt::format("calls {} of {}, lane {} calls {} of {} at {}",
                                       name_of(mine), mine.argument, other_lane, name_of(theirs),
                                       theirs.argument, describe(theirs.site))};
  }
}

std::vector<int> Block::arrive_at_collective(int index) {
  const Meeting& mine = *thread(index).waits;
  const int warp = index / kLanes, first = warp * kLanes, count = lanes_of_warp(warp);
  if (!names(mine.mask, index % kLanes)) {
    throw MeetingViolation{
        fmt::format("calls {} with mask {:#010x}, in which it is not", name_of(mine), mine.mask)};
  }
  if (count < kLanes && (mine.mask >> count) != 0) {
    throw MeetingViolation{fmt::format("calls {} with mask {:#010x} in a warp of {} lanes",
                                       name_of(mine), mine.mask, count)};
  }
  std::vector<int> lanes;
  bool all_here = true;
  for (int other = first; other < first + count; ++other) {
    if (other != index) check_fits(index, other, mine);
    if (!names(mine.mask, other % kLanes)) continue;
    const auto& waits = thread(other).waits;
    all_here = all_here && waits && !waits->of_block && waits->thing == nullptr;
    lanes.push_back(other);
  }
  if (!all_here) return {};
  if (mine.work != nullptr) {
    work_together(lanes);
  } else {
    exchange(lanes);
  }
  if (mine.kind == cpu::Collective::kSync) clocks_.join(lanes);
  for (const int lane : lanes) thread(lane).waits.reset();
  return lanes;
}

void Block::work_together(const std::vector<int>& lanes) {
  std::array<void*, kLanes> pieces{};
  for (const int index : lanes) pieces[size_t(index % kLanes)] = thread(index).waits->own;
  thread(lanes.front()).waits->work(pieces.data());
}

void Block::exchange(const std::vector<int>& lanes) {
  for (const int index : lanes) {
    const Meeting& mine = *thread(index).waits;
    const int lane = index % kLanes;
    int source = lane;
    if (mine.kind == cpu::Collective::kShuffleXor) source = lane ^ mine.argument;
    if (mine.kind == cpu::Collective::kShuffle) source = mine.argument;
    if (mine.kind == cpu::Collective::kShuffleDown && lane + mine.argument < kLanes)
      source = lane + mine.argument;
    if (source < 0 || source >= kLanes || !names(mine.mask, source)) {
      throw MeetingViolation{fmt::format("calls {} for lane {}, which is not in mask {:#010x}",
                                         name_of(mine), source, mine.mask)};
    }
    thread(index).received = thread(index - lane + source).waits->value;
  }
}

std::string Block::whereabouts() const {
  std::string text;
  for (int first = 0; first < size(); first += kLanes) {
    std::map<std::string, std::pair<int, uint32_t>> places;
    for (int lane = 0; lane < lanes_of_warp(first / kLanes); ++lane) {
      const Thread& at = threads_[static_cast<size_t>(first + lane)];
      const std::string place =
          at.done    ? "gone"
          : at.waits ? fmt::format("{} at {}", name_of(*at.waits), describe(at.waits->site))
                     : "running";
      auto& [count, mask] = places[place];
      ++count;
      mask |= 1U << lane;
    }
    text += fmt::format("\n  block {} warp {}:", number_, first / kLanes);
    for (const auto& [place, who] : places)
      text += fmt::format(" {} lanes ({:#010x}) {};", who.first, who.second, place);
    text.back() = '.';
  }
  return text;
}

}  // namespace praxino::testing
