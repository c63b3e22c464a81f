#include "support/cuda_on_cpu/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace praxino::testing {
namespace {

constexpr int kMaxThreads = 1024;

}  // namespace

void Machine::run(const cpu::Launch& launch, const std::function<void()>& body) {
  if (launch.blocks < 1 || launch.threads < 1 || launch.threads > kMaxThreads ||
      launch.shared_bytes > options_.shared_limit || launch.blocks > INT32_MAX) {
    throw CudaFault(
        fmt::format("kernel {}: cannot launch {} blocks of {} threads with {} bytes of "
                    "shared memory",
                    launch.kernel, launch.blocks, launch.threads, launch.shared_bytes));
  }
  launch_ = &launch;
  ++launch_number_;
  std::vector<int64_t> order(static_cast<size_t>(launch.blocks));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  std::shuffle(order.begin(), order.end(), random_);
  try {
    while (!order.empty() || !blocks_.empty()) {
      while (!order.empty() && static_cast<int>(blocks_.size()) < options_.blocks_at_once) {
        start_block(order.back(), body);
        order.pop_back();
      }
      step();
    }
  } catch (...) {  // the threads that have not finished unwind
    runnable_.clear();
    while (!blocks_.empty()) retire(&blocks_.front());
    throw;
  }
}

void Machine::start_block(int64_t number, const std::function<void()>& body) {
  void* shared =
      memory_.allocate(launch_->shared_bytes, {.name = "shared memory", .block = number});
  Block& block = blocks_.emplace_back(number, launch_->threads, shared);
  for (int i = 0; i < block.size(); ++i) {
    block.thread(i).fiber.emplace(body);
    runnable_.push_back({&block, i});
  }
}

void Machine::retire(Block* block) {
  memory_.release(block->shared());
  blocks_.remove_if([&](const Block& other) { return &other == block; });
}

void Machine::step() {
  if (runnable_.empty()) {
    std::string text = fmt::format("kernel {}: all threads wait:", launch_->kernel);
    for (const Block& block : blocks_) text += block.whereabouts();
    throw CudaFault(text);
  }
  const size_t drawn = random_() % runnable_.size();
  std::swap(runnable_[drawn], runnable_.back());
  current_ = runnable_.back();
  runnable_.pop_back();
  const Runnable ran = current_;
  Block::Thread& thread = ran.block->thread(ran.index);
  thread.fiber->resume();
  if (thread.fiber->finished()) {
    thread.fiber.reset();
    ran.block->leave(ran.index);
    if (ran.block->finished()) retire(ran.block);
  }
}

void Machine::fault(const std::string& what, const std::source_location& site) const {
  throw CudaFault(fmt::format("kernel {}, block {}, thread {}: {}, at {}", launch_->kernel,
                              current_.block->number(), current_.index, what, describe(site)));
}

template <class Access>
void Machine::guarded(const std::source_location& site, Access access) const {
  try {
    access();
  } catch (const MemoryViolation& violation) {
    fault(violation.text, site);
  } catch (const MeetingViolation& violation) {
    fault(violation.text, site);
  }
}

void Machine::maybe_interrupt() {
  if (static_cast<double>(random_() >> 11) * 0x1p-53 >= options_.interruption) return;
  runnable_.push_back(current_);
  current_.block->thread(current_.index).fiber->pause();
}

void Machine::read(const void* from, void* to, size_t bytes, const std::source_location& site) {
  maybe_interrupt();
  guarded(site, [&] { memory_.read(from, to, bytes, actor()); });
}

void Machine::write(void* to, const void* from, size_t bytes, const std::source_location& site) {
  maybe_interrupt();
  guarded(site, [&] { memory_.write(to, from, bytes, actor()); });
}

void Machine::require_aligned(const void* address, size_t bytes,
                              const std::source_location& site) const {
  if (reinterpret_cast<uintptr_t>(address) % bytes == 0) return;
  fault(fmt::format("hands over {}, an address that is not a multiple of {}", address, bytes),
        site);
}

uint32_t Machine::meet(const Block::Meeting& meeting) {
  Block& block = *current_.block;
  Block::Thread& thread = block.thread(current_.index);
  guarded(meeting.site, [&] {
    for (const int index : block.arrive(current_.index, meeting))
      runnable_.push_back({&block, index});
  });
  thread.fiber->pause();
  return thread.received;
}

void Machine::copy_async(void* to, const void* from, size_t bytes,
                         const std::source_location& site) {
  maybe_interrupt();
  guarded(site, [&] {
    std::vector<std::byte> early(bytes);
    if (from != nullptr) memory_.read(from, early.data(), bytes, actor());
    memory_.begin_copy(to, bytes, actor());
    // The source is read when the copy begins or when it is waited for: the kernel cannot know.
    if (from != nullptr && random_() % 2 == 0) early.clear();
    Block::Thread& thread = current_.block->thread(current_.index);
    thread.copies.push_back({to, from, std::move(early), bytes});
    ++thread.uncommitted;
  });
}

void Machine::commit_async() {
  Block::Thread& thread = current_.block->thread(current_.index);
  thread.groups.push_back(std::exchange(thread.uncommitted, 0));
}

void Machine::wait_async(int groups, const std::source_location& site) {
  maybe_interrupt();
  Block::Thread& thread = current_.block->thread(current_.index);
  while (static_cast<int>(thread.groups.size()) > groups) {
    for (int i = 0; i < thread.groups.front(); ++i) {
      guarded(site, [&] { finish_copy(thread.copies.front()); });
      thread.copies.pop_front();
    }
    thread.groups.pop_front();
  }
}

void Machine::finish_copy(const AsyncCopy& copy) {
  std::vector<std::byte> bytes = copy.early;
  if (bytes.empty()) {
    bytes.resize(copy.bytes);
    memory_.read(copy.from, bytes.data(), copy.bytes, actor());
  }
  memory_.finish_copy(copy.to, bytes.data(), copy.bytes, actor());
}

}  // namespace praxino::testing
