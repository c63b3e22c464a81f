#pragma once
// A kernel that hangs keeps the thread that waits for it for ever, and nothing can call it back.

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace praxino::ops {

struct CheckLimits {
  double slow = 20;  // seconds after which a warning says what is being waited for
  double end = 300;  // until the process ends; a driver may have to compile all kernels first
};

/// While it lives, somebody waits for a kernel. Where that takes too long, the process ends
/// (_exit(1)) with a sentence that names the kernel and the switch that avoids it.
class CheckWatch {
 public:
  /// `what`: "the kernel of swiglu (Float) on cuda:0"; `family`: its key in `kernels:`.
  CheckWatch(std::string what, std::string family, const CheckLimits& limits = {});
  ~CheckWatch();
  CheckWatch(const CheckWatch&) = delete;
  CheckWatch& operator=(const CheckWatch&) = delete;

 private:
  void watch(const CheckLimits& limits);
  std::string what_, family_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace praxino::ops
