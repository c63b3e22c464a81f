// What the device layer calls for the instructions of Hopper.
#include "kernels/device/on_cpu_hopper.h"
#include "support/cuda_on_cpu/hopper.h"
#include "support/cuda_on_cpu/machine.h"

namespace praxino::kernels::device::cpu {
namespace {

using praxino::testing::current;
using praxino::testing::Machine;

// `step` changes what other threads wait for.
template <class Step>
void change(const std::source_location& site, Step step) {
  Machine& machine = current();
  machine.maybe_interrupt();
  machine.guarded(site, [&] { step(machine.block().hopper(), machine.thread()); });
  machine.wake(machine.block());
}

}  // namespace

void sync_named(int number, int threads, const std::source_location& site) {
  int64_t round = 0;
  change(site, [&](auto& hopper, int thread) {
    round = hopper.barriers().arrive_named(number, threads, thread);
  });
  auto& barriers = current().block().hopper().barriers();
  const int thread = current().thread();
  current().wait_until("sync_named", site, [&barriers, number, round, thread] {
    return barriers.passes_named(number, round, thread);
  });
}

void arrive_named(int number, int threads, const std::source_location& site) {
  change(site, [&](auto& hopper, int thread) {
    hopper.barriers().arrive_named(number, threads, thread);
  });
}

void init_barrier(void* barrier, int arrivals, const std::source_location& site) {
  const uint64_t fresh = 0;
  write(barrier, &fresh, sizeof(fresh), site);
  change(site,
         [&](auto& hopper, int thread) { hopper.barriers().init(barrier, arrivals, thread); });
}

void fence_barrier_init(const std::source_location& site) {
  change(site, [&](auto& hopper, int thread) { hopper.barriers().fence_init(thread); });
}

void arrive_barrier(void* barrier, uint32_t expected_bytes, const std::source_location& site) {
  change(site, [&](auto& hopper, int thread) {
    hopper.barriers().arrive(barrier, expected_bytes, thread);
  });
}

void wait_barrier(void* barrier, uint32_t parity, const std::source_location& site) {
  auto& barriers = current().block().hopper().barriers();
  const int thread = current().thread();
  current().wait_until("wait", site, [&barriers, barrier, parity, thread] {
    return barriers.passes(barrier, parity, thread);
  });
}

void fence_async(const std::source_location&) {
  current().block().clocks().fence(current().thread());
}

void load_tile(void* shared, const TensorTiles& tensor, const int* corner, void* barrier,
               const std::source_location& site) {
  change(site, [&](auto& hopper, int) {
    hopper.copies().load(current().memory(), current().actor(), shared, tensor, corner, barrier);
  });
}

void store_tile(const TensorTiles& tensor, const int* corner, const void* shared,
                const std::source_location& site) {
  change(site, [&](auto& hopper, int) {
    hopper.copies().store(current().memory(), current().actor(), tensor, corner, shared);
  });
}

void commit_stores() { current().block().hopper().copies().commit(current().thread()); }

void wait_stores(int groups, bool only_read, const std::source_location& site) {
  change(site, [&](auto& hopper, int) {
    hopper.copies().wait(current().memory(), current().actor(), groups, only_read);
  });
}

uint32_t shared_offset(const void* pointer, const std::source_location&) {
  return static_cast<uint32_t>(static_cast<const std::byte*>(pointer) -
                               static_cast<const std::byte*>(current().shared_memory()));
}

void multiply_tiles(const Product& product, const std::source_location& site) {
  change(site, [&](auto& hopper, int thread) {
    hopper.products(thread).begin(current().memory(), current().actor(), thread % kWarpgroup,
                                  product, site, current().draw());
  });
}

void fence_products(const Registers* registers, int count, const std::source_location& site) {
  change(site, [&](auto& hopper, int thread) {
    hopper.products(thread).fence(thread % kWarpgroup, registers, count);
  });
}

void commit_products(const std::source_location&) {
  Machine& machine = current();
  machine.block().hopper().products(machine.thread()).commit(machine.thread() % kWarpgroup);
}

void wait_products(int groups, const Registers* registers, int count,
                   const std::source_location& site) {
  Machine& machine = current();
  const int lane = machine.thread() % kWarpgroup;
  auto& products = machine.block().hopper().products(machine.thread());
  const int64_t awaited = products.awaited(lane, groups);
  machine.wait_until("wait_products", site,
                     [&products, awaited] { return products.begun(awaited); });
  machine.guarded(site, [&] {
    products.finish(machine.memory(), machine.actor(), lane, awaited, registers, count);
  });
}

void set_registers(int count, bool more, const std::source_location& site) {
  Machine& machine = current();
  auto& hopper = machine.block().hopper();
  const int thread = machine.thread();
  machine.wait_until(
      more ? "take_registers" : "give_back_registers", site,
      [&hopper, thread, count, more] { return hopper.set_registers(thread, count, more); });
  machine.wake(machine.block());
}

}  // namespace praxino::kernels::device::cpu
