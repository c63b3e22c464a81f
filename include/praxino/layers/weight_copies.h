#pragma once
// bfloat16 copies of a model's matrices, kept beside the float32 masters so that no pass through
// the model rounds them again. What writes a master writes its copy: the kernels of the optimizer
// in the pass that updates the weight (ops/parameter_update.h), everything else by
// refresh_copies(). A copy that does not belong to its weight as it is now is never read: the
// weight is rounded then, to the same bits, as where no copy is kept.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace praxino {

class Parameters;

/// The copy of one matrix, shared by its Parameter and the layer that multiplies with it; empty
/// until keep_copies(). It belongs to its weight while the weight's version counter and memory are
/// those of the last written(). Reading is thread-safe.
class WeightCopy {
 public:
  /// The copy where it is that of `weight` as it is now, else undefined.
  at::Tensor of(const at::Tensor& weight) const;
  /// Of the weight's sizes, whatever it holds; undefined where none is kept.
  const at::Tensor& memory() const { return memory_; }
  /// Has the memory hold what rounding `weight` gives.
  void written(const at::Tensor& weight);
  /// The weight changes in a way that its version counter does not show.
  void forget() { written_ = false; }
  /// The memory, for an optimizer whose kernels write it wherever they write the weight: where the
  /// copy belonged to it before such a step, it does afterwards, taken or skipped.
  const at::Tensor& lend();

 private:
  friend void keep_copies(const Parameters& parameters);
  at::Tensor memory_;
  bool written_ = false;
  bool lent_ = false;
  int64_t version_ = 0;            // of the weight, when it was written
  const void* address_ = nullptr;  // of the weight then
};

/// Makes room for the copies of all matrices (ParameterRole::kMatrix) in one flat piece of memory
/// beside them, which stays where it is. Nothing is rounded yet. Once; before an optimizer that
/// lends copies takes its first step (c10::Error).
void keep_copies(const Parameters& parameters);

/// Rounds the weights whose copies are not theirs; nothing where all are. Never while a step is
/// recorded (ops/step_graph.h), and not beside other calls over the same parameters.
void refresh_copies(const Parameters& parameters);

/// WeightCopy::forget() of all.
void forget_copies(const Parameters& parameters);

}  // namespace praxino
