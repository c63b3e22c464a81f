// The self checks that a GPU is asked, on the CPU: every kernel agrees with its formula by way of
// the very functions that run on a GPU, for results and gradients.
#include <cstdlib>

#include "ops/kernel_registry.h"
#include "ops/on_cpu.h"

namespace praxino::ops {
namespace {

enum Types { kFloat32, kBfloat16, kBoth };

struct Check {
  const char* name;
  SelfCheck (*of)(at::TensorOptions);
  KernelFamily family;
  at::ScalarType type;
};
void PrintTo(const Check& check, std::ostream* to) { *to << check.name << ' ' << check.type; }

std::vector<Check> all_checks() {
  std::vector<Check> checks;
  const auto add = [&](const char* name, auto of, KernelFamily family, Types types) {
    if (types != kBfloat16) checks.push_back({name, of, family, at::kFloat});
    if (types != kFloat32) checks.push_back({name, of, family, at::kBFloat16});
  };
#define PRAXINO_ADD(name, op, family, tier, types) \
  add(#name, &cuda::check_of_##name, KernelFamily::family, types);
  PRAXINO_KERNELS(PRAXINO_ADD)
#undef PRAXINO_ADD
  return checks;
}

class SelfChecksOnCpu : public OnCpu, public ::testing::WithParamInterface<Check> {};

TEST_P(SelfChecksOnCpu, Agree) {
  const Check& check = GetParam();
  SelfCheck asked = check.of(at::TensorOptions(check.type));
  // Attention takes a minute; its first two cases have one with a norm and one without.
  const size_t cases = std::getenv("PRAXINO_LONG_TESTS") != nullptr ? asked.cases.size() : 2;
  if (check.family == KernelFamily::kAttention) asked.cases.resize(cases);
  const Finding found = compare(asked);
  EXPECT_TRUE(found.agrees()) << check.name << ": " << found.difference;
  EXPECT_GT(cuda_.launches(), 0) << check.name;
}

INSTANTIATE_TEST_SUITE_P(Kernels, SelfChecksOnCpu, ::testing::ValuesIn(all_checks()),
                         [](const auto& test) {
                           return std::string(test.param.name) +
                                  (test.param.type == at::kFloat ? "_float" : "_bf16");
                         });

}  // namespace
}  // namespace praxino::ops
