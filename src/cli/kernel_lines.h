#pragma once
// The kernels of ops::kernel_table as `praxino doctor` prints them. Pure.

#include <string>
#include <vector>

#include "praxino/bench/ops.h"
#include "praxino/ops/kernels.h"

namespace praxino {

/// One line a kernel: name, family, tier, what became of it for each element type, and how fast the
/// first case of its operation ran where it was measured.
std::vector<std::string> kernel_lines(const std::vector<ops::KernelStatus>& table,
                                      const bench::OpsReport& measured);

}  // namespace praxino
