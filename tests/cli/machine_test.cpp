#include "cli/machine.h"

#include <gtest/gtest.h>

#include <string>

namespace praxino {
namespace {

TEST(Machine, ReadsAnX86Processor) {
  const Processor processor = parse_processor(
      "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu avx2 avx512f avx512_bf16 "
      "amx_bf16\n");
  EXPECT_EQ(processor.name, "Some CPU @ 2.0GHz");
  EXPECT_TRUE(processor.avx2 && processor.avx512 && processor.amx);
}

TEST(Machine, AvxAloneIsNotAmx) {
  const Processor processor = parse_processor("model name\t: Old\nflags\t\t: avx2 avx512f\n");
  EXPECT_TRUE(processor.avx512);
  EXPECT_FALSE(processor.amx);
}

TEST(Machine, ReadsAnArmProcessor) {
  const Processor processor = parse_processor("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n");
  EXPECT_EQ(processor.name, "unknown processor");
  EXPECT_FALSE(processor.avx2 || processor.avx512 || processor.amx);
}

TEST(Machine, ReadsMemory) {
  const Memory memory =
      parse_memory("MemTotal:       2048 kB\nMemFree:  1 kB\nMemAvailable:   1024 kB\n");
  EXPECT_EQ(memory.total, 2048u * 1024);
  EXPECT_EQ(memory.available, 1024u * 1024);
  EXPECT_EQ(parse_memory("").total, 0u);
}

}  // namespace
}  // namespace praxino
