#include "support/cuda_on_cpu/hopper.h"

#include <fmt/format.h>

#include "support/cuda_on_cpu/fault.h"
#include "support/cuda_on_cpu/machine.h"

namespace praxino::testing {

bool Hopper::set_registers(int thread, int count, bool more) {
  int& own = registers_.try_emplace(thread, launch_registers()).first->second;
  if (more ? count < own : count > own) {
    throw MeetingViolation{fmt::format("{} registers to have {}, and has {}",
                                       more ? "takes" : "gives back", count, own)};
  }
  if (count - own > spare_registers_) return false;
  spare_registers_ -= count - own;
  own = count;
  return true;
}

std::string Hopper::left_undone(int thread, bool last) {
  const int lane = thread % kernels::kWarpgroup;
  const auto found = products_.find(thread - lane);
  if (found != products_.end() && found->second.has_open(lane))
    return "before the wait for its products";
  if (copies_.has_unread(thread)) return "before its stores have read shared memory";
  if (last && copies_.has_loads()) return "before the wait for copies of tiles";
  return {};
}

}  // namespace praxino::testing
