// Records steps as CUDA graphs. A library of its own: it needs LibTorch's CUDA side at link time.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>

#include "step_graph_maker.h"

namespace praxino::ops {
namespace {

class CudaGraph final : public RecordedStep {
 public:
  void replay() override { graph_.replay(); }
  at::cuda::CUDAGraph& graph() { return graph_; }

 private:
  at::cuda::CUDAGraph graph_;
};

class CudaRecorder final : public StepRecorder {
 public:
  explicit CudaRecorder(const at::Device& device) : device_(device) {}

  // On a stream of its own, as a capture must be, after all that is queued on the current one.
  std::unique_ptr<RecordedStep> record(const std::function<void()>& step) override {
    const c10::cuda::CUDAGuard guard(device_);
    const c10::cuda::CUDAStream current = c10::cuda::getCurrentCUDAStream();
    const c10::cuda::CUDAStream side = c10::cuda::getStreamFromPool();
    current.synchronize();
    auto recorded = std::make_unique<CudaGraph>();
    {
      const c10::cuda::CUDAStreamGuard on_side(side);
      recorded->graph().capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      try {
        step();
      } catch (...) {
        end_quietly(recorded->graph());
        throw;
      }
      recorded->graph().capture_end();
    }
    return recorded;
  }

 private:
  // A capture that went wrong ends with an error of its own; the first one says more.
  static void end_quietly(at::cuda::CUDAGraph& graph) {
    try {
      graph.capture_end();
    } catch (const std::exception&) {
      cudaGetLastError();
    }
  }
  c10::Device device_;
};

}  // namespace

void use_cuda_graphs() {
  use_recorder_maker([](const at::Device& device) -> std::unique_ptr<StepRecorder> {
    if (!device.is_cuda()) return nullptr;
    return std::make_unique<CudaRecorder>(device);
  });
}

}  // namespace praxino::ops
