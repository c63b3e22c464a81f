#pragma once
// How long a rank stands still for the collectives of one group.

#include <c10/core/Device.h>
#include <c10/core/Event.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace praxino {

/// Adds up waits: of the host for tensors on the CPU; on a GPU, where it is asked for, of the
/// stream that the wait was put into, by two events. Waits on several threads at once count each.
/// Thread-safe.
class WaitClock {
 public:
  /// Measures from its making to its end, whatever throws in between.
  class Stretch {
   public:
    Stretch(WaitClock* clock, const c10::Device& device);
    ~Stretch();
    Stretch(const Stretch&) = delete;
    Stretch& operator=(const Stretch&) = delete;

   private:
    WaitClock* clock_;
    c10::Device device_;
    std::chrono::steady_clock::time_point begin_;
    std::optional<c10::Event> event_;
  };

  /// From now on waits on a GPU are measured, too, which costs two events each.
  void measure_streams();
  /// So far. Waits for the GPU to pass the stretches that were put into its streams.
  double seconds();

 private:
  std::mutex mutex_;
  bool streams_ = false;
  double seconds_ = 0;
  std::vector<std::pair<c10::Event, c10::Event>> under_way_;
};

}  // namespace praxino
