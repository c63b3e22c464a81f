#include "kernels/codebook_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "kernels/bf16.h"

namespace praxino::kernels {
namespace {

TEST(CodebookGrid, ATileHoldsEveryUnitOnceAndEightEntriesInEightBankGroups) {
  for (const int width : {32, 64, 128, 256}) {
    const int codes = codes_of_tile(width), units = width / 8;
    std::set<int> places;
    for (int code = 0; code < codes; ++code) {
      for (int unit = 0; unit < units; ++unit) {
        const int place = tile_unit(code, unit, width);
        EXPECT_EQ(place / units, code);
        places.insert(place);
      }
    }
    EXPECT_EQ(places.size(), static_cast<size_t>(codes * units));
    for (int code = 0; code < codes; code += 8) {
      for (int unit = 0; unit < units; ++unit) {
        std::set<int> banks;
        for (int i = 0; i < 8; ++i) banks.insert(tile_unit(code + i, unit, width) % 8);
        EXPECT_EQ(banks.size(), 8U) << width;
      }
    }
    EXPECT_LE(2 * tile_bytes(width), 48 * 1024);
    EXPECT_EQ(padded_codes(1) % codes, 0) << "padded codes are whole tiles";
  }
}

TEST(CodebookGrid, PadsWidthsAndCodes) {
  EXPECT_EQ(padded_code_width(16), 32);
  EXPECT_EQ(padded_code_width(32), 32);
  EXPECT_EQ(padded_code_width(48), 64);
  EXPECT_EQ(padded_code_width(144), 256);
  EXPECT_EQ(padded_codes(1), 128);
  EXPECT_EQ(padded_codes(129), 256);
  EXPECT_EQ(padded_codes(65536), 65536);
  for (const int64_t codes : {1, 65, 1000}) {
    const NearestCodeParts parts = nearest_code_parts(3, codes, 48);
    for (const int64_t at : {parts.halves, parts.spreads, parts.bounds, parts.lists})
      EXPECT_EQ(at % 16, 0);
    EXPECT_EQ(parts.end - parts.lists, 3 * 64);
  }
}

double rounded(double value) {
  return static_cast<double>(to_float(to_bf16(static_cast<float>(value))));
}

// A sum of floats cut off instead of rounded, worse than any tensor core adds.
float cut_sum(float a, double b) {
  const double exact = static_cast<double>(a) + b;
  auto near = static_cast<float>(exact);
  if (std::fabs(static_cast<double>(near)) > std::fabs(exact)) near = std::nextafterf(near, 0.0F);
  return near;
}

TEST(CodebookGrid, NoScoreIsFurtherOffThanItsBound) {
  std::mt19937_64 random(1);
  double closest = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    const auto width = static_cast<size_t>(16 * (1 + random() % 16));
    const double scale = std::exp2(static_cast<double>(random() % 40) - 20);
    std::normal_distribution<float> normal(trial % 3 == 0 ? 3.0F : 0.0F, 1.0F);
    double xx = 0, moved_x = 0, cc = 0, moved_c = 0, rounded_cc = 0, exact = 0;
    std::vector<double> products;
    for (size_t i = 0; i < width; ++i) {
      const double x = static_cast<double>(normal(random));
      // Every other time the entry is the row, and rounding moves both the same way.
      const double c =
          static_cast<double>(static_cast<float>(scale * (trial % 2 ? x : double(normal(random)))));
      xx += x * x;
      moved_x += (x - rounded(x)) * (x - rounded(x));
      cc += c * c;
      moved_c += (c - rounded(c)) * (c - rounded(c));
      rounded_cc += rounded(c) * rounded(c);
      exact += x * c;
      products.push_back(rounded(x) * rounded(c));
    }
    float score = static_cast<float>(-0.5 * cc);
    for (const double product : products) score = cut_sum(score, product);
    const CodebookBounds book{static_cast<float>(std::sqrt(rounded_cc) * 1.0001),
                              static_cast<float>(std::sqrt(moved_c) * 1.0001),
                              static_cast<float>(0.5 * cc * 1.0001), 0};
    const double bound =
        score_error(std::sqrt(xx), std::sqrt(moved_x), book, static_cast<int64_t>(width));
    const double off = std::fabs(static_cast<double>(score) - (exact - 0.5 * cc));
    ASSERT_LE(off, bound) << "width " << width;
    closest = std::max(closest, off / bound);
  }
  EXPECT_GT(closest, 0.2) << "a bound that says nothing";
}

}  // namespace
}  // namespace praxino::kernels
