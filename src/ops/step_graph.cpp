#include "praxino/ops/step_graph.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

#include "praxino/base/first_line.h"
#include "praxino/base/log.h"
#include "step_graph_maker.h"

namespace praxino::ops {
namespace {

RecorderMaker& maker() {
  static RecorderMaker made = nullptr;
  return made;
}

std::vector<const void*> addresses_of(const std::vector<at::Tensor>& tensors) {
  std::vector<const void*> addresses;
  for (const at::Tensor& tensor : tensors) addresses.push_back(tensor.const_data_ptr());
  return addresses;
}

}  // namespace

void use_recorder_maker(RecorderMaker make) { maker() = make; }

std::unique_ptr<StepRecorder> make_recorder(const at::Device& device) {
  return maker() != nullptr ? maker()(device) : nullptr;
}

StepGraph::StepGraph(Step step, std::function<void()> recover,
                     std::unique_ptr<StepRecorder> recorder, Tensors watched,
                     StepGraphOptions options)
    : step_(std::move(step)),
      recover_(std::move(recover)),
      recorder_(std::move(recorder)),
      watched_(std::move(watched)),
      options_(std::move(options)),
      addresses_(addresses_of(watched_)) {
  TORCH_CHECK(options_.warm_up >= 1, "StepGraph: a step must run once before it is recorded");
}

StepGraph::~StepGraph() = default;

void StepGraph::invalidate() { shapes_.clear(); }

size_t StepGraph::recorded() const {
  return static_cast<size_t>(std::ranges::count_if(
      shapes_, [](const auto& entry) { return entry.second.step != nullptr; }));
}

void StepGraph::give_up(const std::string& why) {
  log::warning("{}: CUDA graphs are given up, which is slower and otherwise the same: {}",
               options_.name, why);
  recorder_.reset();
  shapes_.clear();
}

void StepGraph::check_addresses() {
  std::vector<const void*> now = addresses_of(watched_);
  if (now == addresses_) return;
  addresses_ = std::move(now);
  invalidate();
  if (++moves_ > options_.most_moves) give_up("the memory of weights or states keeps moving");
}

// Sizes, type and device of every input; null where there are too many shapes already.
StepGraph::Shape* StepGraph::shape_of(const Tensors& inputs) {
  Key key;
  for (const at::Tensor& input : inputs) {
    key.push_back(static_cast<int64_t>(input.scalar_type()));
    key.push_back(static_cast<int64_t>(input.device().type()) * 1024 + input.device().index());
    key.push_back(input.dim());
    key.insert(key.end(), input.sizes().begin(), input.sizes().end());
  }
  const auto found = shapes_.find(key);
  if (found != shapes_.end()) return &found->second;
  if (shapes_.size() < options_.most_shapes) return &shapes_[std::move(key)];
  if (!std::exchange(said_full_, true)) {
    log::warning("{}: more than {} shapes; further ones run without CUDA graphs", options_.name,
                 options_.most_shapes);
  }
  return nullptr;
}

bool StepGraph::record(Shape& shape, const Tensors& inputs) {
  try {
    for (const at::Tensor& input : inputs) shape.inputs.push_back(input.detach().clone());
    shape.step = recorder_->record([&] { shape.outputs = step_(shape.inputs); });
    return true;
  } catch (const std::exception& error) {
    const std::string why = first_line(error);
    recover_();
    shape = {.runs = 0, .failed = true, .inputs = {}, .outputs = {}, .step = nullptr};
    log::warning("{}: this shape runs without CUDA graphs, it cannot be recorded: {}",
                 options_.name, why);
    return false;
  }
}

StepGraph::Tensors StepGraph::run(const Tensors& inputs) {
  if (recorder_) check_addresses();
  Shape* shape = recorder_ ? shape_of(inputs) : nullptr;
  if (shape == nullptr || shape->failed) return step_(inputs);
  if (!shape->step) {
    if (shape->runs++ < options_.warm_up || !record(*shape, inputs)) return step_(inputs);
  } else {
    for (size_t i = 0; i < inputs.size(); ++i)
      shape->inputs[i].copy_(inputs[i], /*non_blocking=*/true);
  }
  shape->step->replay();
  ++replays_;
  return shape->outputs;
}

}  // namespace praxino::ops
