#include "praxino/base/start_clock.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <numeric>
#include <sstream>

#include "praxino/base/file.h"
#include "praxino/base/progress.h"

namespace praxino {
namespace {

/// Since the kernel started this process: field 22 of proc(5)'s stat, in ticks since boot.
double process_age() {
  const std::string stat = read_file("/proc/self/stat");
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));  // the name may hold anything
  constexpr int kBeforeStart = 19;                              // fields between name and start
  std::string skipped;
  for (int i = 0; i < kBeforeStart; ++i) fields >> skipped;
  double ticks = 0;
  fields >> ticks;
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  const double age = static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) -
                     ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  return std::max(age, 0.0);
}

}  // namespace

StartClock::StartClock() : last_(monotonic_seconds()) {}

StartClock StartClock::of_process() {
  StartClock clock;
  clock.last_ -= process_age();
  clock.mark("process");
  return clock;
}

void StartClock::mark(const std::string& part) {
  const double now = monotonic_seconds();
  const auto known = std::ranges::find(parts_, part, &std::pair<std::string, double>::first);
  if (known == parts_.end()) {
    parts_.emplace_back(part, now - last_);
  } else {
    known->second += now - last_;
  }
  last_ = now;
}

double StartClock::total() const {
  return std::accumulate(parts_.begin(), parts_.end(), 0.0,
                         [](double sum, const auto& part) { return sum + part.second; });
}

std::string StartClock::text() const {
  std::string text = fmt::format("{:.2f} s", total());
  for (size_t i = 0; i < parts_.size(); ++i) {
    text += fmt::format("{} {} {:.2f}", i == 0 ? ":" : ",", parts_[i].first, parts_[i].second);
  }
  return text;
}

}  // namespace praxino
