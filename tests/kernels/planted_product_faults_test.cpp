// Kernels that misuse products of warpgroups on purpose. The emulator must stop
// each one, under every schedule, and say what is wrong.
#include "kernels/planted_tiles.h"

namespace praxino::kernels::testing {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

// The kernels below are this one with one thing wrong.
TEST(PlantedProductFaults, NoneInAKernelThatFollowsTheRules) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        fence_products(d);
        for (int step = 0; step < 4; ++step) multiply(d, operand(0, step), operand(1, step));
        commit_products();
        wait_products<0>(d);
        store(p.out + thread_index(), d.v[0]);
      },
      "");
}

TEST(PlantedProductFaults, ADescriptorWithAWrongStride) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        MatrixTile wrong = operand(1);
        wrong.stride = 2048;
        fence_products(d);
        multiply(d, operand(0), wrong);
        commit_products();
        wait_products<0>(d);
        store(p.out + thread_index(), d.v[0]);
      },
      AnyOf(HasSubstr("which has"), HasSubstr("which nothing wrote"),
            HasSubstr("without fence_async()")));
}

TEST(PlantedProductFaults, ADescriptorInTheMiddleOfASwizzle) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        MatrixTile wrong = operand(1);
        wrong.start += 128;
        fence_products(d);
        multiply(d, operand(0), wrong);
        commit_products();
        wait_products<0>(d);
        store(p.out + thread_index(), d.v[0]);
      },
      HasSubstr("not in the first row of a swizzle"));
}

TEST(PlantedProductFaults, AProductWithoutAFenceOfItsRegisters) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        multiply(d, operand(0), operand(1));
        commit_products();
        wait_products<0>(d);
        store(p.out + thread_index(), d.v[0]);
      },
      HasSubstr("without fence_products() behind their last change"));
}

TEST(PlantedProductFaults, RegistersThatChangeBehindTheFence) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        FragmentA a{};
        fence_products(d, a);
        a.word[2] = 0x3f803f80U;
        multiply_tiles<Major::kDepth>(d, a, operand(1), true);
        commit_products();
        wait_products<0>(d, a);
        store(p.out + thread_index(), d.v[0]);
      },
      HasSubstr("without fence_products() behind their last change"));
}

TEST(PlantedProductFaults, AnAccumulatorThatIsReadBeforeTheWait) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        fence_products(d);
        multiply(d, operand(0), operand(1));
        commit_products();
        store(p.out + thread_index(), d.v[0]);
        wait_products<0>(d);
      },
      HasSubstr("stores an accumulator before the wait"));
}

TEST(PlantedProductFaults, AnAccumulatorThatIsChangedBeforeTheWait) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        fence_products(d);
        multiply(d, operand(0), operand(1));
        commit_products();
        d.v[7] = 1;
        wait_products<0>(d);
        store(p.out + thread_index(), d.v[0]);
      },
      HasSubstr("touches an accumulator between a product and the wait"));
}

TEST(PlantedProductFaults, RegistersOfAThatChangeBeforeTheWait) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        FragmentA a{};
        fence_products(d, a);
        multiply_tiles<Major::kDepth>(d, a, operand(1), true);
        commit_products();
        a.word[1] = 7;
        wait_products<0>(d, a);
        store(p.out + thread_index(), d.v[0]);
      },
      HasSubstr("changes the registers of A"));
}

TEST(PlantedProductFaults, AWaitForAllButTheGroupThatIsNeeded) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        fence_products(d);
        multiply(d, operand(0), operand(1));
        commit_products();
        wait_products<1>(d);
        store(p.out + thread_index(), d.v[0]);
        wait_products<0>(d);
      },
      HasSubstr("stores an accumulator before the wait"));
}

TEST(PlantedProductFaults, AProductThatIsNotCommitted) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        fence_products(d);
        multiply(d, operand(0), operand(1));
        wait_products<0>(d);
        store(p.out + thread_index(), d.v[0]);
      },
      HasSubstr("stores an accumulator before the wait"));
}

TEST(PlantedProductFaults, AWaitThatDoesNotNameTheAccumulator) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{}, other{};
        fence_products(d);
        multiply(d, operand(0), operand(1));
        commit_products();
        wait_products<0>(other);
        store(p.out + thread_index(), d.v[0]);
      },
      HasSubstr("without naming its accumulator"));
}

TEST(PlantedProductFaults, AProductThatAWarpSkips) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        if (warp_index() == 2) return;
        Accumulator<64> d{};
        fence_products(d);
        multiply(d, operand(0), operand(1));
        commit_products();
        wait_products<0>(d);
        store(p.out + thread_index(), d.v[0]);
      },
      AllOf(HasSubstr("all threads wait"), HasSubstr("wait_products")));
}

TEST(PlantedProductFaults, ProductsThatDifferBetweenWarps) {
  expect_fault(
      [](Tiles p) {
        load_both(p);
        Accumulator<64> d{};
        fence_products(d);
        multiply(d, operand(0), operand(warp_index() == 1 ? 0 : 1));
        commit_products();
        wait_products<0>(d);
        store(p.out + thread_index(), d.v[0]);
      },
      HasSubstr("begins another product than thread"));
}

}  // namespace
}  // namespace praxino::kernels::testing
