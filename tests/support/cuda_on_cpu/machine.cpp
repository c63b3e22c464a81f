#include "support/cuda_on_cpu/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "support/cuda_on_cpu/hopper.h"

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
  memory_.forget_host();
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

// Copies of tiles end whenever they like.
bool Machine::finish_one_copy() {
  for (Block& block : blocks_) {
    if (!block.has_hopper() || !block.hopper().finish_a_copy(memory_, random_())) continue;
    wake(block);
    return true;
  }
  return false;
}

void Machine::step() {
  constexpr uint64_t kStepsOfACopy = 64;
  if (random_() % kStepsOfACopy == 0) finish_one_copy();
  while (runnable_.empty() && finish_one_copy()) {
  }
  if (runnable_.empty()) {
    std::string text = fmt::format("kernel {}: all threads wait:", launch_->kernel);
    for (Block& block : blocks_) {
      text += block.whereabouts();
      if (block.has_hopper()) text += block.hopper().barriers().whereabouts();
    }
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
    if (ran.block->has_hopper()) {
      const std::string left = ran.block->hopper().left_undone(ran.index, ran.block->finished());
      if (!left.empty()) {
        throw CudaFault(fmt::format("kernel {}, block {}, thread {}: leaves the kernel {}",
                                    launch_->kernel, ran.block->number(), ran.index, left));
      }
      if (ran.block->finished()) ran.block->hopper().copies().finish_stores(memory_);
    }
    if (ran.block->finished()) retire(ran.block);
  }
}

void Machine::fault(const std::string& what, const std::source_location& site) const {
  throw CudaFault(fmt::format("kernel {}, block {}, thread {}: {}, at {}", launch_->kernel,
                              current_.block->number(), current_.index, what, describe(site)));
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
  guarded(site, [&] {
    require_finished(from, bytes);
    memory_.write(to, from, bytes, actor());
  });
}

// Of a thread's values that go to memory.
void Machine::require_finished(const void* values, size_t bytes) const {
  uint32_t word;
  for (size_t i = 0; i + sizeof(word) <= bytes; i += sizeof(word)) {
    std::memcpy(&word, static_cast<const std::byte*>(values) + i, sizeof(word));
    constexpr uint32_t kTwoHalves = (kUnfinished >> 16) * 0x10001U;
    if (word == kUnfinished || word == kTwoHalves)
      throw MeetingViolation{"stores an accumulator before the wait for its product"};
  }
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

void Machine::wait_until(const char* thing, const std::source_location& site,
                         const std::function<bool()>& ready) {
  maybe_interrupt();
  guarded(site, [&] {
    if (ready()) return;
    block().block(thread(), {.thing = thing, .site = site}, ready);
    block().thread(thread()).fiber->pause();
  });
}

void Machine::wake(Block& block) {
  for (const int index : block.unblocked()) runnable_.push_back({&block, index});
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
