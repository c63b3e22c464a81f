// Kernels that misuse barriers and copies of tiles on purpose. The emulator must stop
// each one, under every schedule, and say what is wrong.
#include "kernels/planted_tiles.h"

namespace praxino::kernels::testing {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

TEST(PlantedCopyFaults, ATileThatIsNotWaitedFor) {
  expect_fault(
      [](Tiles p) {
        make_barriers(1);
        if (thread_index() == 0) {
          arrive_and_expect(barrier(0), kTileBytes);
          load_rows(p, 0, 0, barrier(0));
        }
        sync_block();
        store(p.out + thread_index(), load(reinterpret_cast<float*>(tile(0)) + thread_index()));
      },
      AnyOf(HasSubstr("before the wait for the copy"),
            HasSubstr("which a copy of tiles wrote, without a barrier in between")));
}

TEST(PlantedCopyFaults, AWaitForTheWrongPhase) {
  expect_fault(
      [](Tiles p) {
        make_barriers(1);
        if (thread_index() == 0) {
          arrive_and_expect(barrier(0), kTileBytes);
          load_rows(p, 0, 0, barrier(0));
        }
        wait(barrier(0), 1);
        store(p.out + thread_index(), load(reinterpret_cast<float*>(tile(0)) + thread_index()));
      },
      AnyOf(HasSubstr("before the wait for the copy"), HasSubstr("which nothing wrote"),
            HasSubstr("which a copy of tiles wrote, without a barrier"),
            HasSubstr("all threads wait")));
}

TEST(PlantedCopyFaults, MoreBytesExpectedThanCopied) {
  expect_fault(
      [](Tiles p) {
        make_barriers(1);
        if (thread_index() == 0) {
          arrive_and_expect(barrier(0), 2 * kTileBytes);
          load_rows(p, 0, 0, barrier(0));
        }
        wait(barrier(0), 0);
        store(p.out + thread_index(), 1);
      },
      AllOf(HasSubstr("all threads wait"), HasSubstr("and 8192 bytes")));
}

TEST(PlantedCopyFaults, FewerBytesExpectedThanCopied) {
  expect_fault(
      [](Tiles p) {
        make_barriers(1);
        if (thread_index() == 0) {
          arrive_and_expect(barrier(0), kTileBytes);
          load_rows(p, 0, 0, barrier(0));
          load_rows(p, kRows, 1, barrier(0));
        }
        wait(barrier(0), 0);
        store(p.out + thread_index(), load(reinterpret_cast<float*>(tile(0)) + thread_index()) +
                                          load(reinterpret_cast<float*>(tile(1)) + thread_index()));
        sync_block();
      },
      AnyOf(HasSubstr("before the wait for the copy"), HasSubstr("which nothing wrote"),
            HasSubstr("all threads wait")));
}

TEST(PlantedCopyFaults, AStageThatIsFilledAgainBeforeItWasEmptied) {
  expect_fault(
      [](Tiles p) {
        make_barriers(1);
        if (thread_index() == 0) {
          for (int i = 0; i < 2; ++i) {  // no wait for "empty" before the second
            arrive_and_expect(barrier(i), kTileBytes);
            load_rows(p, i * kRows, 0, barrier(i));
            wait(barrier(i), 0);
          }
        }
        if (thread_index() < kWarp) return;
        float sum = 0;
        for (int i = 0; i < 2; ++i) {
          wait(barrier(i), 0);
          sum += load(reinterpret_cast<float*>(tile(0)) + thread_index());
        }
        store(p.out + thread_index(), sum);
      },
      AnyOf(HasSubstr("without a barrier in between: a race"),
            HasSubstr("before the wait for the copy")));
}

TEST(PlantedCopyFaults, AStageGivenBackBeforeTheProductHasReadIt) {
  expect_fault(
      [](Tiles p) {
        make_barriers(1);
        if (thread_index() >= kWarpgroup) {
          if (thread_index() > kWarpgroup) return;
          arrive_and_expect(barrier(0), kTileBytes);
          load_rows(p, 0, 0, barrier(0));
          wait(barrier(1), 0);
          arrive_and_expect(barrier(2), kTileBytes);
          load_rows(p, kRows, 0, barrier(2));
          wait(barrier(2), 0);
          return;
        }
        wait(barrier(0), 0);
        Accumulator<64> d{};
        fence_products(d);
        multiply(d, operand(0), operand(0));
        commit_products();
        sync_named(1, kWarpgroup);
        if (thread_index() == 0) arrive(barrier(1));
        wait_products<0>(d);
        store(p.out + thread_index(), d.v[0]);
      },
      AnyOf(HasSubstr("without a barrier in between"), HasSubstr("before the wait for the copy")),
      2 * kWarpgroup);
}

TEST(PlantedCopyFaults, ABarrierThatNothingInitialised) {
  expect_fault([](Tiles) { wait(barrier(0), 0); },
               HasSubstr("uses a barrier that nothing initialised"));
}

TEST(PlantedCopyFaults, ABarrierThatIsUsedWithoutABarrierBehindItsInitialisation) {
  expect_fault(
      [](Tiles) {
        if (thread_index() == 0) init_barrier(barrier(0), kWarpgroup);
        arrive(barrier(0));
      },
      AnyOf(HasSubstr("without sync_block() in between"),
            HasSubstr("uses a barrier that nothing initialised")));
}

TEST(PlantedCopyFaults, ABarrierThatCopiesDoNotKnow) {
  expect_fault(
      [](Tiles p) {
        if (thread_index() == 0) {
          init_barrier(barrier(0), 1);
          arrive_and_expect(barrier(0), kTileBytes);
          load_rows(p, 0, 0, barrier(0));
          wait(barrier(0), 0);
        }
      },
      HasSubstr("that no fence_barrier_init() made known"));
}

TEST(PlantedCopyFaults, OneArrivalTooMany) {
  expect_fault(
      [](Tiles) {
        make_barriers(kWarpgroup - 1);
        if (thread_index() == 0) arrive_and_expect(barrier(0), 16);
        arrive(barrier(0));
      },
      HasSubstr("once more in a phase"));
}

TEST(PlantedCopyFaults, OneArrivalTooFew) {
  expect_fault(
      [](Tiles) {
        make_barriers(kWarpgroup);
        if (thread_index() != 5) arrive(barrier(0));
        wait(barrier(0), 0);
      },
      AllOf(HasSubstr("all threads wait"), HasSubstr("phase 0 lacks 1 of 128 arrivals")));
}

TEST(PlantedCopyFaults, ANamedBarrierOfTheWrongNumberOfThreads) {
  expect_fault([](Tiles) { sync_named(1, thread_index() < kWarp ? 128 : 96); },
               HasSubstr("to one of"));
  expect_fault([](Tiles) { sync_named(1, 160); }, HasSubstr("all threads wait"));
  expect_fault([](Tiles) { sync_named(1, 100); }, HasSubstr("which there cannot be"));
  expect_fault([](Tiles) { sync_named(0, kWarpgroup); }, HasSubstr("which there cannot be"));
}

TEST(PlantedCopyFaults, ANamedBarrierTwiceInARound) {
  expect_fault(
      [](Tiles) {
        arrive_named(1, 2 * kWarpgroup);
        arrive_named(1, 2 * kWarpgroup);
      },
      HasSubstr("twice in one round"));
}

TEST(PlantedCopyFaults, ATileThatThreadsWroteWithoutAFence) {
  const Kernel product = [](Tiles p) {
    for (int i = thread_index(); i < kTileBytes / 4; i += kWarpgroup)
      store(reinterpret_cast<float*>(tile(0)) + i, 1);
    sync_block();
    Accumulator<64> d{};
    fence_products(d);
    multiply(d, operand(0), operand(0));
    commit_products();
    wait_products<0>(d);
    store(p.out + thread_index(), d.v[0]);
  };
  expect_fault(product, HasSubstr("without fence_async() in between"));
  const Kernel copy = [](Tiles p) {
    for (int i = thread_index(); i < kTileBytes / 4; i += kWarpgroup)
      store(reinterpret_cast<float*>(tile(0)) + i, 1);
    sync_block();
    if (thread_index() == 0) {
      store_tile<2>(p.map, Corner{{0, 0}}, tile(0));
      commit_stores();
      wait_stores<0>();
    }
  };
  expect_fault(copy, HasSubstr("without fence_async() in between"));
}

TEST(PlantedCopyFaults, AFenceBehindTheBarrierThatItBelongsBefore) {
  expect_fault(
      [](Tiles p) {
        for (int i = thread_index(); i < kTileBytes / 4; i += kWarpgroup)
          store(reinterpret_cast<float*>(tile(0)) + i, 1);
        sync_block();
        fence_async();
        Accumulator<64> d{};
        fence_products(d);
        multiply(d, operand(0), operand(0));
        commit_products();
        wait_products<0>(d);
        store(p.out + thread_index(), d.v[0]);
      },
      HasSubstr("without fence_async() in between"));
}

TEST(PlantedCopyFaults, AStoreThatReadsWhatIsWrittenAgain) {
  expect_fault(
      [](Tiles p) {
        for (int i = thread_index(); i < kTileBytes / 4; i += kWarpgroup)
          store(reinterpret_cast<float*>(tile(0)) + i, 1);
        fence_async();
        sync_block();
        if (thread_index() == 0) {
          store_tile<2>(p.map, Corner{{0, 4 * kRows}}, tile(0));
          store_tile<2>(p.map, Corner{{0, 4 * kRows - 1}}, tile(0));
          commit_stores();
          store(reinterpret_cast<float*>(tile(0)), 2);
          wait_stores<0>();
        }
      },
      AnyOf(HasSubstr("which a copy of tiles read"), HasSubstr("writes to in, an input")));
}

TEST(PlantedCopyFaults, ATileThatIsNotAligned) {
  expect_fault(
      [](Tiles p) {
        make_barriers(1);
        if (thread_index() == 0) {
          arrive_and_expect(barrier(0), kTileBytes);
          load_tile<2>(tile(0) + 128, p.map, Corner{{0, 0}}, barrier(0));
        }
        wait(barrier(0), 0);
      },
      HasSubstr("is not a multiple of 1024"));
}

TEST(PlantedCopyFaults, ATileThatDoesNotFit) {
  expect_fault(
      [](Tiles p) {
        make_barriers(1);
        if (thread_index() == 0) {
          arrive_and_expect(barrier(0), kTileBytes);
          load_tile<2>(tile(1) + 1024, p.map, Corner{{0, 0}}, barrier(0));
        }
        wait(barrier(0), 0);
      },
      HasSubstr("of shared memory, which has"));
}

TEST(PlantedCopyFaults, ATileThatBeginsInTheMiddleOf16Bytes) {
  expect_fault(
      [](Tiles p) {
        make_barriers(1);
        if (thread_index() == 0) {
          arrive_and_expect(barrier(0), kTileBytes);
          load_tile<2>(tile(0), p.map, Corner{{4, 0}}, barrier(0));
        }
        wait(barrier(0), 0);
      },
      HasSubstr("8 bytes from its first: not a multiple of 16"));
}

TEST(PlantedCopyFaults, AStoreThatBeginsBeforeItsTensor) {
  expect_fault(
      [](Tiles p) {
        if (thread_index() == 0) {
          store_tile<2>(p.map, Corner{{0, -1}}, tile(0));
          commit_stores();
          wait_stores<0>();
        }
      },
      HasSubstr("begins 1 before its tensor in dimension 1"));
}

TEST(PlantedCopyFaults, RegistersThatNobodyGaveBack) {
  expect_fault([](Tiles) { take_registers<240>(); },
               AllOf(HasSubstr("all threads wait"), HasSubstr("take_registers")), 3 * kWarpgroup);
  expect_fault([](Tiles) { give_back_registers<240>(); }, HasSubstr("gives back registers"),
               3 * kWarpgroup);
}

// Here a schedule may be lucky: the copy ends before the block does.
TEST(PlantedCopyFaults, ABlockThatEndsBeforeItsCopies) {
  const Kernel kernel = [](Tiles p) {
    make_barriers(1);
    if (thread_index() == 0) {
      arrive_and_expect(barrier(0), kTileBytes);
      load_rows(p, 0, 0, barrier(0));
    }
  };
  int found = 0;
  for (uint64_t seed = 1; seed <= 32; ++seed) {
    const std::string fault = fault_of(kernel, seed, kWarp);
    if (!fault.empty()) {
      EXPECT_THAT(fault, HasSubstr("leaves the kernel before the wait for copies of tiles"));
      ++found;
    }
  }
  EXPECT_GE(found, 8);
}

}  // namespace
}  // namespace praxino::kernels::testing
