// The kernels themselves, executed on the CPU, against sums in double.
#include "kernels/code_sums.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/numbers.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::Doubles;
using testing::exact;
using testing::kElementOf;
using testing::normal;
using Indices = std::vector<int64_t>;

struct Size {
  int64_t rows, codes, width;
};

struct Results {
  Indices counts;
  Doubles sums;
  bool operator==(const Results&) const = default;
};

// Few codes have most of the rows, and some have none.
Indices uneven_codes(Size s, uint64_t seed) {
  std::mt19937_64 random(seed);
  Indices codes;
  for (int64_t i = 0; i < s.rows; ++i) {
    const double u = static_cast<double>(random() >> 11) * 0x1p-53;
    codes.push_back(static_cast<int64_t>(u * u * u * static_cast<double>(s.codes)));
  }
  return codes;
}

Indices sorted_order(const Indices& codes) {
  Indices order(codes.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](int64_t i) { return codes[static_cast<size_t>(i)]; });
  return order;
}

template <class T>
Results kernel(const std::vector<T>& x, const Indices& codes, Size s, uint64_t seed) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const Indices order = sorted_order(codes);
  Indices sorted = codes;
  std::ranges::sort(sorted);
  const auto book = static_cast<size_t>(s.codes * s.width);
  const CodeSums p{.x = cuda.upload(x, "x"),
                   .sorted = cuda.upload(sorted, "sorted"),
                   .order = cuda.upload(order, "order"),
                   .counts = cuda.allocate<int64_t>(static_cast<size_t>(s.codes), "counts"),
                   .sums = cuda.allocate<float>(book, "sums"),
                   .workspace = cuda.allocate<float>(
                       static_cast<size_t>(code_sums_workspace(s.rows, s.width)), "workspace"),
                   .rows = s.rows,
                   .codes = s.codes,
                   .width = s.width,
                   .element = kElementOf<T>};
  EXPECT_TRUE(launch_code_sums(p, nullptr).ok());
  return {cuda.download(p.counts, static_cast<size_t>(s.codes)),
          exact(cuda.download(p.sums, book))};
}

template <class T>
void expect_equals_formula(const Indices& codes, Size s) {
  const auto x = normal<T>(s.rows * s.width, 1);
  const Results got = kernel(x, codes, s, 1);
  Results want{Indices(static_cast<size_t>(s.codes)),
               Doubles(static_cast<size_t>(s.codes * s.width))};
  for (size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] < 0 || codes[i] >= s.codes) continue;
    const auto code = static_cast<size_t>(codes[i]), width = static_cast<size_t>(s.width);
    ++want.counts[code];
    for (size_t c = 0; c < width; ++c)
      want.sums[code * width + c] += static_cast<double>(to_float(x[i * width + c]));
  }
  EXPECT_EQ(got.counts, want.counts);
  EXPECT_LE(testing::distance(got.sums, want.sums),
            testing::kFloatTolerance * testing::largest(want.sums) + 1e-12);
}

class CodeSumsKernel : public ::testing::TestWithParam<Size> {};

TEST_P(CodeSumsKernel, EqualsItsFormulaInFloat) {
  expect_equals_formula<float>(uneven_codes(GetParam(), 1), GetParam());
}
TEST_P(CodeSumsKernel, EqualsItsFormulaInBf16) {
  expect_equals_formula<Bf16>(uneven_codes(GetParam(), 2), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Sizes, CodeSumsKernel,
                         ::testing::Values(Size{0, 3, 8}, Size{1, 1, 1}, Size{63, 5, 7},
                                           Size{64, 1, 33}, Size{129, 2, 32}, Size{500, 40, 48},
                                           Size{130, 7, 300}, Size{333, 400, 16}));

// Every way in which a run can lie between the edges of chunks.
TEST(CodeSumsKernels, AddUpRunsOfEveryLengthAtEveryPlace) {
  for (const int64_t length : {1, 2, 63, 64, 65, 128, 130}) {
    for (const int64_t before : {0, 1, 62, 63, 64, 100}) {
      Indices codes(static_cast<size_t>(before), 0);
      codes.insert(codes.end(), static_cast<size_t>(length), 2);
      codes.insert(codes.end(), 3, 4);
      expect_equals_formula<float>(codes, {before + length + 3, 6, 3});
    }
  }
}

// Before and behind all others, in runs of which some are whole and some in parts.
TEST(CodeSumsKernels, LeaveOutRowsWhoseCodeIsNone) {
  for (const int64_t count : {1, 5, 64, 130}) {
    for (const int64_t none : {int64_t{-7}, int64_t{-1}, int64_t{6}, int64_t{1} << 40}) {
      Indices codes = {0, 0, 2, 5, 5};
      codes.insert(codes.begin() + (none < 0 ? 0 : 5), static_cast<size_t>(count), none);
      codes.insert(none < 0 ? codes.begin() : codes.end(), 3, none + (none < 0 ? -1 : 1));
      expect_equals_formula<float>(codes, {std::ssize(codes), 6, 3});
    }
  }
}

TEST(CodeSumsKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  const Size s{700, 30, 40};
  const auto x = normal<Bf16>(s.rows * s.width, 3);
  const Indices codes = uneven_codes(s, 4);
  const Results first = kernel(x, codes, s, 1);
  for (uint64_t seed = 2; seed < 5; ++seed) EXPECT_EQ(kernel(x, codes, s, seed), first);
}

TEST(CodeSumsKernels, RefuseWhatIsOutOfRange) {
  CudaOnCpu cuda;
  for (const Size s : {Size{-1, 5, 16}, Size{1, 0, 16}, Size{1, 5, 0}, Size{1, 1 << 21, 1}}) {
    const CodeSums p{.rows = s.rows, .codes = s.codes, .width = s.width};
    EXPECT_EQ(launch_code_sums(p, nullptr).code, kRefused.code);
  }
  EXPECT_EQ(cuda.launches(), 0);
}

// Exhaustively: each row of a code is in exactly one of the places that are added up.
TEST(CodeRuns, EveryPartOfARunIsWhereItIsLookedFor) {
  for (int64_t rows = 1; rows <= 3 * kRunChunk; rows += 5) {
    for (int64_t begin = 0; begin < rows; begin += begin % 7 == 3 ? 1 : 2) {
      for (int64_t end = begin + 1; end <= rows; ++end) {
        const RunParts parts = parts_of_run(begin, end, rows);
        const int64_t first = begin / kRunChunk, last = (end - 1) / kRunChunk;
        if (first == last && place_of_run(begin, end, rows) < 0) {
          ASSERT_FALSE(parts.in_parts);
          continue;
        }
        ASSERT_TRUE(parts.in_parts);
        ASSERT_EQ(parts.first, first);
        ASSERT_EQ(parts.last, last);
        for (int64_t chunk = first; chunk <= last; ++chunk) {
          const int64_t from = std::max(begin, chunk * kRunChunk);
          const int64_t to = std::min(end, (chunk + 1) * kRunChunk);
          ASSERT_EQ(place_of_run(from, to, rows), place_in_chunk(begin, chunk));
        }
      }
    }
  }
}

}  // namespace
}  // namespace praxino::kernels
