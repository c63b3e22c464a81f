// The device layer's instructions on a real GPU, held against the same values as their plain
// meaning on the CPU (tests/kernels). Without a GPU that has them, all of this skips.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstring>
#include <stdexcept>

#include "kernels/device_info.h"
#include "kernels/expect_arithmetic.h"
#include "kernels/expect_portable.h"
#include "kernels/expect_probes.h"
#include "kernels/tiers.h"
#include "ops/kernel_registry.h"

namespace praxino::kernels {
namespace {

// The first device's memory.
class Gpu {
 public:
  template <class T>
  const T* upload(const std::vector<T>& values) {
    T* to = allocate<T>(values.size());
    fill(to, values);
    return to;
  }
  template <class T>
  T* allocate(size_t count) {
    memory_.push_back(bytes(count * sizeof(T), at::kCUDA).fill_(0xff));
    return static_cast<T*>(memory_.back().mutable_data_ptr());
  }
  template <class T>
  void fill(T* to, const std::vector<T>& values) {
    const at::Tensor host = bytes(values.size() * sizeof(T), at::kCPU);
    std::memcpy(host.mutable_data_ptr(), values.data(), values.size() * sizeof(T));
    at_address(to).narrow(0, 0, host.numel()).copy_(host);
  }
  template <class T>
  std::vector<T> download(const T* from, size_t count) const {
    const auto size = static_cast<int64_t>(count * sizeof(T));
    const at::Tensor host = at_address(from).narrow(0, 0, size).cpu();
    std::vector<T> values(count);
    std::memcpy(values.data(), host.const_data_ptr(), count * sizeof(T));
    return values;
  }

 private:
  static at::Tensor bytes(size_t count, at::DeviceType device) {
    return at::empty({static_cast<int64_t>(count)}, at::TensorOptions(at::kByte).device(device));
  }
  at::Tensor at_address(const void* address) const {
    for (const at::Tensor& tensor : memory_) {
      if (tensor.const_data_ptr() == address) return tensor;
    }
    throw std::logic_error("no memory of this object");
  }
  std::vector<at::Tensor> memory_;
};

template <Tier kTier>
class IntrinsicsOf : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    const Status status = device_count(count);
    if (!status.ok()) GTEST_SKIP() << "no usable GPU: " << status_text(status);
    const Tier tier = ops::cuda::tier_of(at::Device(at::kCUDA, 0));
    if (!runs_on(kTier, tier)) GTEST_SKIP() << "a GPU of tier " << to_string(tier);
  }
  Gpu gpu_;
};

using Intrinsics = IntrinsicsOf<Tier::kHopper>;
TEST_F(Intrinsics, WarpgroupProductsInEveryForm) { testing::expect_all_products(gpu_); }
TEST_F(Intrinsics, CopiesOfTilesAcrossEveryEdge) { testing::expect_all_tiles(gpu_); }
TEST_F(Intrinsics, TheSwizzleOfCopies) { testing::expect_swizzle(gpu_); }
TEST_F(Intrinsics, BarriersThatCountArrivalsAndBytes) { testing::expect_ring(gpu_); }
TEST_F(Intrinsics, NamedBarriers) { testing::expect_turns(gpu_); }

using PortableIntrinsics = IntrinsicsOf<Tier::kPortable>;
TEST_F(PortableIntrinsics, PlacesOfThreads) { testing::expect_standings(gpu_); }
TEST_F(PortableIntrinsics, Shuffles) { testing::expect_exchanges(gpu_); }
TEST_F(PortableIntrinsics, BarriersOfBlockAndWarp) { testing::expect_meetings(gpu_); }
TEST_F(PortableIntrinsics, MatricesFromSharedMemory) { testing::expect_matrices(gpu_); }
TEST_F(PortableIntrinsics, TransposesInRegisters) { testing::expect_transpose(gpu_); }
TEST_F(PortableIntrinsics, ProductsOfFragments) { testing::expect_fragments(gpu_); }
TEST_F(PortableIntrinsics, ProductsOfSpecialValues) { testing::expect_special_fragments(gpu_); }
TEST_F(PortableIntrinsics, AsynchronousCopies) { testing::expect_async_copies(gpu_); }
TEST_F(PortableIntrinsics, LoadsAndStores) { testing::expect_moves(gpu_); }
TEST_F(PortableIntrinsics, RoundingToBf16) { testing::expect_bf16(gpu_); }
TEST_F(PortableIntrinsics, SingleRoundings) { testing::expect_roundings(gpu_); }
TEST_F(PortableIntrinsics, NearestWholeNumbers) { testing::expect_whole_numbers(gpu_); }
TEST_F(PortableIntrinsics, Maxima) { testing::expect_maxima(gpu_); }
TEST_F(PortableIntrinsics, ExactRoots) { testing::expect_square_roots(gpu_); }
TEST_F(PortableIntrinsics, FastArithmetic) { testing::expect_fast_arithmetic(gpu_); }

}  // namespace
}  // namespace praxino::kernels
