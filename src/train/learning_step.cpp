#include "learning_step.h"

#include <ATen/ops/zeros.h>

#include "praxino/base/log.h"

namespace praxino {
namespace {

using Tensors = std::vector<at::Tensor>;

/// The named terms of a micro-batch's loss, as its share of the step's: "train/mse".
void add_terms(std::vector<std::pair<std::string, at::Tensor>>& scalars, const Loss& loss,
               int64_t parts) {
  for (size_t i = 0; i < loss.terms.size(); ++i) {
    const at::Tensor share = loss.terms[i].second / static_cast<double>(parts);
    if (i == scalars.size()) {
      scalars.emplace_back("train/" + loss.terms[i].first, share);
    } else {
      scalars[i].second += share;
    }
  }
}

// A part as the inputs of a graph, and back.
constexpr size_t kInputs = 6;

void append_inputs(Tensors& to, const TrainingPart& part) {
  to.insert(to.end(), {part.input.z, part.input.signal, part.input.target, part.input.weight,
                       part.actions.values, part.actions.known});
}

TrainingPart part_of(const Tensors& inputs, size_t number) {
  const at::Tensor* of = inputs.data() + number * kInputs;
  return {
      .input = {.z = of[0], .signal = of[1], .target = of[2], .weight = of[3], .hide_actions = {}},
      .actions = {.values = of[4], .known = of[5]}};
}

Tensors trained(const World& world) {
  Tensors weights;
  for (const Parameter& parameter : world.model->parameters().all())
    weights.push_back(parameter.value);
  return weights;
}

}  // namespace

LearningStep::LearningStep(const RunConfig& config, const World& world, Optimizer& optimizer,
                           ShardedModel* sharded, StepWatch* watch)
    : config_(config), world_(world), optimizer_(optimizer), sharded_(sharded), watch_(watch) {
  if (!config.run.cuda_graphs) return;
  if (sharded != nullptr) {
    log::warning("run.cuda_graphs: not with several ranks; steps run as they are");
    return;
  }
  auto recorder = ops::make_recorder(world.device);
  if (!recorder) {
    log::warning("run.cuda_graphs: {} has none; steps run as they are", world.device.str());
    return;
  }
  // Gradients of a recording that failed were never computed.
  const auto recover = [&world] {
    for (const Parameter& parameter : world.model->parameters().all())
      parameter.value.mutable_grad() = at::Tensor();
  };
  graph_ = std::make_unique<ops::StepGraph>(
      [this](const Tensors& inputs) { return learn_from(inputs); }, recover, std::move(recorder),
      trained(world), ops::StepGraphOptions{.name = "the training step"});
}

LearningStep::~LearningStep() = default;

LearningStep::Result LearningStep::run(const NextPart& next_part,
                                       const std::function<double()>& rate) {
  // What wrote weights since the step before: a restored checkpoint, averages that came and went.
  if (sharded_ == nullptr) refresh_copies(world_.model->parameters());
  if (graph_ && optimizer_.recordable()) return replayed(next_part, rate);
  Result result = learn(next_part, rate);
  if (graph_ && !optimizer_.recordable() && !std::exchange(said_not_recordable_, true)) {
    log::warning(
        "run.cuda_graphs: the optimizer's kernels do not serve here, and its formulas cannot be "
        "recorded; steps run as they are");
  }
  return result;
}

// Without `rate`, at the rate that was set.
LearningStep::Result LearningStep::learn(const NextPart& next_part,
                                         const std::function<double()>& rate) {
  const int64_t parts = config_.optim.gradient_accumulation;
  at::Tensor total = at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(world_.device));
  Result result;
  for (int64_t i = 0; i < parts; ++i) {
    const TrainingPart part = next_part();
    if (sharded_ != nullptr) sharded_->before_micro_batch(i + 1 == parts);
    if (watch_ != nullptr && i == 0) watch_->weights_arrived();
    const Loss loss = learn_micro_batch(world_, part, parts);
    total += loss.total.detach();
    add_terms(result.scalars, loss, parts);
  }
  result.scalars.emplace_back("train/loss", total);
  if (watch_ != nullptr) watch_->backward_done();
  if (sharded_ != nullptr) sharded_->finish_gradients(result.scalars);
  if (rate) optimizer_.set_rate(rate());
  result.stats = optimizer_.step(result.scalars.back().second);
  if (sharded_ != nullptr) sharded_->start_sharing_weights();
  result.scalars.insert(result.scalars.end(), {{"train/grad_norm", result.stats.gradient_norm},
                                               {"skipped", result.stats.skipped}});
  if (sharded_ != nullptr) {
    result.scalars.insert(
        result.scalars.end(),
        {{"own/loss", total}, {"own/spoiled_gradient", sharded_->spoiled_gradient()}});
  }
  return result;
}

// The same as a function of tensors to tensors: the log's scalars, the last two of them the norm
// and whether the step was skipped.
Tensors LearningStep::learn_from(const Tensors& inputs) {
  size_t number = 0;
  const Result result = learn([&] { return part_of(inputs, number++); }, {});
  Tensors outputs;
  names_.clear();
  for (const auto& [name, value] : result.scalars) {
    names_.push_back(name);
    outputs.push_back(value);
  }
  return outputs;
}

LearningStep::Result LearningStep::replayed(const NextPart& next_part,
                                            const std::function<double()>& rate) {
  Tensors inputs;
  for (int64_t i = 0; i < config_.optim.gradient_accumulation; ++i)
    append_inputs(inputs, next_part());
  const double factor = rate();
  optimizer_.set_rate(factor);
  const Tensors outputs = graph_->run(inputs);
  Result result;
  for (size_t i = 0; i < outputs.size(); ++i) result.scalars.emplace_back(names_[i], outputs[i]);
  result.stats = {.gradient_norm = outputs[outputs.size() - 2],
                  .skipped = outputs.back(),
                  .learning_rate = config_.optim.lr * factor};
  return result;
}

}  // namespace praxino
