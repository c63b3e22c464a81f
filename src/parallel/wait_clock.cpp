#include "parallel/wait_clock.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace praxino {
namespace {

/// With the time at which the current stream of `device` comes to it.
c10::Event put_event(const c10::Device& device) {
  c10::Event event(device.type(), c10::EventFlag::BACKEND_DEFAULT);
  event.record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  return event;
}

}  // namespace

WaitClock::Stretch::Stretch(WaitClock* clock, const c10::Device& device)
    : clock_(clock), device_(device), begin_(std::chrono::steady_clock::now()) {
  if (clock_ == nullptr || device_.is_cpu()) return;
  const std::lock_guard lock(clock_->mutex_);
  if (clock_->streams_) event_.emplace(put_event(device_));
}

WaitClock::Stretch::~Stretch() {
  if (clock_ == nullptr) return;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin_;
  const std::lock_guard lock(clock_->mutex_);
  if (device_.is_cpu()) {
    clock_->seconds_ += passed.count();
  } else if (event_) {
    clock_->under_way_.emplace_back(std::move(*event_), put_event(device_));
  }
}

void WaitClock::measure_streams() {
  const std::lock_guard lock(mutex_);
  streams_ = true;
}

double WaitClock::seconds() {
  const std::lock_guard lock(mutex_);
  for (const auto& [begin, end] : under_way_) {
    end.synchronize();
    seconds_ += 1e-3 * begin.elapsedTime(end);
  }
  under_way_.clear();
  return seconds_;
}

}  // namespace praxino
