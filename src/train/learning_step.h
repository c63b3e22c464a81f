#pragma once
// Forward, loss, backward and update: the part of a training step that is the same work every time,
// and that a GPU can therefore replay (praxino/ops/step_graph.h).

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "micro_batch.h"
#include "praxino/ops/step_graph.h"
#include "praxino/optim/optimizer.h"
#include "sharded_model.h"
#include "step_watch.h"

namespace praxino {

/// Borrows world, optimizer and, where several ranks train, this one's share and what watches its
/// steps. Not thread-safe.
class LearningStep {
 public:
  struct Result {
    StepStats stats;
    std::vector<std::pair<std::string, at::Tensor>> scalars;  // for the log, on the device
  };
  LearningStep(const RunConfig& config, const World& world, Optimizer& optimizer,
               ShardedModel* sharded = nullptr, StepWatch* watch = nullptr);
  ~LearningStep();

  using NextPart = std::function<TrainingPart()>;
  /// One optimizer step over optim.gradient_accumulation parts, each asked for once, in order, then
  /// the factor of the learning rates. The result's tensors hold until the next call.
  Result run(const NextPart& next_part, const std::function<double()>& rate);

 private:
  using Tensors = std::vector<at::Tensor>;
  Result learn(const NextPart& next_part, const std::function<double()>& rate);
  Result replayed(const NextPart& next_part, const std::function<double()>& rate);
  Tensors learn_from(const Tensors& inputs);

  const RunConfig& config_;
  const World& world_;
  Optimizer& optimizer_;
  ShardedModel* sharded_;                  // null: one process keeps all parameters
  StepWatch* watch_;                       // null: nobody asks
  std::unique_ptr<ops::StepGraph> graph_;  // null: run.cuda_graphs is off
  std::vector<std::string> names_;         // of the scalars
  bool said_not_recordable_ = false;
};

}  // namespace praxino
