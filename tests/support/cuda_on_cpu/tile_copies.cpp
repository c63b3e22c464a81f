#include "support/cuda_on_cpu/tile_copies.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/warpgroup_tiles.h"
#include "support/cuda_on_cpu/fault.h"

namespace praxino::testing {
namespace {

using kernels::device::cpu::TensorTiles;

// Where byte `offset` of a tile lies in it.
uint32_t placed(const TensorTiles& tensor, uint32_t offset) {
  return tensor.swizzled ? kernels::swizzle_128(offset) : offset;
}

// The runs of bytes that stay together: 16 bytes under a swizzle.
template <class Visit>
void each_run(const TensorTiles& tensor, uint32_t offset, size_t bytes, Visit visit) {
  constexpr size_t kUnit = 16;
  for (size_t done = 0; done < bytes;) {
    const size_t in_unit = (offset + done) % kUnit;
    const size_t run = std::min(kUnit - in_unit, bytes - done);
    visit(done, placed(tensor, offset + static_cast<uint32_t>(done)), run);
    done += run;
  }
}

// What an H100 calls an illegal instruction.
void check_corner(const TensorTiles& tensor, const int* corner, bool stores) {
  if (corner[0] * tensor.element_bytes % 16 != 0) {
    throw MeetingViolation{fmt::format(
        "copies a tile that begins at element {} of a row, {} bytes from its first: not a multiple "
        "of 16",
        corner[0], corner[0] * tensor.element_bytes)};
  }
  for (int i = 0; stores && i < tensor.dimensions; ++i) {
    if (corner[i] < 0)
      throw MeetingViolation{
          fmt::format("stores a tile that begins {} before its tensor in "
                      "dimension {}",
                      -corner[i], i)};
  }
}

}  // namespace

std::vector<TileCopies::Row> TileCopies::rows_of(const TensorTiles& t, const int* corner) {
  std::vector<Row> rows;
  const int64_t first = std::max<int64_t>(corner[0], 0);
  const int64_t last = std::min<int64_t>(int64_t{corner[0]} + t.box[0], t.sizes[0]);
  int count = 1;
  for (int i = 1; i < t.dimensions; ++i) count *= t.box[i];
  for (int row = 0; row < count && first < last; ++row) {
    int64_t global = first * t.element_bytes;
    bool inside = true;
    for (int i = 1, rest = row; i < t.dimensions; rest /= t.box[i++]) {
      const int64_t at = int64_t{corner[i]} + rest % t.box[i];
      inside = inside && at >= 0 && at < t.sizes[i];
      global += at * t.strides[i];
    }
    if (!inside) continue;
    const int64_t offset = (int64_t{row} * t.box[0] + first - corner[0]) * t.element_bytes;
    rows.push_back({static_cast<std::byte*>(t.data) + global,
                    static_cast<size_t>((last - first) * t.element_bytes),
                    static_cast<uint32_t>(offset)});
  }
  return rows;
}

void TileCopies::check_place(const TensorTiles& tensor, const void* shared) const {
  const size_t alignment = tensor.swizzled ? kernels::kSwizzleBytes : 128;
  const auto offset = static_cast<size_t>(static_cast<const std::byte*>(shared) -
                                          static_cast<const std::byte*>(shared_));
  if (offset % alignment != 0) {
    throw MeetingViolation{
        fmt::format("copies a tile at byte {} of shared memory, which is not a multiple of {}",
                    offset, alignment)};
  }
}

Actor TileCopies::engine(const Actor& actor) const {
  return {actor.launch, actor.block, clocks_.engine(), &clocks_};
}

void TileCopies::load(Memory& memory, const Actor& actor, void* shared, const TensorTiles& tensor,
                      const int* corner, void* barrier) {
  check_place(tensor, shared);
  check_corner(tensor, corner, /*stores=*/false);
  barriers_.check_tells(barrier, actor.thread);
  std::vector<std::byte> tile(tensor.box_bytes());
  std::vector<std::byte> bytes;
  Actor reader = actor;
  reader.asynchronous = true;
  for (const Row& row : rows_of(tensor, corner)) {
    bytes.resize(row.bytes);
    memory.read(row.global, bytes.data(), row.bytes, reader,
                static_cast<size_t>(tensor.element_bytes));
    each_run(tensor, row.offset, row.bytes, [&](size_t from, uint32_t to, size_t run) {
      std::memcpy(tile.data() + to, bytes.data() + from, run);
    });
  }
  memory.begin_copy(shared, tile.size(), reader, 16);
  Copy copy{.barrier = barrier, .pieces = {}, .actor = actor, .box_bytes = tile.size()};
  copy.pieces.push_back({shared, std::move(tile)});
  copies_.push_back(std::move(copy));
}

void TileCopies::store(Memory& memory, const Actor& actor, const TensorTiles& tensor,
                       const int* corner, const void* shared) {
  check_place(tensor, shared);
  check_corner(tensor, corner, /*stores=*/true);
  std::vector<std::byte> tile(tensor.box_bytes());
  Actor reader = actor;
  reader.asynchronous = true;
  Copy copy{.barrier = nullptr, .pieces = {}, .actor = actor};
  for (const Row& row : rows_of(tensor, corner)) {
    std::vector<std::byte> bytes(row.bytes);
    each_run(tensor, row.offset, row.bytes, [&](size_t to, uint32_t from, size_t run) {
      const auto* at = static_cast<const std::byte*>(shared) + from;
      memory.read(at, bytes.data() + to, run, reader, 1);
      memory.mark_read(at, run, engine(actor));
    });
    memory.begin_copy(row.global, row.bytes, actor, static_cast<size_t>(tensor.element_bytes));
    copy.pieces.push_back({row.global, std::move(bytes)});
  }
  copy.group = groups_[actor.thread];
  copy.read = clocks_.now(clocks_.engine());
  clocks_.tick(clocks_.engine());
  copies_.push_back(std::move(copy));
}

void TileCopies::commit(int thread) { ++groups_[thread]; }

void TileCopies::wait(Memory& memory, const Actor& actor, int groups, bool only_read) {
  const int64_t ended = groups_[actor.thread] - groups;
  for (auto copy = copies_.begin(); copy != copies_.end();) {
    const bool mine = copy->barrier == nullptr && copy->actor.thread == actor.thread;
    if (!mine || copy->group >= ended) {
      ++copy;
      continue;
    }
    clocks_.acquire(actor.thread, clocks_.engine(), copy->read);
    copy->waited_read = true;
    if (only_read) {
      ++copy;
      continue;
    }
    finish(memory, *copy);
    clocks_.acquire(actor.thread, clocks_.engine(), clocks_.now(clocks_.engine()) - 1);
    copy = copies_.erase(copy);
  }
}

void TileCopies::finish(Memory& memory, const Copy& copy) {
  for (const Piece& piece : copy.pieces)
    memory.finish_copy(piece.to, piece.bytes.data(), piece.bytes.size(), engine(copy.actor));
  if (copy.barrier != nullptr) {
    barriers_.complete(copy.barrier, copy.box_bytes);
  } else {
    clocks_.tick(clocks_.engine());
  }
}

bool TileCopies::finish_one(Memory& memory, uint64_t random) {
  // A store ends in its thread's wait for it, or with the block: nobody else can see it before.
  std::vector<size_t> loads;
  for (size_t i = 0; i < copies_.size(); ++i) {
    if (copies_[i].barrier != nullptr) loads.push_back(i);
  }
  if (loads.empty()) return false;
  const size_t drawn = loads[random % loads.size()];
  finish(memory, copies_[drawn]);
  copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(drawn));
  return true;
}

void TileCopies::finish_stores(Memory& memory) {
  for (const Copy& copy : copies_) finish(memory, copy);
  copies_.clear();
}

bool TileCopies::has_unread(int thread) const {
  return std::any_of(copies_.begin(), copies_.end(), [&](const Copy& copy) {
    return copy.barrier == nullptr && copy.actor.thread == thread && !copy.waited_read;
  });
}

bool TileCopies::has_loads() const {
  return std::any_of(copies_.begin(), copies_.end(),
                     [](const Copy& copy) { return copy.barrier != nullptr; });
}

}  // namespace praxino::testing
