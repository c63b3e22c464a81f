#include "check_watch.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "praxino/base/log.h"

namespace praxino::ops {

CheckWatch::CheckWatch(std::string what, std::string family, const CheckLimits& limits)
    : what_(std::move(what)),
      family_(std::move(family)),
      thread_([this, limits] { watch(limits); }) {}

CheckWatch::~CheckWatch() {
  {
    const std::scoped_lock lock(mutex_);
    done_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void CheckWatch::watch(const CheckLimits& limits) {
  // In slices, so that the time in which the whole process was stopped does not count.
  constexpr double kSlice = 0.5;
  std::unique_lock lock(mutex_);
  double waited = 0;
  const auto ends_by = [&](double seconds) {
    while (!done_ && waited < seconds) {
      const double slice = std::min(kSlice, seconds - waited);
      changed_.wait_for(lock, std::chrono::duration<double>(slice), [this] { return done_; });
      waited += slice;
    }
    return done_;
  };
  if (ends_by(limits.slow)) return;
  log::warning(
      "{} has not come back from its check for {:g} s: a driver that compiles it takes that long, "
      "or it hangs",
      what_, limits.slow);
  if (ends_by(limits.end)) return;
  log::write(  // whatever the level: these are its last words
      log::Level::kError,
      fmt::format(
          "{} has not come back from its check for {:g} s: it hangs, or the device does; start "
          "again with kernels.{}=off, which takes LibTorch's operations instead",
          what_, limits.end, family_));
  _exit(1);  // the thread that waits cannot be woken
}

}  // namespace praxino::ops
