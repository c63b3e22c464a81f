#include "praxino/base/processor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <string>

namespace praxino {
namespace {

TEST(Processor, MultipliesBf16WhereTheKernelListsAnInstructionForIt) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    const std::string words = line + " ";
    const std::array flags = {" avx512_bf16 ", " amx_bf16 ", " bf16 "};
    const bool listed = std::ranges::any_of(
        flags, [&](const char* flag) { return words.find(flag) != std::string::npos; });
    EXPECT_EQ(multiplies_bf16(), listed) << line;
    return;
  }
  GTEST_SKIP() << "/proc/cpuinfo lists no instructions";
}

}  // namespace
}  // namespace praxino
