#include "support/cuda_on_cpu/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

namespace praxino::testing {
namespace {

constexpr size_t kReserved = size_t{1} << 36;  // addresses only: nothing is ever mapped there
constexpr size_t kAlignment = 1024;            // of a swizzled tile in shared memory
constexpr size_t kGap = 4096;  // between allocations, so that small strays hit nothing

template <class... Values>
MemoryViolation violation(fmt::format_string<Values...> text, Values&&... values) {
  return {fmt::format(text, std::forward<Values>(values)...)};
}

// True where the stamped access comes before what the actor does now.
bool ordered(const Stamp& stamp, const Actor& actor) {
  if (stamp.launch != actor.launch) return true;  // launches follow each other
  if (stamp.block != actor.block) return false;
  return stamp.thread == actor.thread ||
         actor.clocks->knows(actor.thread, stamp.thread, stamp.clock);
}

Stamp stamp_of(const Actor& actor) {
  return {actor.launch, actor.clocks->now(actor.thread), static_cast<int32_t>(actor.block),
          actor.thread};
}

std::string who(const Stamp& stamp, const Actor& actor) {
  if (stamp.thread == actor.clocks->engine()) return "a copy of tiles";
  return fmt::format("block {} thread {}", stamp.block, stamp.thread);
}

// True where an asynchronous actor may not see what a thread wrote.
bool lacks_fence(const Stamp& stamp, const Actor& actor) {
  return actor.asynchronous && stamp.launch == actor.launch && stamp.block == actor.block &&
         stamp.thread != actor.clocks->engine() &&
         !actor.clocks->fenced(actor.thread, stamp.thread, stamp.clock);
}

}  // namespace

Memory::Memory(HostMemory host) : host_(std::move(host)) {
  void* range = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                     /*fd=*/-1, /*offset=*/0);
  if (range == MAP_FAILED) throw std::bad_alloc();
  base_ = reinterpret_cast<uintptr_t>(range);
  next_ = base_;
}

Memory::~Memory() { munmap(reinterpret_cast<void*>(base_), kReserved); }

void* Memory::allocate(size_t bytes, const Options& options) {
  const uintptr_t begin = (next_ + kGap + kAlignment - 1) / kAlignment * kAlignment + options.skew;
  next_ = begin + bytes;
  if (next_ > base_ + kReserved) throw std::bad_alloc();
  Allocation allocation{begin,
                        options,
                        std::vector<std::byte>(bytes, std::byte{0xff}),
                        {},
                        std::vector<Granule>((bytes + options.granule - 1) / options.granule)};
  allocation.bytes = allocation.own;  // which stay where they are when it is moved
  allocations_.emplace(begin, std::move(allocation));
  return reinterpret_cast<void*>(begin);
}

bool Memory::of_host(uintptr_t address) const {
  return address < base_ || address >= base_ + kReserved;
}

void Memory::adopt_from_host(uintptr_t address) {
  const auto after = allocations_.upper_bound(address);
  if (after != allocations_.begin()) {
    const Allocation& in = std::prev(after)->second;
    if (address - in.begin < in.bytes.size()) return;
  }
  const std::span<std::byte> bytes =
      host_ ? host_(reinterpret_cast<const void*>(address)) : std::span<std::byte>();
  if (bytes.empty()) return;
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  Granule written;
  written.initialised = true;
  std::vector<Granule> granules(bytes.size(), written);
  allocations_.emplace(
      begin, Allocation{begin, {.name = "memory of the host"}, {}, bytes, std::move(granules)});
}

void Memory::forget_host() {
  std::erase_if(allocations_, [&](const auto& entry) { return of_host(entry.first); });
}

void Memory::release(const void* address) {
  allocations_.erase(reinterpret_cast<uintptr_t>(address));
}

Memory::Allocation& Memory::containing(const void* address) const {
  auto after = allocations_.upper_bound(reinterpret_cast<uintptr_t>(address));
  if (after == allocations_.begin()) throw std::logic_error("no allocation at this address");
  return const_cast<Allocation&>(std::prev(after)->second);
}

template <class Visit>
void Memory::each_granule(Found found, size_t bytes, Visit visit) {
  const size_t granule = found.in.options.granule;
  for (size_t i = found.offset / granule; i * granule < found.offset + bytes; ++i)
    visit(found.in.granules[i], i);
}

void Memory::fill(const void* address, const void* from, size_t bytes) {
  if (bytes == 0) return;
  const Found found{containing(address), 0};
  std::memcpy(found.in.bytes.data(), from, bytes);
  each_granule(found, bytes, [](Granule& granule, size_t) { granule.initialised = true; });
}

void Memory::fetch(const void* address, void* to, size_t bytes) const {
  if (bytes == 0) return;
  std::memcpy(to, containing(address).bytes.data(), bytes);
}

Memory::Found Memory::find(const void* address, size_t bytes, size_t alignment, const Actor& actor,
                           const char* verb) {
  if (alignment == 0) alignment = bytes;
  const auto where = reinterpret_cast<uintptr_t>(address);
  const bool host = of_host(where);
  if (host) adopt_from_host(where);
  const auto after = allocations_.upper_bound(where);
  if (after == allocations_.begin() || host != of_host(std::prev(after)->first) ||
      (host && where - std::prev(after)->first >= std::prev(after)->second.bytes.size())) {
    throw violation("{} {} bytes at {:#x}, which is no memory of the device", verb, bytes, where);
  }
  Allocation& in = std::prev(after)->second;
  const size_t offset = where - in.begin;
  if (offset + bytes > in.bytes.size()) {
    throw violation("{} {} bytes at byte {} of {}, which has {}", verb, bytes, offset,
                    in.options.name, in.bytes.size());
  }
  if (where % alignment != 0) {
    throw violation("{} {} bytes at byte {} of {}, an address that is not a multiple of {}", verb,
                    bytes, offset, in.options.name, alignment);
  }
  if (in.options.block >= 0 && in.options.block != actor.block) {
    throw violation("{} byte {} of the shared memory of block {}", verb, offset, in.options.block);
  }
  const Found found{in, offset};
  each_granule(found, bytes, [&](const Granule& granule, size_t index) {
    if (!granule.pending) return;
    throw violation("{} index {} of {} before the wait for the copy into it by {}", verb, index,
                    in.options.name, who(granule.write, actor));
  });
  return found;
}

void Memory::read(const void* from, void* to, size_t bytes, const Actor& actor, size_t alignment) {
  const Found found = find(from, bytes, alignment, actor, "reads");
  const std::string& name = found.in.options.name;
  const Stamp stamp = stamp_of(actor);
  each_granule(found, bytes, [&](Granule& granule, size_t index) {
    if (!granule.initialised)
      throw violation("reads index {} of {}, which nothing wrote", index, name);
    if (!ordered(granule.write, actor)) {
      throw violation("reads index {} of {}, which {} wrote, without a barrier in between: a race",
                      index, name, who(granule.write, actor));
    }
    if (lacks_fence(granule.write, actor)) {
      throw violation(
          "reads index {} of {} asynchronously, which {} wrote, without fence_async() in between",
          index, name, who(granule.write, actor));
    }
    // A reader that this one comes after needs no place of its own.
    Stamp& slot = ordered(granule.reads[0], actor) ? granule.reads[0] : granule.reads[1];
    slot = stamp;
  });
  std::memcpy(to, found.in.bytes.data() + found.offset, bytes);
}

void Memory::peek(const void* from, void* to, size_t bytes) const {
  const Allocation& in = containing(from);
  std::memcpy(to, in.bytes.data() + (reinterpret_cast<uintptr_t>(from) - in.begin), bytes);
}

void Memory::mark_read(const void* from, size_t bytes, const Actor& actor) {
  Allocation& in = containing(from);
  const Found found{in, reinterpret_cast<uintptr_t>(from) - in.begin};
  const Stamp stamp = stamp_of(actor);
  each_granule(found, bytes, [&](Granule& granule, size_t) {
    Stamp& slot = ordered(granule.reads[0], actor) ? granule.reads[0] : granule.reads[1];
    slot = stamp;
  });
}

void Memory::begin_copy(void* to, size_t bytes, const Actor& actor, size_t alignment) {
  const Found found = find(to, bytes, alignment, actor, "writes");
  const std::string& name = found.in.options.name;
  if (found.in.options.read_only) throw violation("writes to {}, an input", name);
  const Stamp stamp = stamp_of(actor);
  each_granule(found, bytes, [&](Granule& granule, size_t index) {
    if (!ordered(granule.write, actor)) {
      throw violation("writes index {} of {}, as {} did, without a barrier in between: a race",
                      index, name, who(granule.write, actor));
    }
    if (lacks_fence(granule.write, actor)) {
      throw violation(
          "writes index {} of {} asynchronously, as {} did, without fence_async() in between",
          index, name, who(granule.write, actor));
    }
    for (const Stamp& read : granule.reads) {
      if (!ordered(read, actor)) {
        throw violation(
            "writes index {} of {}, which {} read, without a barrier in between: a race", index,
            name, who(read, actor));
      }
    }
    granule.write = stamp;
    granule.pending = true;
  });
}

void Memory::finish_copy(void* to, const void* from, size_t bytes, const Actor& actor) {
  Allocation& in = containing(to);
  const Found found{in, reinterpret_cast<uintptr_t>(to) - in.begin};
  std::memcpy(in.bytes.data() + found.offset, from, bytes);
  const Stamp stamp = stamp_of(actor);
  each_granule(found, bytes, [&](Granule& granule, size_t) {
    granule.write = stamp;
    granule.initialised = true;
    granule.pending = false;
  });
}

void Memory::write(void* to, const void* from, size_t bytes, const Actor& actor) {
  begin_copy(to, bytes, actor);
  finish_copy(to, from, bytes, actor);
}

}  // namespace praxino::testing
