// The kernels themselves, executed on the CPU, against a search in double.
#include "kernels/nearest_code_hopper.h"

#include <gtest/gtest.h>

#include <limits>

#include "kernels/best_codes.h"
#include "kernels/numbers.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::kElementOf;
using testing::normal;
using Indices = std::vector<int64_t>;

struct Size {
  int64_t rows, codes, width;
};

struct Kernels {
  const char* name;
  Status (*all)(const NearestCode&, Stream);
  Status (*search)(const NearestCode&, Stream);
};
constexpr Kernels kPortable{"Portable", launch_nearest_code, launch_search_codebook};
constexpr Kernels kHopper{"Hopper", launch_nearest_code_hopper, launch_search_codebook_hopper};

template <class T>
Indices formula(const std::vector<T>& x, const std::vector<float>& book, Size s) {
  Indices nearest;
  for (int64_t row = 0; row < s.rows; ++row) {
    double least = std::numeric_limits<double>::infinity();
    int64_t index = 0;
    for (int64_t code = 0; code < s.codes; ++code) {
      double distance = 0;
      for (int64_t i = 0; i < s.width; ++i) {
        const double apart =
            static_cast<double>(to_float(x[static_cast<size_t>(row * s.width + i)])) -
            static_cast<double>(book[static_cast<size_t>(code * s.width + i)]);
        distance += apart * apart;
      }
      if (distance < least) least = distance, index = code;
    }
    nearest.push_back(index);
  }
  return nearest;
}

// `undecided`: before the rows that candidates do not decide are searched.
template <class T>
Indices kernel(const Kernels& kernels, const std::vector<T>& x, const std::vector<float>& book,
               Size s, uint64_t seed, bool undecided = false) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed), .interruption = 0.005});
  const auto bytes = static_cast<size_t>(nearest_code_parts(s.rows, s.codes, s.width).end);
  const NearestCode p{.x = cuda.upload(x, "x"),
                      .codebook = cuda.upload(book, "codebook"),
                      .indices = cuda.allocate<int64_t>(static_cast<size_t>(s.rows), "indices"),
                      .workspace = cuda.allocate<char>(bytes, "workspace"),
                      .rows = s.rows,
                      .codes = s.codes,
                      .width = s.width,
                      .element = kElementOf<T>};
  if (undecided) {
    EXPECT_TRUE(launch_prepare_codebook(p, nullptr).ok());
    EXPECT_TRUE(kernels.search(p, nullptr).ok());
    EXPECT_TRUE(launch_decide_codes(p, nullptr).ok());
  } else {
    EXPECT_TRUE(kernels.all(p, nullptr).ok());
  }
  return cuda.download(p.indices, static_cast<size_t>(s.rows));
}

template <class T>
void expect_nearest(Size s) {
  const auto x = normal<T>(s.rows * s.width, 1);
  const auto book = normal<float>(s.codes * s.width, 2);
  const Indices want = formula(x, book, s);
  for (const Kernels& kernels : {kPortable, kHopper})
    EXPECT_EQ(kernel(kernels, x, book, s, 1), want) << kernels.name;
}

class NearestCodeKernel : public ::testing::TestWithParam<Size> {};

TEST_P(NearestCodeKernel, EqualsASearchInDoubleForFloat) { expect_nearest<float>(GetParam()); }
TEST_P(NearestCodeKernel, EqualsASearchInDoubleForBf16) { expect_nearest<Bf16>(GetParam()); }

// Of either search.
class NearestCodeKernels : public ::testing::TestWithParam<Kernels> {
 protected:
  template <class T>
  static Indices kernel(const std::vector<T>& x, const std::vector<float>& book, Size s,
                        uint64_t seed, bool undecided = false) {
    return kernels::kernel(GetParam(), x, book, s, seed, undecided);
  }
};
INSTANTIATE_TEST_SUITE_P(Tiers, NearestCodeKernels, ::testing::Values(kPortable, kHopper),
                         [](const auto& tier) { return std::string(tier.param.name); });

// Every variant; rows and codes that do not fill a tile, a block, a codebook of one and of two.
INSTANTIATE_TEST_SUITE_P(Sizes, NearestCodeKernel,
                         ::testing::Values(Size{1, 1, 16}, Size{5, 2, 16}, Size{31, 65, 32},
                                           Size{290, 130, 48}, Size{33, 200, 64}, Size{17, 64, 112},
                                           Size{18, 70, 256}, Size{300, 600, 128}));

TEST_P(NearestCodeKernels, DecideNearlyAllRowsByTheirCandidates) {
  const Size s{256, 512, 64};
  const auto x = normal<Bf16>(s.rows * s.width, 3);
  const auto book = normal<float>(s.codes * s.width, 4);
  const Indices got = kernel(x, book, s, 1, true), want = formula(x, book, s);
  int64_t undecided = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == -1) {
      ++undecided;
    } else {
      EXPECT_EQ(got[i], want[i]);
    }
  }
  EXPECT_LE(undecided, s.rows / 50);
}

TEST_P(NearestCodeKernels, TakeTheLowestOfEqualEntries) {
  const Size s{40, 96, 32};
  const auto x = normal<float>(s.rows * s.width, 5);
  auto book = normal<float>(s.codes * s.width, 6);
  for (size_t i = 32 * 32; i < book.size(); ++i) book[i] = book[i - 32 * 32];  // three times
  const Indices got = kernel(x, book, s, 1);
  EXPECT_EQ(got, formula(x, book, s));
  for (const int64_t index : got) EXPECT_LT(index, 32);
  const std::vector<float> same(book.size(), 0.5F);
  EXPECT_EQ(kernel(x, same, s, 1), Indices(40, 0));
}

TEST_P(NearestCodeKernels, TellEntriesApartThatBf16DoesNot) {
  // Entries that differ in the last places of a float, and rows between them.
  const Size s{20, 600, 16};
  auto book = normal<float>(16, 7);
  book.reserve(static_cast<size_t>(s.codes * s.width));
  for (size_t i = 16; i < 600 * 16; ++i)
    book.push_back(book[i % 16] * (1.0F + 0x1p-21F * static_cast<float>((i * 7919) % 509)));
  auto x = normal<float>(s.rows * s.width, 8, 1e-6);
  for (size_t i = 0; i < x.size(); ++i) x[i] += book[i % book.size()];
  EXPECT_EQ(kernel(x, book, s, 1), formula(x, book, s));
}

TEST_P(NearestCodeKernels, KnowWhenALaneHasSeenThreeCloseEntries) {
  // Entries 0, 8 and 16 come to the same lane; bfloat16 does not know which of them is nearest.
  const Size s{64, 40, 16};
  const auto base = normal<float>(s.width, 17);
  auto x = normal<float>(s.rows * s.width, 18, 3e-3);
  auto book = normal<float>(s.codes * s.width, 19);
  const auto near = normal<float>(3 * s.width, 20, 3e-3);
  for (size_t i = 0; i < x.size(); ++i) x[i] += base[i % 16];
  for (size_t turn = 0; turn < 3; ++turn) {  // whichever of them comes last
    for (size_t i = 0; i < near.size(); ++i)
      book[(i / 16 + turn) % 3 * 8 * 16 + i % 16] = base[i % 16] + near[i];
    EXPECT_EQ(kernel(x, book, s, 1), formula(x, book, s));
  }
}

TEST_P(NearestCodeKernels, HoldAtEveryScale) {
  const Size s{34, 66, 32};
  for (const double scale : {1e-30, 1e-12, 1e15, 1e30}) {
    const auto x = normal<float>(s.rows * s.width, 9, scale);
    const auto book = normal<float>(s.codes * s.width, 10, scale);
    EXPECT_EQ(kernel(x, book, s, 1), formula(x, book, s)) << scale;
  }
  // Rows far from a codebook in a corner: nearly all of a score is common to all entries.
  auto x = normal<float>(s.rows * s.width, 11), book = normal<float>(s.codes * s.width, 12, 0.01);
  for (float& value : x) value += 100;
  for (float& value : book) value += 50;
  EXPECT_EQ(kernel(x, book, s, 1), formula(x, book, s));
}

TEST_P(NearestCodeKernels, LeaveOutWhatIsNotANumber) {
  const Size s{6, 5, 16};
  auto x = normal<float>(s.rows * s.width, 13), book = normal<float>(s.codes * s.width, 14);
  book[0] = std::numeric_limits<float>::quiet_NaN();
  book[16] = std::numeric_limits<float>::infinity();
  x[40] = std::numeric_limits<float>::quiet_NaN();
  x[60] = -std::numeric_limits<float>::infinity();
  const Indices got = kernel(x, book, s, 1);
  EXPECT_EQ(got, formula(x, book, s));
  EXPECT_EQ(got[2], 0);
  EXPECT_EQ(got[3], 0);
}

TEST_P(NearestCodeKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  const Size s{270, 70, 32};
  const auto x = normal<Bf16>(s.rows * s.width, 15);
  const auto book = normal<float>(s.codes * s.width, 16);
  const Indices first = kernel(x, book, s, 1);
  for (uint64_t seed = 2; seed < 4; ++seed) EXPECT_EQ(kernel(x, book, s, seed), first);
}

TEST_P(NearestCodeKernels, DoNotLaunchForAnEmptyBatchNorForWhatIsOutOfRange) {
  CudaOnCpu cuda;
  EXPECT_TRUE(GetParam().all({.rows = 0, .codes = 5, .width = 16}, nullptr).ok());
  for (const Size s : {Size{-1, 5, 16}, Size{1, 0, 16}, Size{1, 65537, 16}, Size{1, 5, 0},
                       Size{1, 5, 24}, Size{1, 5, 272}}) {
    const NearestCode p{.rows = s.rows, .codes = s.codes, .width = s.width};
    EXPECT_EQ(GetParam().all(p, nullptr).code, kRefused.code);
  }
  const std::vector<float> x(17);
  const NearestCode unaligned{.x = cuda.upload(x, "x", 1), .rows = 1, .codes = 1, .width = 16};
  EXPECT_EQ(GetParam().all(unaligned, nullptr).code, kRefused.code);
  EXPECT_EQ(cuda.launches(), 0);
}

TEST(NearestCodeLists, KeepTheTwoBestAndTheThirdScore) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  const std::vector<float> scores = {3, -1,   std::numeric_limits<float>::quiet_NaN(), 7, 3,
                                     5, kNone};
  BestCodes best{kNone, kNone, kNone, 0, 0};
  for (uint32_t code = 0; code < scores.size(); ++code) insert(best, scores[code], code);
  EXPECT_EQ(best.first, 7);
  EXPECT_EQ(best.first_code, 3U);
  EXPECT_EQ(best.second, 5);
  EXPECT_EQ(best.second_code, 5U);
  EXPECT_EQ(best.third, 3);
  insert(best, 7, 9);  // of equal ones the earlier stays in front
  EXPECT_EQ(best.first_code, 3U);
  EXPECT_EQ(best.second_code, 9U);
  EXPECT_EQ(best.third, 5);
}

}  // namespace
}  // namespace praxino::kernels
