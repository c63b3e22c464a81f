#include "praxino/rollout/session.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <c10/util/Exception.h>

#include <string_view>
#include <vector>

#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/base/random.h"
#include "praxino/base/signals.h"
#include "praxino/ops/step_graph.h"
#include "rollout/sampler.h"

namespace praxino {

struct Session::State {
  const World* world = nullptr;
  int64_t batch = 0;
  SessionOptions options;  // resolved: no defaults left
  std::unique_ptr<KeyValueCache> cache;
  int64_t frames = 0;
  std::unique_ptr<ops::StepGraph> graph;  // of decode_at() over a full cache; null: none is wanted

  /// Noise for the frame that comes next, B 1 N D: each row from its own key, so that a row does
  /// not depend on which others it is batched with.
  at::Tensor noise(std::string_view stream) const {
    const TokenGrid& grid = world->model->grid();
    std::vector<at::Tensor> rows;
    for (int64_t b = 0; b < batch; ++b) {
      const uint64_t key =
          derive_seed(options.seed, "rollout.row", static_cast<uint64_t>(options.first_row + b));
      rows.push_back(
          keyed_normal({1, grid.count(), grid.width}, key, stream, static_cast<uint64_t>(frames)));
    }
    return at::stack(rows).to(world->device);
  }

  void start_graph() {
    if (!options.cuda_graphs.value_or(world->config.run.cuda_graphs) || !world->model->recordable())
      return;
    auto recorder = ops::make_recorder(world->device);
    if (!recorder) {
      if (options.cuda_graphs.has_value())
        log::warning("{} has no CUDA graphs; rollouts run as they are", world->device.str());
      return;
    }
    std::vector<at::Tensor> weights;
    for (const Parameter& parameter : world->model->parameters().all())
      weights.push_back(parameter.value);
    const auto step = [this](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
      return {world->model->decode_at(in[0], in[1], {in[2], in[3]}, {in[4], in[5]}, *cache)};
    };
    // Nothing is left behind by a recording that failed: the frame's slot is written anew.
    graph = std::make_unique<ops::StepGraph>(
        step, [] {}, std::move(recorder), std::move(weights),
        ops::StepGraphOptions{.name = "a frame of the rollout", .most_shapes = 1});
  }

  at::Tensor decode(const at::Tensor& z, double tau, const ActionBatch& actions, bool append) {
    const WorldModel& model = *world->model;
    const at::Tensor signal = at::full({batch, 1}, tau, z.options());
    const CachePlace place = model.place(*cache);
    // While the cache fills, each frame sees one more than the last: not worth a recording each.
    const bool replays = graph && cache->full();
    if (replays) refresh_copies(model.parameters());  // of which a recording may read
    const at::Tensor prediction =
        replays ? graph->run({z, signal, actions.values, actions.known, place.slot, place.times})[0]
                : model.decode_at(z, signal, actions, place, *cache);
    if (append) model.append(z, signal, *cache);
    return prediction;
  }

  /// Writes one clean frame (B 1 N D) into the cache, re-noised to the level at which training saw
  /// the past.
  void remember(const at::Tensor& tokens, const ActionBatch& actions) {
    const double tau = 1.0 - options.context_noise;
    decode(mix_noise(tokens, noise("rollout.context"), tau), tau, actions, /*append=*/true);
    ++frames;
  }

  ActionBatch on_device(const ActionBatch& actions, int64_t count) const {
    const auto width = static_cast<int64_t>(world->fields.size());
    TORCH_CHECK(actions.values.sizes() == at::IntArrayRef({batch, count, width}),
                "Session: actions are ", actions.values.sizes(), " but B T A is ",
                at::IntArrayRef({batch, count, width}));
    TORCH_CHECK(actions.known.sizes() == at::IntArrayRef({batch, count}),
                "Session: the mask of known actions is ", actions.known.sizes(), " but B T is ",
                at::IntArrayRef({batch, count}));
    return {actions.values.to(world->device, at::kFloat),
            actions.known.to(world->device, at::kBool)};
  }
};

Session::Session(const World& world, int64_t batch, const SessionOptions& options)
    : state_(std::make_unique<State>()) {
  TORCH_CHECK(batch >= 1, "Session: a batch has at least one row, got ", batch);
  state_->world = &world;
  state_->batch = batch;
  state_->options = options;
  SessionOptions& resolved = state_->options;
  if (resolved.steps <= 0) resolved.steps = world.config.objective.sampler_steps;
  if (resolved.context_noise < 0) resolved.context_noise = world.config.objective.context_noise;
  const at::NoGradGuard no_grad;
  state_->cache = world.model->make_cache(batch, resolved.window);
  state_->start_graph();
}

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

// Gradients are switched off by NoGradGuard, not by InferenceMode: tensors made in the latter could
// not be changed in place by the caller, and weights that the model derives from its parameters
// would be lost for training.

void Session::observe(const at::Tensor& frames, const ActionBatch& actions) {
  const at::NoGradGuard no_grad;
  const ActionBatch all = state_->on_device(actions, frames.size(1));
  const at::Tensor tokens =
      state_->world->tokenizer->encode(frames.to(state_->world->device)).values;
  for (int64_t t = 0; t < frames.size(1); ++t) {
    state_->remember(tokens.narrow(1, t, 1), narrow_actions(all, t, 1));
  }
}

at::Tensor Session::imagine(const ActionBatch& actions) {
  TORCH_CHECK(state_->frames > 0, "Session: imagine() needs at least one observed frame");
  const at::NoGradGuard no_grad;
  const ActionBatch into = state_->on_device(actions, 1);
  const auto predict = [&](const at::Tensor& z, double tau) {
    return state_->decode(z, tau, into, /*append=*/false);
  };
  const at::Tensor tokens =
      sample_frame(predict, state_->noise("rollout.frame"), state_->options.steps);
  if (!tokens.isfinite().all().item<bool>()) {
    fail(
        "the model's prediction of frame {} is not finite: the weights of step {} are damaged or "
        "have diverged; "
        "use an earlier checkpoint",
        state_->frames, state_->world->step);
  }
  const at::Tensor picture = state_->world->tokenizer->decode(tokens);
  state_->remember(state_->world->tokenizer->encode(picture).values, into);
  return picture.select(1, 0);
}

Session Session::branch() const {
  auto state = std::make_unique<State>();
  state->world = state_->world;
  state->batch = state_->batch;
  state->options = state_->options;
  state->cache = state_->cache->clone();
  state->frames = state_->frames;
  state->start_graph();
  return Session(std::move(state));
}

int64_t Session::frames() const { return state_->frames; }
int64_t Session::replays() const { return state_->graph ? state_->graph->replays() : 0; }
int64_t Session::bytes() const { return state_->cache->bytes(); }

ActionBatch narrow_actions(const ActionBatch& actions, int64_t first, int64_t count) {
  return {actions.values.narrow(1, first, count), actions.known.narrow(1, first, count)};
}

at::Tensor roll_out(Session& session, const at::Tensor& frames, const ActionBatch& actions,
                    int64_t context, const std::function<void(int64_t)>& after_frame) {
  const at::Tensor given = frames.narrow(1, 0, context);
  session.observe(given, narrow_actions(actions, 0, context));
  std::vector<at::Tensor> pictures{given.to(at::kCPU)};
  for (int64_t t = context; t < actions.values.size(1); ++t) {
    throw_if_stopped();
    pictures.push_back(session.imagine(narrow_actions(actions, t, 1)).to(at::kCPU).unsqueeze(1));
    if (after_frame) after_frame(t - context + 1);
  }
  return at::cat(pictures, 1);
}

}  // namespace praxino
