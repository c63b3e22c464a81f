// Tensor core products, and the loads that feed them: the layouts of the PTX manual.
#include "kernels/device/mma.cuh"

#include <gtest/gtest.h>

#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "numbers.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using namespace device;
using praxino::testing::CudaOnCpu;
using namespace testing;

// "The row and column of a matrix fragment", as the manual words it.
TEST(Fragments, LieAsTheManualSays) {
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane >> 2, in_group = lane % 4;
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(fragment_a(lane, i).row, i < 2 || (i >= 4 && i < 6) ? group : group + 8);
      EXPECT_EQ(fragment_a(lane, i).column, in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0));
    }
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(fragment_b(lane, i).row, in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0));
      EXPECT_EQ(fragment_b(lane, i).column, group);
      EXPECT_EQ(fragment_c(lane, i).row, i < 2 ? group : group + 8);
      EXPECT_EQ(fragment_c(lane, i).column, in_group * 2 + (i & 1));
    }
  }
}

// Every element of rows x columns is held exactly once.
void expect_bijection(FragmentSpot (*spot)(int, int), int elements, int rows, int columns) {
  std::vector<int> held(static_cast<size_t>(rows * columns));
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < elements; ++i) {
      const FragmentSpot at = spot(lane, i);
      ASSERT_TRUE(at.row >= 0 && at.row < rows && at.column >= 0 && at.column < columns);
      ++held[static_cast<size_t>(at.row * columns + at.column)];
    }
  }
  EXPECT_EQ(held, std::vector<int>(held.size(), 1));
}

TEST(Fragments, HoldEveryElementOnce) {
  expect_bijection(fragment_a, 8, 16, 16);
  expect_bijection(fragment_b, 4, 16, 8);
  expect_bijection(fragment_c, 4, 16, 8);
  expect_bijection(fragment_8x8, 2, 8, 8);
}

TEST(Fragments, RowsOfMatricesCoverTheirTile) {
  for (const auto spot : {matrix_row_of_a, matrix_row_of_b}) {
    std::vector<int> seen(32);
    for (int lane = 0; lane < 32; ++lane)
      ++seen[static_cast<size_t>(spot(lane).row * 2 + spot(lane).column / 8)];
    EXPECT_EQ(seen, std::vector<int>(32, 1));
  }
}

TEST(Fragments, TwoResultsLieAsOneOperand) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) {
      const int tile = i / 4, word = i / 2, half = i % 2;
      const FragmentSpot a = fragment_a(lane, i), c = fragment_c(lane, 2 * (word % 2) + half);
      EXPECT_EQ(a.row, c.row);
      EXPECT_EQ(a.column, c.column + 8 * tile);
    }
  }
}

struct Tiles {
  const Bf16* a;  // 16 x 16
  const Bf16* b;
  float* c;
};

// c = a b, from a and b as they are or stored as their transposes.
template <bool kTransposedA, bool kTransposedB>
PRAXINO_KERNEL(kWarp)
product_kernel(Tiles p) {
  Bf16* a = reinterpret_cast<Bf16*>(shared_floats());
  Bf16* b = a + 256;
  const int lane = lane_index();
  store_vector(a + 8 * lane, load_vector<8>(p.a + 8 * lane));
  store_vector(b + 8 * lane, load_vector<8>(p.b + 8 * lane));
  sync_warp();
  const FragmentSpot by_a = matrix_row_of_a(lane), by_b = matrix_row_of_b(lane);
  const FragmentSpot at_a = kTransposedA ? by_b : by_a, at_b = kTransposedB ? by_b : by_a;
  const FragmentA left = load_matrices<4, kTransposedA>(a + at_a.row * 16 + at_a.column);
  const Pairs<4> right = load_matrices<4, !kTransposedB>(b + at_b.row * 16 + at_b.column);
  for (int tile = 0; tile < 2; ++tile) {
    FragmentC sum = {};
    multiply_add(sum, left, {{right.word[2 * tile], right.word[2 * tile + 1]}});
    for (int i = 0; i < 4; ++i) {
      const FragmentSpot at = fragment_c(lane, i);
      store(p.c + at.row * 16 + 8 * tile + at.column, sum.v[i]);
    }
  }
}

double at(const std::vector<Bf16>& matrix, bool transposed, int row, int column) {
  return to_float(matrix[static_cast<size_t>(transposed ? column * 16 + row : row * 16 + column)]);
}

void expect_product(void (*kernel)(Tiles), bool transposed_a, bool transposed_b) {
  const auto a = normal<Bf16>(256, 1), b = normal<Bf16>(256, 2);
  Doubles want;
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 16; ++column) {
      double sum = 0;
      for (int k = 0; k < 16; ++k)
        sum += at(a, transposed_a, row, k) * at(b, transposed_b, k, column);
      want.push_back(sum);
    }
  }
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    CudaOnCpu cuda({.seed = seed});
    const Tiles tiles{cuda.upload(a, "a"), cuda.upload(b, "b"), cuda.allocate<float>(256, "c")};
    launch(kernel, {"product", 1, kWarp, 1024}, tiles, nullptr);
    EXPECT_LE(distance(exact(cuda.download(tiles.c, 256)), want), kFloatTolerance * largest(want));
  }
}

TEST(MultiplyAdd, TakesOperandsAsTheyAreOrTransposed) {
  expect_product(product_kernel<false, false>, false, false);
  expect_product(product_kernel<true, false>, true, false);
  expect_product(product_kernel<false, true>, false, true);
  expect_product(product_kernel<true, true>, true, true);
}

TEST(MultiplyAdd, AddsToWhatIsThere) {
  CudaOnCpu cuda;
  const Tiles tiles{nullptr, nullptr, cuda.allocate<float>(32, "c")};
  void (*kernel)(Tiles) = [](Tiles p) {
    FragmentC sum = {{5, 6, 7, 8}};
    const uint32_t ones = pack_bf16(1, 1);
    multiply_add(sum, {{ones, ones, ones, ones}}, {{ones, ones}});
    store(p.c + lane_index(), sum.v[0] + 100 * sum.v[3]);
  };
  launch(kernel, {"adds", 1, kWarp}, tiles, nullptr);
  EXPECT_EQ(cuda.download(tiles.c, 32), std::vector<float>(32, 21 + 2400));
}

// Matrices of 8 x 8 whose element is 64 matrix + 8 row + column.
template <int kMatrices, bool kTransposed>
PRAXINO_KERNEL(kWarp)
matrices_kernel(Tiles p) {
  Bf16* shared = reinterpret_cast<Bf16*>(shared_floats());
  const int lane = lane_index();
  store_vector(shared + 8 * lane, load_vector<8>(p.a + 8 * lane));
  sync_warp();
  // Lanes past the last matrix point nowhere.
  const Bf16* row = lane < 8 * kMatrices ? shared + 8 * lane : nullptr;
  const Pairs<kMatrices> pairs = load_matrices<kMatrices, kTransposed>(row);
  for (int m = 0; m < kMatrices; ++m) {
    const uint32_t again = transpose_matrix(transpose_matrix(pairs.word[m]));
    for (int i = 0; i < 2; ++i) {
      const FragmentSpot spot = fragment_8x8(lane, i);
      store(p.c + 64 * m + 8 * spot.row + spot.column,
            float_of(i == 0 ? again << 16 : again & 0xffff0000U));
      const uint32_t turned = transpose_matrix(again);
      store(p.c + 256 + 64 * m + 8 * spot.row + spot.column,
            float_of(i == 0 ? turned << 16 : turned & 0xffff0000U));
    }
  }
}

void expect_matrices(void (*kernel)(Tiles), int count, bool transposed) {
  std::vector<Bf16> a;
  for (int i = 0; i < 256; ++i) a.push_back(to_bf16(static_cast<float>(i)));
  CudaOnCpu cuda;
  const Tiles tiles{cuda.upload(a, "a"), nullptr, cuda.allocate<float>(512, "c")};
  launch(kernel, {"matrices", 1, kWarp, 512}, tiles, nullptr);
  const auto c = cuda.download(tiles.c, 512);
  for (int i = 0; i < 64 * count; ++i) {
    const auto spot = static_cast<size_t>(i);
    const int turned = i / 64 * 64 + i % 8 * 8 + i / 8 % 8;
    EXPECT_EQ(c[spot], static_cast<float>(transposed ? turned : i));
    EXPECT_EQ(c[256 + spot], static_cast<float>(transposed ? i : turned));
  }
}

TEST(LoadMatrices, HandsOutOneTwoOrFourAndTheirTransposes) {
  expect_matrices(matrices_kernel<1, false>, 1, false);
  expect_matrices(matrices_kernel<1, true>, 1, true);
  expect_matrices(matrices_kernel<2, false>, 2, false);
  expect_matrices(matrices_kernel<2, true>, 2, true);
  expect_matrices(matrices_kernel<4, false>, 4, false);
  expect_matrices(matrices_kernel<4, true>, 4, true);
}

}  // namespace
}  // namespace praxino::kernels
