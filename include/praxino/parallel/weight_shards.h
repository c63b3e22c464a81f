#pragma once
// Data parallelism with sharded weights (ZeRO-3: Rajbhandari et al., "ZeRO: Memory Optimizations
// Toward Training Trillion Parameter Models", SC 2020; FSDP: Zhao et al., VLDB 2023). A parameter
// lives on the one rank that updates it. The parameters of a unit, a block of the model say, are
// brought to every rank before the unit runs and dropped after it, in the forward pass and again in
// the backward pass; its gradients leave for their owners as soon as they are complete.
//
// Whole parameters are owned, because Muon must see matrices; what an owner has of a unit travels
// as one broadcast, so that nothing is padded however many ranks there are. Beside its own part a
// rank holds two units, the one that runs and the next, which arrives meanwhile, and the gradients
// of one that leave. These buffers are allocated once and used in turn: memory is the same in every
// step, and there is nothing to fragment. A start takes no more: where parameters come without
// memory, their owners write them.
//
// On a GPU a buffer is written, read and waited for on the current stream alone: a collective
// starts behind the work queued there, and wait() makes that stream, not the host, wait for it. So
// nothing is overwritten before it was read, and the caching allocator needs no record of another
// stream.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "praxino/parallel/communicator.h"
#include "praxino/parallel/data_parallel.h"

namespace praxino {

/// What is to be sharded, the same on all ranks but for the values.
struct UnitParameters {
  static constexpr int64_t kResident = -1;
  std::vector<at::Tensor> values;  // leaves, float32; they may be expanded from one element
  std::vector<int64_t> units;      // of each, numbered in the order of the forward pass; kResident:
                                   // belongs to none and is on every rank all the time
};

/// A step: before_backward() before every micro-batch's forward pass, bring() and release() around
/// each run of a unit, then reduce_gradients(), an update of the owned() weights from their
/// gradients, gather_weights(), and wait_for_weights() before the next forward pass. Between steps
/// units may be brought for forward passes alone, from the first to the last, over and over. All
/// ranks call the same functions with the same arguments. One call at a time; bring() and release()
/// may come from the threads of backward().
class WeightShards {
 public:
  /// The handles stay valid; those of a unit that is not here have their shape and read as NaN. No
  /// rank waits for another: of the values that they come with the owners' count, and so does what
  /// is written into owned() before anything is gathered or brought. Of the options bucket_bytes
  /// means nothing here.
  WeightShards(UnitParameters parameters, const Communicator& ranks,
               const DataParallelOptions& options = {});
  ~WeightShards();
  WeightShards(const WeightShards&) = delete;
  WeightShards& operator=(const WeightShards&) = delete;

  /// As those of DataParallel.
  bool owns(size_t i) const;
  const std::vector<at::Tensor>& owned() const;

  /// Waits until the unit's weights are here and starts to bring those of the one after it (in the
  /// backward pass: before it).
  void bring(int64_t unit, bool backward);
  /// The unit has run. In the backward pass its parameters' gradients are there: they leave, and
  /// are added to those of earlier micro-batches where they arrive. What the next run needs at once
  /// stays: in a step the last unit between the passes, and the first one between micro-batches.
  void release(int64_t unit, bool backward);

  /// Before each micro-batch's forward pass.
  void before_backward(bool last);
  /// After the last backward pass: as that of DataParallel. A gradient that came to a unit's
  /// parameter from outside of its unit is a programming error (c10::Error).
  void reduce_gradients();
  /// As that of DataParallel; of a unit's gradients, which leave after every micro-batch, the sum
  /// of their norms.
  const at::Tensor& own_norms() const;
  /// Starts to bring every rank the resident weights and the first unit's as their owners have them
  /// now.
  void gather_weights();
  void wait_for_weights();

  /// Bytes of the masters that this rank keeps.
  int64_t owned_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace praxino
