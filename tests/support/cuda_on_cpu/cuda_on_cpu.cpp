// The object that tests hold, and the functions that the device layer calls.
#include "support/cuda_on_cpu/cuda_on_cpu.h"

#include <stdexcept>
#include <utility>

#include "support/cuda_on_cpu/machine.h"

namespace praxino::testing {
namespace {

Machine* current_machine = nullptr;

}  // namespace

Machine& current() {
  if (current_machine == nullptr) throw std::logic_error("a kernel was launched without CudaOnCpu");
  return *current_machine;
}

CudaOnCpu::CudaOnCpu(const Options& options) : machine_(std::make_unique<Machine>(options)) {
  if (current_machine != nullptr) throw std::logic_error("there is a CudaOnCpu already");
  current_machine = machine_.get();
}

CudaOnCpu::~CudaOnCpu() { current_machine = nullptr; }

int CudaOnCpu::launches() const { return machine_->launches(); }

const void* CudaOnCpu::upload_bytes(std::span<const std::byte> bytes, const std::string& name,
                                    size_t granule, size_t skew) {
  Memory& memory = machine_->memory();
  const void* address = memory.allocate(
      bytes.size(), {.name = name, .granule = granule, .skew = skew, .read_only = true});
  memory.fill(address, bytes.data(), bytes.size());
  return address;
}

void* CudaOnCpu::state_bytes(std::span<const std::byte> bytes, const std::string& name,
                             size_t granule, size_t skew) {
  void* address = allocate_bytes(bytes.size(), name, granule, skew);
  machine_->memory().fill(address, bytes.data(), bytes.size());
  return address;
}

void* CudaOnCpu::allocate_bytes(size_t bytes, const std::string& name, size_t granule,
                                size_t skew) {
  return machine_->memory().allocate(bytes, {.name = name, .granule = granule, .skew = skew});
}

void CudaOnCpu::overwrite_bytes(void* address, std::span<const std::byte> bytes) {
  machine_->memory().fill(address, bytes.data(), bytes.size());
}

void CudaOnCpu::fetch_bytes(const void* address, void* to, size_t bytes) const {
  machine_->memory().fetch(address, to, bytes);
}

}  // namespace praxino::testing

namespace praxino::kernels::device::cpu {

using praxino::testing::current;

namespace {
constexpr uint32_t kFullWarp = 0xffffffffU;
}

void run(const Launch& launch, const std::function<void()>& body) { current().run(launch, body); }

int multiprocessors() { return current().multiprocessors(); }

size_t shared_limit() { return current().shared_limit(); }

Place place() { return current().place(); }

void read(const void* from, void* to, size_t bytes, const std::source_location& site) {
  current().read(from, to, bytes, site);
}

void write(void* to, const void* from, size_t bytes, const std::source_location& site) {
  current().write(to, from, bytes, site);
}

void* shared_memory() { return current().shared_memory(); }

void sync_block(const std::source_location& site) {
  current().meet({.of_block = true, .site = site});
}

uint32_t exchange(Collective kind, uint32_t mask, uint32_t value, int argument,
                  const std::source_location& site) {
  return current().meet(
      {.kind = kind, .mask = mask, .value = value, .argument = argument, .site = site});
}

void together(Collective kind, int argument, void* own, void (*work)(void* const* lanes),
              const std::source_location& site) {
  current().meet({.kind = kind,
                  .mask = kFullWarp,
                  .argument = argument,
                  .own = own,
                  .work = work,
                  .site = site});
}

void require_aligned(const void* address, size_t bytes, const std::source_location& site) {
  current().require_aligned(address, bytes, site);
}

void copy_async(void* shared, const void* global, size_t bytes, const std::source_location& site) {
  current().copy_async(shared, global, bytes, site);
}

void commit_async() { current().commit_async(); }

void wait_async(int groups, const std::source_location& site) {
  current().wait_async(groups, site);
}

}  // namespace praxino::kernels::device::cpu
