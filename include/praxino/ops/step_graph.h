#pragma once
// A step whose work on the GPU is recorded once for each shape and then replayed: a replay is one
// launch, where the step itself may be thousands. Where that cannot be done, the step runs as it
// is.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace praxino::ops {

/// A recorded step.
class RecordedStep {
 public:
  virtual ~RecordedStep() = default;
  /// Queues its work again, on the same addresses.
  virtual void replay() = 0;
};

/// What can record. praxino has one for CUDA; tests have their own.
class StepRecorder {
 public:
  virtual ~StepRecorder() = default;
  /// Calls `step` once while what it queues is recorded and not executed. Throws what the step
  /// throws, and c10::Error where the step cannot be recorded: it waited for the device, or copied
  /// from memory that is not page-locked.
  virtual std::unique_ptr<RecordedStep> record(const std::function<void()>& step) = 0;
};

/// CUDA graphs on the device (at::cuda::CUDAGraph: memory of a graph is its own). Null for other
/// devices, and where the program was linked without LibTorch's CUDA side (use_cuda_graphs()).
std::unique_ptr<StepRecorder> make_recorder(const at::Device& device);

/// Called once by a program that is linked with LibTorch's CUDA side, before make_recorder(). Only
/// in builds with CUDA, in the library praxino_cuda_graphs.
void use_cuda_graphs();

struct StepGraphOptions {
  std::string name = "step";  // for warnings
  int warm_up = 3;            // steps of a shape that run as they are before it is recorded
  size_t most_shapes = 4;     // that are recorded; each holds its own memory
  int most_moves = 2;         // how often watched memory may move before recording is given up
};

/// Runs a step, by replay where it can. Not thread-safe.
///
/// The step is a function of its inputs to its outputs, and of state at fixed addresses (weights,
/// moments, gradients that it makes itself). It must be the same work for inputs of the same sizes
/// and types: numbers that change from step to step are tensors, not host numbers, and nothing is
/// uploaded inside. It leaves nothing on the host but its outputs; recover() cleans up behind a
/// recording that failed (gradients whose values were never computed, for example).
class StepGraph {
 public:
  using Tensors = std::vector<at::Tensor>;
  using Step = std::function<Tensors(const Tensors& inputs)>;

  /// `recorder` null: every step runs as it is. `watched`: state whose addresses the step uses;
  /// where one moves, what was recorded is dropped and recorded anew.
  StepGraph(Step step, std::function<void()> recover, std::unique_ptr<StepRecorder> recorder,
            Tensors watched = {}, StepGraphOptions options = {});
  ~StepGraph();

  /// One step. Outputs of a replay are overwritten by the next one of their shape: use them, or
  /// queue their copies, before. Inputs are copied and not kept.
  Tensors run(const Tensors& inputs);

  /// Drops what was recorded; shapes are warmed up again.
  void invalidate();

  size_t recorded() const;                      // shapes that are replayed now
  int64_t replays() const { return replays_; }  // so far
  bool gave_up() const { return !recorder_; }   // no more recordings, or there never were

 private:
  using Key = std::vector<int64_t>;
  struct Shape {
    int runs = 0;
    bool failed = false;
    Tensors inputs, outputs;  // of the recording
    std::unique_ptr<RecordedStep> step;
  };
  Shape* shape_of(const Tensors& inputs);
  bool record(Shape& shape, const Tensors& inputs);
  void check_addresses();
  void give_up(const std::string& why);

  Step step_;
  std::function<void()> recover_;
  std::unique_ptr<StepRecorder> recorder_;
  Tensors watched_;
  StepGraphOptions options_;
  std::vector<const void*> addresses_;  // of watched_
  std::map<Key, Shape> shapes_;
  int moves_ = 0;
  int64_t replays_ = 0;
  bool said_full_ = false;
};

}  // namespace praxino::ops
