#pragma once
// Whether the ranks' copies of the same weights are the same bits. A copy that differs would go on
// computing, and its gradients would reach every rank.
//
// With sharded optimizer state (data_parallel.h) a rank's copy of what another rank updates is
// overwritten after every step, so that a flipped bit in it spoils the gradients of one step only.
// What this cannot see: a bit that flips in the owner's copy between the check and the next
// gathering of weights, which is then every rank's bit; and moments and averages, of which there is
// one copy.

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "praxino/parallel/communicator.h"

namespace praxino {

/// Fingerprints of one rank's copies.
struct CopyPrints {
  int64_t rank = 0;              // of the world
  int64_t part = 0;              // only ranks with the same number have copies of the same
  std::vector<int64_t> arrived;  // before the first use
  std::vector<int64_t> now;      // after the last
  std::vector<bool> owned;       // whether this rank sends it to the others
};

/// Which copies are wrong, and whose: "rank 1's copy of head.weight has changed in its memory".
/// Empty: all are equal. The copy that most ranks have is the right one, and where as many have
/// another, the owner's. A copy that nobody else has can only have changed.
std::string name_wrong_copies(const std::vector<std::string>& names,
                              const std::vector<CopyPrints>& ranks);

/// Every 32-bit word of a tensor's memory, added up as an integer: another number for every flipped
/// bit, and for nearly everything else that can happen. Runs where the tensor lies.
at::Tensor sum_of_words(const at::Tensor& tensor);

/// All ranks of the group call the same functions in the same order. Not thread-safe.
class ReplicaCheck {
 public:
  /// `values`: the same on all `ranks` with the same `part`, contiguous, of 32-bit numbers;
  /// `owned`: whether this rank, `rank` of the world, updates each. The names are the same on all
  /// ranks.
  struct Copies {
    int64_t rank = 0;
    int64_t part = 0;
    std::vector<std::string> names;
    std::vector<at::Tensor> values;
    std::vector<bool> owned;
  };
  /// `ranks`: a group for tensors on the CPU whose collectives come in one order on all ranks. That
  /// of a group whose gradients are under way does not: a parameter that has no gradient on some
  /// rank leaves there when backward is over, and elsewhere before.
  ReplicaCheck(Copies copies, const Communicator& ranks);

  /// When the weights have arrived, before anything uses them.
  void take_prints();
  /// When nothing uses them any more and nothing has changed them yet. Throws praxino::Error on
  /// every rank, naming ranks and tensors, where copies differ or changed meanwhile.
  /// Waits no longer than `limit`, where that is more than nothing.
  void require_equal(int64_t step, std::chrono::milliseconds limit = {});

 private:
  at::Tensor prints() const;

  Copies copies_;
  Communicator ranks_;
  at::Tensor arrived_;  // [copies] int64
};

}  // namespace praxino
