// Kernels that are wrong on purpose. The emulator must stop each one, under every schedule, and say
// what is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>

#include "kernels/device/copy_async.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/device/warp.cuh"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using namespace device;
using praxino::testing::CudaFault;
using praxino::testing::CudaOnCpu;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kThreads = 64;
constexpr int kBlocks = 2;

struct Arrays {
  const float* in;  // a value for each thread
  float* out;
};

PRAXINO_DEVICE int64_t own() { return block_index() * kThreads + thread_index(); }

using Kernel = void (*)(Arrays);

// The message of the fault that stops the kernel; empty if nothing does.
std::string fault_of(Kernel kernel, uint64_t seed) {
  CudaOnCpu cuda({.seed = seed});
  const std::vector<float> in(kThreads * kBlocks, 1.0F);
  const Arrays arrays{cuda.upload(in, "in"), cuda.allocate<float>(in.size(), "out")};
  try {
    launch(kernel, {"planted", kBlocks, kThreads, 2 * kThreads * sizeof(float)}, arrays, nullptr);
  } catch (const CudaFault& fault) {
    return fault.what();
  }
  return "";
}

void expect_fault(Kernel kernel, const ::testing::Matcher<std::string>& message) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const std::string fault = fault_of(kernel, seed);
    EXPECT_THAT(fault,
                AllOf(HasSubstr("kernel planted"), HasSubstr("planted_faults_test.cpp:"), message))
        << "seed " << seed;
  }
}

TEST(PlantedFaults, ARemovedBarrier) {
  expect_fault(
      [](Arrays p) {
        float* shared = shared_floats();
        store(shared + thread_index(), load(p.in + own()));
        store(p.out + own(), load(shared + kThreads - 1 - thread_index()));
      },
      ::testing::AnyOf(HasSubstr("without a barrier in between"), HasSubstr("nothing wrote")));
}

// A host's memory that was lent is written where a thread may write, and no byte beside it.
TEST(PlantedFaults, AStrayIntoMemoryOfTheHost) {
  std::vector<float> host(kThreads * kBlocks + 1, 1.0F);
  const std::span lent = std::as_writable_bytes(std::span(host)).first(kThreads * kBlocks * 4);
  CudaOnCpu cuda({.host_memory = [lent](const void* address) {
    const auto* where = static_cast<const std::byte*>(address);
    return where >= &lent.front() && where <= &lent.back() ? lent : std::span<std::byte>();
  }});
  const auto run = [&](Kernel kernel) {
    launch(kernel, {"planted", kBlocks, kThreads}, Arrays{nullptr, host.data()}, nullptr);
  };
  run([](Arrays p) { store(p.out + own(), load(p.out + own()) + 1); });
  EXPECT_EQ(host, [&] {
    std::vector<float> want(host.size(), 2.0F);
    want.back() = 1;
    return want;
  }());
  EXPECT_THROW(run([](Arrays p) { store(p.out + own() + 1, 3.0F); }), CudaFault);
  EXPECT_EQ(host.back(), 1);
}

TEST(PlantedFaults, AMissingSecondBarrierBeforeSharedMemoryIsUsedAgain) {
  expect_fault(
      [](Arrays p) {
        float* shared = shared_floats();
        float sum = 0;
        for (int i = 0; i < 2; ++i) {
          store(shared + thread_index(), load(p.in + own()));
          sync_block();
          sum += load(shared + (thread_index() + 1) % kThreads);
        }
        store(p.out + own(), sum);
      },
      HasSubstr("without a barrier in between: a race"));
}

TEST(PlantedFaults, ABarrierOfTheWarpWhereTheBlockIsMeant) {
  expect_fault(
      [](Arrays p) {
        float* shared = shared_floats();
        store(shared + thread_index(), load(p.in + own()));
        sync_warp();
        store(p.out + own(), load(shared + (thread_index() + kWarp) % kThreads));
      },
      ::testing::AnyOf(HasSubstr("without a barrier in between"), HasSubstr("nothing wrote")));
}

TEST(PlantedFaults, AShuffleInsteadOfABarrier) {
  expect_fault(
      [](Arrays p) {
        float* shared = shared_floats();
        store(shared + thread_index(), load(p.in + own()));
        const float value = shuffle_xor(load(p.in + own()), 1);
        store(p.out + own(), value + load(shared + (thread_index() ^ 1)));
      },
      HasSubstr("without a barrier in between: a race"));
}

TEST(PlantedFaults, ABarrierThatHalfOfTheBlockDoesNotReach) {
  expect_fault(
      [](Arrays p) {
        if (thread_index() < kWarp) sync_block();
        store(p.out + own(), load(p.in + own()));
      },
      AllOf(HasSubstr("all threads wait"),
            HasSubstr("warp 0: 32 lanes (0xffffffff) sync_block at planted_faults_test.cpp"),
            HasSubstr("warp 1: 32 lanes (0xffffffff) gone")));
}

TEST(PlantedFaults, TwoBarriersInTwoBranches) {
  expect_fault(
      [](Arrays p) {
        if (thread_index() % 2 == 0) {
          sync_block();
        } else {
          sync_block();
        }
        store(p.out + own(), load(p.in + own()));
      },
      HasSubstr("waits for the block while thread"));
}

TEST(PlantedFaults, ASwappedIndex) {
  expect_fault(
      [](Arrays p) {
        const int row = thread_index() / 4, column = thread_index() % 4;
        store(p.out + block_index() * kThreads + column * 4 + row, load(p.in + own()));
      },
      HasSubstr("without a barrier in between: a race"));
}

TEST(PlantedFaults, AnIndexPastTheEnd) {
  expect_fault([](Arrays p) { store(p.out + own() + 1, load(p.in + own())); },
               HasSubstr("writes 4 bytes at byte 512 of out, which has 512"));
}

TEST(PlantedFaults, AnIndexBeforeTheBeginning) {
  expect_fault([](Arrays p) { store(p.out + own(), load(p.in + own() - 1)); },
               HasSubstr("reads 4 bytes at"));
}

TEST(PlantedFaults, AVectorThatIsNotAligned) {
  expect_fault(
      [](Arrays p) {
        if (thread_index() == 0) store(p.out, load_vector<4>(p.in + 1).v[0]);
      },
      HasSubstr("reads 16 bytes at byte 4 of in, an address that is not a multiple of 16"));
}

TEST(PlantedFaults, UninitialisedSharedMemory) {
  expect_fault([](Arrays p) { store(p.out + own(), load(shared_floats() + thread_index())); },
               AllOf(HasSubstr("of shared memory"), HasSubstr("which nothing wrote")));
}

TEST(PlantedFaults, AnOutputThatIsReadBeforeItIsWritten) {
  expect_fault([](Arrays p) { store(p.out + own(), load(p.out + own()) + 1); },
               AllOf(HasSubstr("of out"), HasSubstr("which nothing wrote")));
}

TEST(PlantedFaults, AWriteToAnInput) {
  expect_fault([](Arrays p) { store(const_cast<float*>(p.in) + own(), 0); },
               HasSubstr("writes to in, an input"));
}

TEST(PlantedFaults, TwoThreadsThatWriteTheSameElement) {
  expect_fault([](Arrays p) { store(p.out + own() / 2, load(p.in + own())); },
               AllOf(HasSubstr("writes index"), HasSubstr("a race")));
}

TEST(PlantedFaults, TwoBlocksThatWriteTheSameElement) {
  expect_fault([](Arrays p) { store(p.out + thread_index(), load(p.in + own())); },
               AllOf(HasSubstr("writes index"), HasSubstr("a race")));
}

TEST(PlantedFaults, ADivergentShuffle) {
  expect_fault(
      [](Arrays p) {
        float value = load(p.in + own());
        if (lane_index() < 16) {
          value = shuffle_xor(value, 1);
        } else {
          value = shuffle_xor(value, 1);
        }
        store(p.out + own(), value);
      },
      HasSubstr("calls shuffle_xor of 1 at planted_faults_test.cpp"));
}

TEST(PlantedFaults, AShuffleThatSomeLanesSkip) {
  expect_fault(
      [](Arrays p) {
        if (lane_index() >= 16) return;
        store(p.out + own(), shuffle_xor(load(p.in + own()), 1));
      },
      ::testing::AnyOf(HasSubstr("which has left the kernel"), HasSubstr("all threads wait")));
}

TEST(PlantedFaults, AMaskInWhichTheLaneIsNot) {
  expect_fault(
      [](Arrays p) { store(p.out + own(), shuffle_xor(load(p.in + own()), 1, 0x7fffffffU)); },
      ::testing::AnyOf(HasSubstr("with mask 0x7fffffff, in which it is not"),
                       HasSubstr("which is not in mask 0x7fffffff")));
}

TEST(PlantedFaults, MasksThatDoNotAgree) {
  expect_fault(
      [](Arrays p) {
        const uint32_t mask = lane_index() < 16 ? 0x0000ffffU : kFullWarp;
        store(p.out + own(), shuffle_xor(load(p.in + own()), 1, mask));
      },
      AllOf(HasSubstr("with mask 0x"), HasSubstr("calls shuffle_xor with 0x")));
}

TEST(PlantedFaults, AShuffleFromALaneOutsideTheMask) {
  expect_fault(
      [](Arrays p) {
        if (lane_index() >= 16) return;
        store(p.out + own(), shuffle(load(p.in + own()), 20, 0x0000ffffU));
      },
      HasSubstr("for lane 20, which is not in mask 0x0000ffff"));
}

TEST(PlantedFaults, AnAsynchronousCopyThatIsNotWaitedFor) {
  expect_fault(
      [](Arrays p) {
        if (thread_index() >= kThreads / 4) return;
        float* shared = shared_floats() + 4 * thread_index();
        copy_16_async(shared, p.in + block_index() * kThreads + 4 * thread_index());
        commit_copies();
        store(p.out + own(), load(shared));
      },
      HasSubstr("before the wait for the copy"));
}

TEST(PlantedFaults, AWaitForAllButTheGroupThatIsNeeded) {
  expect_fault(
      [](Arrays p) {
        if (thread_index() >= kThreads / 4) return;
        float* shared = shared_floats() + 4 * thread_index();
        copy_16_async(shared, p.in + block_index() * kThreads + 4 * thread_index());
        commit_copies();
        wait_copies<1>();
        store(p.out + own(), load(shared));
      },
      HasSubstr("before the wait for the copy"));
}

TEST(PlantedFaults, ACopyThatIsNotCommitted) {
  expect_fault(
      [](Arrays p) {
        if (thread_index() >= kThreads / 4) return;
        float* shared = shared_floats() + 4 * thread_index();
        copy_16_async(shared, p.in + block_index() * kThreads + 4 * thread_index());
        wait_copies<0>();
        store(p.out + own(), load(shared));
      },
      HasSubstr("before the wait for the copy"));
}

TEST(PlantedFaults, ANeighboursCopyWithoutABarrierBehindTheWait) {
  expect_fault(
      [](Arrays p) {
        const int vector = thread_index() % 16;
        float* shared = shared_floats();
        if (thread_index() < 16) {
          copy_16_async(shared + 4 * vector, p.in + block_index() * kThreads + 4 * vector);
          commit_copies();
        }
        wait_copies<0>();
        store(p.out + own(), load(shared + kThreads - 1 - thread_index()));
      },
      ::testing::AnyOf(HasSubstr("before the wait for the copy"), HasSubstr("nothing wrote"),
                       HasSubstr("without a barrier in between")));
}

TEST(PlantedFaults, AnAsynchronousCopyOfZerosThatIsNotWaitedFor) {
  expect_fault(
      [](Arrays p) {
        float* shared = shared_floats() + thread_index() % 16 * 4;
        if (thread_index() < 16) copy_16_async_or_zero(shared, nullptr, false);
        commit_copies();
        if (thread_index() < 16) store(p.out + own(), load(shared));
      },
      HasSubstr("before the wait for the copy"));
}

// The first 512 bytes of shared memory, written; and where a lane points for an 8 x 8 matrix there.
PRAXINO_DEVICE float* filled_shared(Arrays p) {
  float* shared = shared_floats();
  store(shared + thread_index(), load(p.in + own()));
  store(shared + kThreads + thread_index(), load(p.in + own()));
  sync_block();
  return shared + 4 * lane_index();
}

TEST(PlantedFaults, AMatrixRowThatIsNotAligned) {
  expect_fault(
      [](Arrays p) {
        const float* row = filled_shared(p) + (lane_index() == 5 ? 1 : 0);
        store(p.out + own(), float_of(load_matrices<4>(row).word[0]));
      },
      HasSubstr("an address that is not a multiple of 16"));
}

TEST(PlantedFaults, AMatrixRowPastTheEnd) {
  expect_fault(
      [](Arrays p) {
        store(p.out + own(), float_of(load_matrices<4>(filled_shared(p) + 4).word[3]));
      },
      HasSubstr("of shared memory, which has 512"));
}

TEST(PlantedFaults, MatricesThatOtherLanesWroteWithoutABarrier) {
  expect_fault(
      [](Arrays p) {
        float* row = shared_floats() + warp_index() * kWarp + lane_index() % 8 * 4;
        store(shared_floats() + thread_index(), load(p.in + own()));
        store(p.out + own(), float_of(load_matrices<1, true>(row).word[0]));
      },
      ::testing::AnyOf(HasSubstr("without a barrier in between"), HasSubstr("nothing wrote")));
}

TEST(PlantedFaults, MatricesThatNothingWrote) {
  expect_fault(
      [](Arrays p) {
        const Pairs<2> pairs = load_matrices<2, true>(shared_floats() + 4 * lane_index());
        store(p.out + own(), float_of(pairs.word[1]));
      },
      HasSubstr("which nothing wrote"));
}

TEST(PlantedFaults, MatricesUnderACopyThatIsNotWaitedFor) {
  expect_fault(
      [](Arrays p) {
        const float* row = filled_shared(p);
        if (thread_index() == 3) copy_16_async(shared_floats(), p.in);
        commit_copies();
        sync_block();
        store(p.out + own(), float_of(load_matrices<4>(row).word[0]));
      },
      HasSubstr("before the wait for the copy"));
}

TEST(PlantedFaults, MatricesThatAreOverwrittenWhileOtherLanesMayRead) {
  expect_fault(
      [](Arrays p) {
        float* row = filled_shared(p);
        const Pairs<4> pairs = load_matrices<4>(row);
        if (warp_index() == 0) store(row, float_of(pairs.word[0]));
        store(p.out + own(), 0);
      },
      HasSubstr("without a barrier in between: a race"));
}

TEST(PlantedFaults, LanesThatLoadDifferentNumbersOfMatrices) {
  expect_fault(
      [](Arrays p) {
        const float* row = filled_shared(p);
        uint32_t word = 0;
        if (lane_index() < 16) {
          word = load_matrices<4>(row).word[0];
        } else {
          word = load_matrices<2>(row).word[0];
        }
        store(p.out + own(), float_of(word));
      },
      HasSubstr("calls load_matrices of"));
}

// A product of ones.
PRAXINO_DEVICE float product(Site site = PRAXINO_HERE) {
  FragmentC sum = {};
  multiply_add(sum, {{1, 1, 1, 1}}, {{1, 1}}, site);
  return sum.v[0];
}

TEST(PlantedFaults, AProductThatHalfOfTheWarpSkips) {
  expect_fault(
      [](Arrays p) {
        float value = load(p.in + own());
        if (lane_index() < 16) value = product();
        store(p.out + own(), value);
      },
      ::testing::AnyOf(HasSubstr("which has left the kernel"), HasSubstr("all threads wait")));
}

TEST(PlantedFaults, AProductInTwoBranches) {
  expect_fault(
      [](Arrays p) {
        float value = 0;
        if (lane_index() < 16) {
          value = product();
        } else {
          value = product();
        }
        store(p.out + own(), value);
      },
      HasSubstr("calls multiply_add of 0 at planted_faults_test.cpp"));
}

TEST(PlantedFaults, AProductInAWarpThatIsNotFull) {
  CudaOnCpu cuda;
  const Kernel kernel = [](Arrays) { product(); };
  try {
    launch(kernel, {"planted", 1, 16}, Arrays{}, nullptr);
    ADD_FAILURE() << "no fault";
  } catch (const CudaFault& fault) {
    EXPECT_THAT(fault.what(), HasSubstr("multiply_add with mask 0xffffffff in a warp of 16"));
  }
}

TEST(PlantedFaults, ALaunchThatNoDeviceTakes) {
  CudaOnCpu cuda;
  const Kernel nothing = [](Arrays) {};
  EXPECT_THROW(launch(nothing, {"planted", 1, 1025}, Arrays{}, nullptr), CudaFault);
  EXPECT_THROW(launch(nothing, {"planted", 0, 32}, Arrays{}, nullptr), CudaFault);
  EXPECT_EQ(launch(nothing, {"planted", 1, 32, 227 * 1024 + 1}, Arrays{}, nullptr).code,
            kRefused.code);
}

TEST(PlantedFaults, AFaultLeavesTheEmulatorUsable) {
  CudaOnCpu cuda;
  const Arrays arrays{cuda.upload(std::vector<float>(kThreads, 2.0F), "in"),
                      cuda.allocate<float>(kThreads, "out")};
  const Kernel wrong = [](Arrays p) { store(p.out + own() + 1, load(p.in + own())); };
  const Kernel right = [](Arrays p) { store(p.out + own(), load(p.in + own())); };
  EXPECT_THROW(launch(wrong, {"planted", 1, kThreads}, arrays, nullptr), CudaFault);
  launch(right, {"planted", 1, kThreads}, arrays, nullptr);
  EXPECT_EQ(cuda.download(arrays.out, kThreads), std::vector<float>(kThreads, 2.0F));
}

TEST(PlantedFaults, APointerThatTheKernelFollowsItselfHoldsNothing) {
  CudaOnCpu cuda;
  const float* in = cuda.upload(std::vector<float>(4, 1.0F), "in");
  EXPECT_DEATH({ [[maybe_unused]] volatile float value = *static_cast<const volatile float*>(in); },
               "");
}

}  // namespace
}  // namespace praxino::kernels
