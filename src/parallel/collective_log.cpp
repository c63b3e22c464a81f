#include "parallel/collective_log.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <span>

namespace praxino {
namespace {

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

std::string CollectiveRecord::name() const {
  return peer < 0 ? std::string(kind) : fmt::format("{} rank {}", kind, peer);
}

std::string CollectiveRecord::text() const {
  const auto shown = static_cast<size_t>(std::min<int64_t>(dims, kSizes));
  return fmt::format("{} ({} [{}{}])", name(), c10::toString(type),
                     fmt::join(std::span(sizes).first(shown), ", "),
                     dims > static_cast<int64_t>(kSizes) ? ", ..." : "");
}

int64_t CollectiveLog::enter(CollectiveRecord record) {
  record.entered = now();
  const int64_t place = ++entered_;
  Slot& slot = slots_[static_cast<size_t>(place) % kKept];
  std::array<int64_t, kWords> words = {record.number,
                                       reinterpret_cast<int64_t>(record.kind),
                                       record.peer,
                                       record.message ? 1 : 0,
                                       static_cast<int64_t>(record.type),
                                       record.dims,
                                       record.entered,
                                       record.waited,
                                       record.ended};
  std::copy(record.sizes.begin(), record.sizes.end(), words.end() - CollectiveRecord::kSizes);
  // Whoever sees one of the new words also sees that the place is no longer the old one.
  slot.place.store(0, std::memory_order_relaxed);
  for (size_t i = 0; i < kWords; ++i) slot.words[i].store(words[i], std::memory_order_release);
  slot.place.store(place, std::memory_order_release);
  return place;
}

void CollectiveLog::stamp(int64_t place, size_t word) {
  Slot& slot = slots_[static_cast<size_t>(place) % kKept];
  // After that many others the record has gone; two threads never write at once.
  if (slot.place.load(std::memory_order_relaxed) != place) return;
  slot.words[word].store(now(), std::memory_order_release);
}

void CollectiveLog::wait_begins(int64_t place) { stamp(place, kWaited); }
void CollectiveLog::ends(int64_t place) { stamp(place, kEnded); }

std::vector<CollectiveRecord> CollectiveLog::last() const {
  std::vector<std::pair<int64_t, CollectiveRecord>> found;
  for (const Slot& slot : slots_) {
    const int64_t place = slot.place.load(std::memory_order_acquire);
    std::array<int64_t, kWords> w = {};
    for (size_t i = 0; i < kWords; ++i) w[i] = slot.words[i].load(std::memory_order_acquire);
    if (place == 0 || slot.place.load(std::memory_order_relaxed) != place) continue;
    CollectiveRecord record{.number = w[0],
                            .kind = reinterpret_cast<const char*>(w[1]),
                            .peer = w[2],
                            .message = w[3] != 0,
                            .type = static_cast<at::ScalarType>(w[4]),
                            .dims = w[5],
                            .sizes = {},
                            .entered = w[6],
                            .waited = w[kWaited],
                            .ended = w[kEnded]};
    std::copy(w.end() - CollectiveRecord::kSizes, w.end(), record.sizes.begin());
    found.emplace_back(place, record);
  }
  std::ranges::sort(found, {}, [](const auto& entry) { return entry.first; });
  std::vector<CollectiveRecord> records;
  for (const auto& [place, record] : found) records.push_back(record);
  return records;
}

}  // namespace praxino
