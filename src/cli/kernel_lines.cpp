#include "cli/kernel_lines.h"

#include <fmt/core.h>

#include <algorithm>

namespace praxino {
namespace {

using ops::KernelState;
using ops::KernelStatus;

std::string verdict(const KernelStatus& row) {
  const char* type = row.type == at::kFloat ? "float32" : "bfloat16";
  switch (row.state) {
    case KernelState::kAgrees: return fmt::format("{} agrees ({:.1e})", type, row.error);
    case KernelState::kTurnedDown: return fmt::format("{} turned down: {}", type, row.reason);
    default: return fmt::format("{} {}", type, to_string(row.state));
  }
}

/// "float32 no device, bfloat16 no device" says less than "no device".
std::string verdicts(const std::vector<KernelStatus>& rows) {
  const bool alike = std::ranges::all_of(rows, [&](const KernelStatus& row) {
    return row.state == rows.front().state && row.state != KernelState::kAgrees &&
           row.state != KernelState::kTurnedDown;
  });
  if (alike) return to_string(rows.front().state);
  std::string text;
  for (const KernelStatus& row : rows) text += (text.empty() ? "" : ", ") + verdict(row);
  return text;
}

std::string speed(const bench::Work& work, const bench::Times& times, const bench::Ceilings& c) {
  const bool bytes = work.bytes / c.copy >= work.flop / c.product;
  return fmt::format("{:.0f} {} ({:.0f} %)",
                     bytes ? work.bytes / times.median / 1e9 : work.flop / times.median / 1e12,
                     bytes ? "GB/s" : "TFLOP/s", 100 * bench::share_of_floor(work, times, c));
}

/// Whether a kernel that stands before it in the table is tried before it, for the same tensors.
bool comes_second(const KernelStatus& row, const std::vector<KernelStatus>& table) {
  for (const KernelStatus& other : table) {
    if (other.name == row.name) return false;
    if (other.op == row.op && other.tier == row.tier && other.state == KernelState::kAgrees)
      return true;
  }
  return false;
}

/// Of the first case of that operation, which this kernel ran.
std::string speeds(const KernelStatus& row, const std::vector<KernelStatus>& table,
                   const bench::OpsReport& measured) {
  if (comes_second(row, table)) return {};
  const std::string by = fmt::format("kernel ({})", row.tier);
  for (const bench::CaseResult& result : measured.cases) {
    if (result.op != row.op || result.sides.empty()) continue;
    const bench::SideResult& ours = result.sides.front();
    if (ours.by != by || !ours.failed.empty()) continue;
    std::string text = fmt::format(", {}: {}", result.name,
                                   speed(result.forward, ours.forward, measured.ceilings));
    if (ours.backward.repetitions > 0)
      text += " and " + speed(result.backward, ours.backward, measured.ceilings);
    return text;
  }
  return {};
}

}  // namespace

std::vector<std::string> kernel_lines(const std::vector<KernelStatus>& table,
                                      const bench::OpsReport& measured) {
  std::vector<std::string> lines;
  for (auto row = table.begin(); row != table.end();) {
    const auto end = std::find_if(
        row, table.end(), [&](const KernelStatus& other) { return other.name != row->name; });
    lines.push_back(fmt::format("{:<28} {:<10} {:<9} {}{}", row->name, to_string(row->family),
                                row->tier, verdicts({row, end}), speeds(*row, table, measured)));
    row = end;
  }
  return lines;
}

}  // namespace praxino
