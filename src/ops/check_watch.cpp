#include "check_watch.h"

#include <unistd.h>

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
  const auto begin = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  const auto ends_by = [&](double seconds) {
    return changed_.wait_until(lock, begin + std::chrono::duration<double>(seconds),
                               [this] { return done_; });
  };
  if (ends_by(limits.slow)) return;
  log::warning(
      "{} has not come back from its check for {:g} s: a driver that compiles it takes that long, "
      "or it hangs",
      what_, limits.slow);
  if (ends_by(limits.end)) return;
  log::error(
      "{} has not come back from its check for {:g} s: it hangs, or the device does; start again "
      "with kernels.{}=off, which takes LibTorch's operations instead, and see `praxino doctor`",
      what_, limits.end, family_);
  _exit(1);  // the thread that waits cannot be woken
}

}  // namespace praxino::ops
