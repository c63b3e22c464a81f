#include "kernels/bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace praxino::kernels {
namespace {

TEST(Bf16, EveryValueSurvivesTheWayToFloatAndBack) {
  for (uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const Bf16 value{static_cast<uint16_t>(bits)};
    if (std::isnan(to_float(value))) {
      EXPECT_TRUE(std::isnan(to_float(to_bf16(to_float(value)))));
    } else {
      EXPECT_EQ(to_bf16(to_float(value)).bits, value.bits);
    }
  }
}

// Between two neighbours: the nearer one, and of two equally near ones the even one.
TEST(Bf16, RoundsToTheNearest) {
  for (uint32_t bits = 0; bits < 0x7f80U; ++bits) {
    const uint32_t below = bits << 16, even = bits % 2 == 0 ? bits : bits + 1;
    EXPECT_EQ(to_bf16(float_of(below + 0x7fffU)).bits, bits);
    EXPECT_EQ(to_bf16(float_of(below + 0x8000U)).bits, even);
    EXPECT_EQ(to_bf16(float_of(below + 0x8001U)).bits, bits + 1);
    EXPECT_EQ(to_bf16(-float_of(below + 0x8001U)).bits, (bits + 1) | 0x8000U);
  }
}

TEST(Bf16, NotANumberStaysNotANumber) {
  EXPECT_TRUE(std::isnan(to_float(to_bf16(float_of(0x7f800001U)))));
  EXPECT_TRUE(std::isnan(to_float(to_bf16(float_of(0xffffffffU)))));
  EXPECT_EQ(to_float(to_bf16(std::numeric_limits<float>::infinity())),
            std::numeric_limits<float>::infinity());
}

static_assert(to_float(to_bf16(1.0F)) == 1.0F, "usable in constant expressions");

}  // namespace
}  // namespace praxino::kernels
