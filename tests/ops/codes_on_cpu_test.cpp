// Statistics of a codebook by its kernels, which run on the CPU.
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>

#include "ops/on_cpu.h"
#include "ops/tokens_cuda.h"

namespace praxino::ops {
namespace {

using testing::normal;
using testing::relative_error;

class CodesOnCpu : public OnCpu {
 protected:
  static void expect_equal(const CodeStatistics& got, const CodeStatistics& want) {
    EXPECT_TRUE(got.counts.equal(want.counts));
    EXPECT_LT(relative_error(got.sums, want.sums), 1e-6);
  }
};

// An index that is none is in no count, whatever it would be in fewer bits.
TEST_F(CodesOnCpu, CountNoIndexOutsideOfTheCodebook) {
  constexpr int64_t kCodes = 30;
  const at::Tensor all = normal({40, 8}, 1), known = all.narrow(0, 0, 34),
                   indices = at::arange(40, at::TensorOptions(at::kLong)) * 7 % kCodes;
  const CodeStatistics want = formula::code_statistics(known, indices.narrow(0, 0, 34), kCodes);
  const int64_t wide = int64_t{1} << 32;
  const at::Tensor none =
      at::tensor({int64_t{-1}, kCodes, int64_t{65536} + 3, int64_t{-65533}, wide + 5, -wide + 5},
                 at::TensorOptions(at::kLong));
  indices.narrow(0, 34, 6).copy_(none);
  expect_equal(cuda::code_statistics(all, indices, kCodes).value(), want);
}

// Where the number of entries is the first that 16 bits do not hold.
TEST_F(CodesOnCpu, CountTheLastEntryAndNotTheNext) {
  constexpr int64_t kCodes = 32768;
  const at::Tensor x = normal({12, 4}, 2),
                   last = kCodes - 1 - at::arange(12, at::TensorOptions(at::kLong)) % 5;
  const CodeStatistics want =
      formula::code_statistics(x.narrow(0, 0, 11), last.narrow(0, 0, 11), kCodes);
  last[11] = kCodes;
  expect_equal(cuda::code_statistics(x, last, kCodes).value(), want);
}

}  // namespace
}  // namespace praxino::ops
