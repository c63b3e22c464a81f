#include "praxino/ops/kernels.h"

#include <ATen/ops/empty.h>
#include <gmock/gmock.h>

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "ops/kernel_registry.h"

namespace praxino::ops {
namespace {

TEST(Kernels, EachStandsOnceInTheTableForEachType) {
  std::set<std::pair<std::string_view, at::ScalarType>> seen;
  const auto table = kernel_table(std::nullopt);
  ASSERT_GE(table.size(), 8U);
  for (const KernelStatus& row : table) {
    EXPECT_TRUE(seen.emplace(row.name, row.type).second) << row.name;
    EXPECT_NE(row.tier, "none") << row.name;
    EXPECT_NE(row.op, "") << row.name;
  }
}

TEST(Kernels, AreNeitherCheckedNorLaunchedWithoutADevice) {
  for (const auto& table :
       {kernel_table(std::nullopt), kernel_table(at::kCPU), check_kernels(at::kCPU)}) {
    for (const KernelStatus& row : table) {
      EXPECT_TRUE(row.state == KernelState::kNotBuilt || row.state == KernelState::kNoDevice)
          << row.name << ": " << to_string(row.state);
      EXPECT_EQ(row.error, 0) << row.name;
    }
  }
}

TEST(Kernels, AreCheckedByChoice) {
  const auto table = check_kernels(at::kCPU, [](const KernelStatus& row) {
    return row.type == at::kBFloat16 && (row.op == "swiglu" || row.op == "gate_add");
  });
  std::set<std::string_view> ops;
  for (const KernelStatus& row : table) {
    EXPECT_EQ(row.type, at::kBFloat16);
    ops.insert(row.op);
  }
  EXPECT_EQ(ops, (std::set<std::string_view>{"gate_add", "swiglu"}));
}

TEST(Kernels, AreSwitchedByFamily) {
  std::set<std::string> names;
  for (const KernelFamily family : kKernelFamilies) {
    EXPECT_TRUE(names.insert(to_string(family)).second);
    EXPECT_TRUE(uses_kernels(family)) << "on until switched off";
  }
  use_kernels(KernelFamily::kNorm, false);
  EXPECT_FALSE(uses_kernels(KernelFamily::kNorm));
  EXPECT_TRUE(uses_kernels(KernelFamily::kMlp));
  use_kernels(KernelFamily::kNorm, true);
  EXPECT_TRUE(uses_kernels(KernelFamily::kNorm));
}

TEST(Kernels, ThatRefuseAShapeAreNamedOnceForEachType) {
  using cuda::Kernel;
  const auto told = [](Kernel kernel, at::ScalarType type, std::optional<int> result) {
    const at::Tensor on = at::empty({3, 48}, type).t();
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(cuda::taken_or_told(kernel, on, type, result), result);
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(told(Kernel::swiglu, at::kFloat, 7), "");
  EXPECT_THAT(
      told(Kernel::swiglu, at::kFloat, std::nullopt),
      ::testing::HasSubstr(
          "warning: no kernel of swiglu takes these operands, the first of "
          "them Float of 48 x 3 (strides 1, 48) on cpu: LibTorch's operations serve instead"));
  EXPECT_EQ(told(Kernel::swiglu, at::kFloat, std::nullopt), "");
  EXPECT_NE(told(Kernel::swiglu, at::kBFloat16, std::nullopt), "");
  EXPECT_NE(told(Kernel::norm_rotate, at::kFloat, std::nullopt), "");
}

}  // namespace
}  // namespace praxino::ops
