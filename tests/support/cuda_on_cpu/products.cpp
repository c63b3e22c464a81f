#include "support/cuda_on_cpu/products.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/bf16.h"
#include "support/cuda_on_cpu/fault.h"

namespace praxino::testing {
namespace {

using kernels::decode_tile;
using kernels::kTileDepth;
using kernels::kTileRows;
using kernels::Major;
using kernels::MatrixTile;

float half_of(const std::byte* bytes, int element) {
  uint16_t bits;
  std::memcpy(&bits, bytes + 2 * element, sizeof(bits));
  return kernels::to_float(kernels::Bf16{bits});
}

struct Operand {
  uint64_t descriptor;
  Major major;
  int outer;  // elements
};

// Calls visit(address, outer, depth, along the contraction?) for every 8 elements that lie
// together.
template <class Visit>
void each_unit(const void* window, const Operand& operand, Visit visit) {
  const MatrixTile tile = decode_tile(operand.descriptor);
  if (tile.start % kernels::kSwizzleBytes >= kernels::kBoxBytes) {
    throw MeetingViolation{fmt::format(
        "multiplies a tile at byte {}, which is not in the first row of a swizzle", tile.start)};
  }
  const bool deep = operand.major == Major::kDepth;
  for (int row = 0; row < (deep ? operand.outer : kTileDepth); ++row) {
    for (int unit = 0; unit < (deep ? kTileDepth : operand.outer); unit += 8) {
      const int outer = deep ? row : unit, depth = deep ? unit : row;
      const auto* address = static_cast<const std::byte*>(window) +
                            kernels::operand_byte(tile, operand.major, outer, depth);
      visit(address, outer, depth);
    }
  }
}

// outer x 16
void read_operand(const Memory& memory, const void* window, const Operand& operand,
                  std::vector<float>& to) {
  to.resize(static_cast<size_t>(operand.outer * kTileDepth));
  each_unit(window, operand, [&](const std::byte* address, int outer, int depth) {
    std::byte unit[16];
    memory.peek(address, unit, sizeof(unit));
    for (int i = 0; i < 8; ++i) {
      const bool deep = operand.major == Major::kDepth;
      const int o = deep ? outer : outer + i, d = deep ? depth + i : depth;
      to[static_cast<size_t>(o * kTileDepth + d)] = half_of(unit, i);
    }
  });
}

bool same(const Products::Product& a, const Products::Product& b) {
  return a.columns == b.columns && (a.registers == nullptr) == (b.registers == nullptr) &&
         a.a == b.a && a.b == b.b && a.a_outer == b.a_outer && a.b_outer == b.b_outer &&
         a.adds == b.adds;
}

bool names(const Products::Registers* registers, int count, const void* data) {
  return std::any_of(registers, registers + count, [&](const Products::Registers& named) {
    const auto* begin = static_cast<const std::byte*>(named.data);
    return data >= begin && data < begin + named.bytes;
  });
}

}  // namespace

void Products::fence(int lane, const Registers* registers, int count) {
  std::vector<Fenced>& fenced = lanes_[static_cast<size_t>(lane)].fenced;
  fenced.clear();
  for (int i = 0; i < count; ++i) {
    const auto* data = static_cast<const std::byte*>(registers[i].data);
    fenced.push_back({data, {data, data + registers[i].bytes}});
  }
}

void Products::require_fenced(const Lane& lane, const void* data, size_t bytes) const {
  const auto* begin = static_cast<const std::byte*>(data);
  for (const Fenced& fenced : lane.fenced) {
    if (begin < fenced.data || begin + bytes > fenced.data + fenced.bytes.size()) continue;
    if (std::memcmp(begin, fenced.bytes.data() + (begin - fenced.data), bytes) == 0) return;
  }
  throw MeetingViolation{
      "begins a product on registers without fence_products() behind their last change"};
}

Products::Operation& Products::operation_of(int lane, const Product& product,
                                            const std::source_location& site, uint64_t random) {
  const int64_t number = lanes_[static_cast<size_t>(lane)].begun++;
  if (number - gone_ == static_cast<int64_t>(operations_.size())) {
    const int checker = static_cast<int>(random % 4) * 32;
    operations_.push_back(
        {.product = product, .site = site, .starter = lane, .checker = checker, .flight = nullptr});
  }
  Operation& operation = at(number);
  if (!same(product, operation.product) || site.line() != operation.site.line()) {
    throw MeetingViolation{
        fmt::format("begins another product than thread {} of its warpgroup, which does at {}",
                    first_ + operation.starter, describe(operation.site))};
  }
  return operation;
}

void Products::take_flight(Operation& operation, int lane, const Product& product) {
  Lane& own = lanes_[static_cast<size_t>(lane)];
  const auto count = static_cast<size_t>(product.columns / 2);
  const int64_t number = own.begun - 1;
  for (const Open& open : own.open) {
    if (open.d != product.d) continue;
    for (size_t i = 0; i < count; ++i) {
      if (kernels::bits_of(product.d[i]) != kUnfinished)
        throw MeetingViolation{"touches an accumulator between a product and the wait for it"};
    }
    if (operation.flight != nullptr && operation.flight != open.flight)
      throw MeetingViolation{"adds to another accumulator than its warpgroup"};
    operation.flight = open.flight;
    operation.flight->last = std::max(operation.flight->last, number);
    return;
  }
  require_fenced(own, product.d, count * sizeof(float));
  if (operation.flight == nullptr) {
    operation.flight = std::make_shared<Flight>(
        Flight{product.columns, number, std::vector<float>(count * static_cast<size_t>(kLanes))});
  }
  own.open.push_back({product.d, operation.flight});
  std::copy_n(product.d, count, operation.flight->of(lane));
  std::fill_n(product.d, count, kernels::float_of(kUnfinished));
}

void Products::begin(Memory& memory, const Actor& actor, int lane, const Product& product,
                     const std::source_location& site, uint64_t random) {
  Operation& operation = operation_of(lane, product, site, random);
  const auto own = static_cast<size_t>(lane);
  if (product.registers != nullptr) {
    require_fenced(lanes_[own], product.registers, sizeof(operation.a[0]));
    operation.a_at[own] = product.registers;
    std::copy_n(product.registers, 4, operation.a[own].begin());
  }
  take_flight(operation, lane, product);
  ++operation.lanes;
  if (lane == operation.checker) check_reads(memory, operation, actor);
}

template <class Visit>
void Products::each_operand(const Operation& operation, Visit visit) const {
  const Product& p = operation.product;
  const auto major = [](bool outer) { return outer ? Major::kOuter : Major::kDepth; };
  if (p.registers == nullptr) visit(Operand{p.a, major(p.a_outer), kTileRows}, 0);
  visit(Operand{p.b, major(p.b_outer), p.columns}, 1);
}

void Products::check_reads(Memory& memory, const Operation& operation, const Actor& actor) const {
  Actor reader = actor;
  reader.asynchronous = true;
  each_operand(operation, [&](const Operand& operand, int) {
    each_unit(shared_, operand, [&](const std::byte* address, int, int) {
      std::byte unit[16];
      memory.read(address, unit, sizeof(unit), reader);
    });
  });
}

void Products::commit(int lane) {
  Lane& own = lanes_[static_cast<size_t>(lane)];
  own.groups.push_back(own.begun);
}

int64_t Products::awaited(int lane, int groups) {
  Lane& own = lanes_[static_cast<size_t>(lane)];
  int64_t count = own.waited;
  while (static_cast<int>(own.groups.size()) > groups) {
    count = own.groups.front();
    own.groups.pop_front();
  }
  return count;
}

bool Products::begun(int64_t count) const {
  return std::all_of(lanes_.begin(), lanes_.end(),
                     [&](const Lane& lane) { return lane.begun >= count; });
}

// The device promises neither order nor rounding of the sum over 16; this one rounds each step.
void Products::compute(const Memory& memory, Operation& operation) {
  std::vector<float> operands[2], sum;
  auto& [a, b] = operands;
  each_operand(operation, [&](const Operand& operand, int which) {
    read_operand(memory, shared_, operand, operands[which]);
  });
  const int columns = operation.product.columns;
  if (operation.product.registers != nullptr) {
    a.resize(static_cast<size_t>(kTileRows * kTileDepth));
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int i = 0; i < 8; ++i) {
        const auto spot = kernels::warpgroup_a(lane, i);
        const auto* words = reinterpret_cast<const std::byte*>(operation.a[size_t(lane)].data());
        a[static_cast<size_t>(spot.row * kTileDepth + spot.column)] = half_of(words, i);
      }
    }
  }
  std::vector<float> transposed(static_cast<size_t>(kTileDepth * columns));
  for (int n = 0; n < columns; ++n) {
    for (int k = 0; k < kTileDepth; ++k)
      transposed[size_t(k * columns + n)] = b[size_t(n * kTileDepth + k)];
  }
  sum.resize(static_cast<size_t>(kTileRows * columns));
  Flight& flight = *operation.flight;
  const auto each_element = [&](auto visit) {
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int i = 0; i < columns / 2; ++i) {
        const auto spot = kernels::warpgroup_d(lane, i);
        visit(flight.of(lane)[i], sum[size_t(spot.row * columns + spot.column)]);
      }
    }
  };
  if (operation.product.adds) each_element([](const float& own, float& whole) { whole = own; });
  for (int m = 0; m < kTileRows; ++m) {
    float* row = sum.data() + m * columns;
    for (int k = 0; k < kTileDepth; ++k) {
      const float factor = a[size_t(m * kTileDepth + k)];
      const float* from = transposed.data() + k * columns;
      for (int n = 0; n < columns; ++n) row[n] += factor * from[n];
    }
  }
  each_element([](float& own, const float& whole) { own = whole; });
  operation.computed = true;
}

void Products::deliver(int lane, Open& open, const Registers* registers, int named) {
  const auto count = static_cast<size_t>(open.flight->columns / 2);
  if (!names(registers, named, open.d))
    throw MeetingViolation{"waits for a product without naming its accumulator"};
  for (size_t i = 0; i < count; ++i) {
    if (kernels::bits_of(open.d[i]) != kUnfinished)
      throw MeetingViolation{"touches an accumulator between a product and the wait for it"};
  }
  std::copy_n(open.flight->of(lane), count, open.d);
}

void Products::finish(Memory& memory, const Actor& actor, int lane, int64_t count,
                      const Registers* registers, int named) {
  Lane& own = lanes_[static_cast<size_t>(lane)];
  for (int64_t number = gone_; number < count; ++number) {
    if (!at(number).computed) compute(memory, at(number));
  }
  std::erase_if(own.open, [&](Open& open) {
    if (open.flight->last >= count) return false;
    deliver(lane, open, registers, named);
    return true;
  });
  for (; own.waited < count; ++own.waited) {
    Operation& operation = at(own.waited);
    const uint32_t* a = operation.a_at[static_cast<size_t>(lane)];
    if (a != nullptr && !std::equal(a, a + 4, operation.a[static_cast<size_t>(lane)].begin()))
      throw MeetingViolation{"changes the registers of A between a product and the wait for it"};
    if (lane == operation.checker) check_reads(memory, operation, actor);
    ++operation.delivered;
  }
  while (!operations_.empty() && operations_.front().delivered == kLanes) {
    operations_.pop_front();
    ++gone_;
  }
}

}  // namespace praxino::testing
