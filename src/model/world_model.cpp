#include "praxino/model/world_model.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Generator.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <numeric>

#include "action_encoder.h"
#include "praxino/layers/block.h"
#include "praxino/layers/checkpointing.h"
#include "praxino/layers/embeddings.h"
#include "praxino/ops/norm.h"
#include "praxino/ops/planned_device.h"
#include "praxino/ops/upload.h"

namespace praxino {
namespace {

constexpr int64_t kSignalFeatures = 64;
constexpr int64_t kGateFeatures = 16;
constexpr double kDataDeviation = 0.5;  // of tokens, as EDM (arXiv 2206.00364) takes it for pixels

AttentionShape attention_shape(const ModelConfig& c, int64_t layer, int64_t clip_frames) {
  AttentionShape shape{
      .width = c.width, .heads = c.heads, .kv_heads = c.kv_heads > 0 ? c.kv_heads : c.heads};
  shape.window = {.window = c.window > 0 ? c.window : clip_frames, .sinks = c.sinks};
  if (c.attention == "frame_causal") {
    shape.kind = AttentionKind::kFrameCausal;
  } else {
    shape.kind = (layer + 1) % c.time_every == 0 ? AttentionKind::kTime : AttentionKind::kSpace;
  }
  return shape;
}

}  // namespace

struct KeyValueCache::State {
  CacheSlots slots;
  int64_t frames = 0;
  std::vector<LayerCache> layers;  // undefined tensors for space layers
  at::Tensor previous_z;           // B 1 N D
  at::Tensor previous_signal;      // B 1
  CachePlace place;                // of frame number `placed`
  int64_t placed = -1;
};

/// The positions that each kind of block sees.
struct BlockPositions {
  AttentionPositions space;  // inside a frame
  AttentionPositions video;  // of the kind that sees other frames
  int64_t tokens = 0;        // of a frame

  AttentionPositions of(const Block& block, const TokenShares& shares) const {
    switch (block.attention().shape().kind) {
      case AttentionKind::kSpace: return space;
      case AttentionKind::kFrameCausal: return video;
      case AttentionKind::kTime: break;
    }
    // Along time every place of a frame has the same angles: those of as many as are here.
    const int64_t here = std::reduce(shares.tokens.begin(), shares.tokens.end());
    if (here == tokens) return video;
    const auto first = [&](const at::Tensor& table) {
      return table.view({-1, tokens, table.size(-1)}).narrow(1, 0, here).flatten(0, 1);
    };
    const auto narrowed = [&](const ops::RopeTable& table) {
      return ops::RopeTable{.cos = first(table.cos), .sin = first(table.sin)};
    };
    return {.queries = narrowed(video.queries), .keys = narrowed(video.keys)};
  }
};

at::Tensor of_frames(const at::Tensor& values, const Share& frames) {
  return values.narrow(1, frames.begin, frames.count);
}

struct WorldModel::State {
  ModelConfig config;
  TokenGrid grid;
  std::vector<ActionField> fields;
  WorldModelOptions options;
  Parameters parameters;
  // Members in order of use, which is their order in a checkpoint.
  Linear input;
  at::Tensor places;     // N D: learned position in the picture
  at::Tensor registers;  // R D
  std::vector<SmallMlp> signal;
  std::vector<ActionEncoder> actions;
  std::vector<Block> blocks;
  std::vector<int64_t> block_of;  // of each parameter; -1: outside of the blocks
  std::function<CheckpointHooks(int64_t)> block_hooks;
  Linear head_modulation, head;
  Linear gates;
  AttentionPositions space;  // inside a frame: the same for every frame

  int64_t tokens() const { return config.registers + grid.count(); }  // of a frame, registers first
  /// Of some tokens of a frame those of the tokenizer, as it counts them.
  Share grid_part(const Share& own) const {
    const int64_t begin = std::max<int64_t>(own.begin - config.registers, 0);
    return {.begin = begin,
            .count = std::max<int64_t>(own.end() - config.registers, begin) - begin};
  }
  at::Generator generator() const {  // of the initial weights
    return at::make_generator<at::CPUGeneratorImpl>(options.seed);
  }
  at::ScalarType compute() const { return options.bf16 ? at::kBFloat16 : at::kFloat; }
  // A CPU attends to its cache in float32; a GPU's kernels take what the model computes in.
  at::ScalarType remembered() const {
    const at::Tensor here = at::empty({0}, at::TensorOptions().device(options.device));
    return ops::computing_device(here) == at::kCPU ? at::kFloat : compute();
  }

  CheckpointHooks hooks_of(size_t block) const {
    return block_hooks ? block_hooks(static_cast<int64_t>(block)) : CheckpointHooks();
  }

  // What a run without gradients gives, which block_hooks is told of.
  template <class Run>
  at::Tensor told(size_t block, const Run& run) const {
    const CheckpointHooks hooks = hooks_of(block);
    if (hooks.before) hooks.before(Pass::kForward);
    at::Tensor result = run();
    if (hooks.after) hooks.after(Pass::kForward);
    return result;
  }

  void build();
  at::Tensor scaled(const at::Tensor& z, const at::Tensor& signal_BT) const;
  at::Tensor embed(const at::Tensor& z, const Share& frames, const Share& own) const;
  at::Tensor own_tokens(const at::Tensor& z, const Share& frames, const Share& own) const;
  at::Tensor condition(const at::Tensor& signal_BT, const ActionBatch& batch) const;
  ops::RopeTable positions(AttentionKind kind, const at::Tensor& times) const;
  BlockPositions block_positions(const at::Tensor& queries, const at::Tensor& keys) const;
  at::Tensor counted(int64_t frames) const;
  at::Tensor predict(const at::Tensor& x, const at::Tensor& condition, const Share& own) const;
  at::Tensor skip(const at::Tensor& z, const at::Tensor& signal, const at::Tensor& previous_z,
                  const at::Tensor& previous_signal) const;
};

void WorldModel::State::build() {
  const ParameterScope scope(parameters, options.drawn ? generator() : at::Generator(),
                             options.device);
  const LinearOptions border{.bias = true, .role = ParameterRole::kProjection};
  const LinearOptions silent{.bias = true, .deviation = 0, .role = ParameterRole::kProjection};
  const int64_t d = config.width;
  input = Linear(scope.child("input"), grid.width, d, border);
  places = scope.normal("places", {grid.count(), d}, 0.02, ParameterRole::kVector);
  if (config.registers > 0)
    registers = scope.normal("registers", {config.registers, d}, 0.02, ParameterRole::kVector);
  signal.emplace_back(scope.child("signal"), kSignalFeatures, d);
  actions.emplace_back(scope.child("actions"), fields, d);
  for (int64_t i = 0; i < config.depth; ++i) {
    const BlockShape shape{.attention = attention_shape(config, i, options.clip_frames),
                           .mlp_ratio = config.mlp_ratio,
                           .compute = compute()};
    block_of.resize(parameters.all().size(), -1);
    blocks.emplace_back(scope.child("blocks." + std::to_string(i)), shape, options.ranks);
    block_of.resize(parameters.all().size(), i);
  }
  head_modulation = Linear(scope.child("head_modulation"), d, 2 * d, silent);
  head = Linear(scope.child("head"), d, grid.width, silent);
  if (config.temporal_preconditioning)
    gates = Linear(scope.child("gates"), 2 * kGateFeatures, 2, silent);
  block_of.resize(parameters.all().size(), -1);
  const ops::RopeTable inside = positions(AttentionKind::kSpace, counted(1));
  space = {.queries = inside, .keys = inside};
}

// The best linear estimate of x from z = (1 - tau) noise + tau x, for x of deviation
// kDataDeviation.
at::Tensor WorldModel::State::scaled(const at::Tensor& z, const at::Tensor& signal_BT) const {
  if (!config.input_scaling) return z;
  const at::Tensor tau = signal_BT.unsqueeze(-1).unsqueeze(-1);
  const at::Tensor power = tau * (kDataDeviation * kDataDeviation);
  return z * (power / (tau * power + (1 - tau).square()));
}

// Those of B T N D of the tokenizer among the tokens `own` of `frames`: registers are no tokens of
// the tokenizer.
at::Tensor WorldModel::State::own_tokens(const at::Tensor& z, const Share& frames,
                                         const Share& own) const {
  const Share kept = grid_part(own);
  return z.narrow(1, frames.begin, frames.count).narrow(2, kept.begin, kept.count);
}

// B T N D of the tokenizer -> the tokens `own` of `frames`, of T (R + N): B T n width
at::Tensor WorldModel::State::embed(const at::Tensor& z, const Share& frames,
                                    const Share& own) const {
  const Share kept = grid_part(own);
  const at::Tensor x = input(own_tokens(z, frames, own)) + places.narrow(0, kept.begin, kept.count);
  const int64_t held = own.count - kept.count;  // registers, which come first
  if (held == 0) return x;
  const at::Tensor first = registers.narrow(0, own.begin, held);
  return at::cat({first.expand({x.size(0), x.size(1), held, config.width}), x}, 2);
}

at::Tensor WorldModel::State::condition(const at::Tensor& signal_BT,
                                        const ActionBatch& batch) const {
  return at::silu(signal.front().forward(fourier_features(signal_BT, kSignalFeatures)) +
                  actions.front().forward(batch.values, batch.known));
}

// 0, 1, .. frames - 1, counted on the device.
at::Tensor WorldModel::State::counted(int64_t frames) const {
  return at::arange(frames, at::TensorOptions().dtype(at::kFloat).device(options.device));
}

// Rotary angles of every token of frames at `times` (T): (T (R + N)) K / 2. Registers sit at the
// picture's middle. Nothing is uploaded: a step that uploads nothing can be recorded.
ops::RopeTable WorldModel::State::positions(AttentionKind kind, const at::Tensor& times) const {
  // In integers: a GPU's floating division by a whole number may fall one below it.
  const at::Tensor index = at::arange(grid.count(), times.options().dtype(at::kLong));
  const at::Tensor row = index.div(grid.columns, "floor");
  at::Tensor place = at::stack({row, index - row * grid.columns}, 1).to(at::kFloat);
  if (config.registers > 0)
    place = at::cat({place.mean(0, true).expand({config.registers, 2}), place}, 0);
  const int64_t t = times.size(0), k = config.width / config.heads;
  const at::Tensor time = times.unsqueeze(1).expand({t, tokens()}).reshape({-1, 1});
  const ops::RopeSplit split = kind == AttentionKind::kSpace  ? ops::rope_split_space(k)
                               : kind == AttentionKind::kTime ? ops::rope_split_time(k)
                                                              : ops::rope_split_video(k);
  return ops::rope_table(at::cat({time, place.repeat({t, 1})}, 1), split, config.rope_base);
}

// Times of queries and of keys; the same tensor where they are the same.
BlockPositions WorldModel::State::block_positions(const at::Tensor& queries,
                                                  const at::Tensor& keys) const {
  const AttentionKind across =
      config.attention == "frame_causal" ? AttentionKind::kFrameCausal : AttentionKind::kTime;
  const ops::RopeTable q = positions(across, queries);
  return {.space = space,
          .video = {.queries = q, .keys = queries.is_same(keys) ? q : positions(across, keys)},
          .tokens = tokens()};
}

// Drops the registers and leaves the blocks: B T n width of the tokens `own` -> B T n D of the
// tokenizer's.
at::Tensor WorldModel::State::predict(const at::Tensor& x, const at::Tensor& condition,
                                      const Share& own) const {
  const int64_t kept = grid_part(own).count;
  const std::vector<at::Tensor> m = head_modulation(condition).chunk(2, -1);
  return head(ops::norm_modulate(x.narrow(2, own.count - kept, kept), m[0], m[1], at::kFloat));
}

// Temporal preconditioning: what can be said without a network, a * z + b * previous frame, with
// gates that know how noisy both are. They start at nothing.
at::Tensor WorldModel::State::skip(const at::Tensor& z, const at::Tensor& signal_BT,
                                   const at::Tensor& previous_z,
                                   const at::Tensor& previous_signal) const {
  const at::Tensor features = at::cat({fourier_features(signal_BT / 4, kGateFeatures),
                                       fourier_features(previous_signal / 4, kGateFeatures)},
                                      -1);
  const at::Tensor ab = gates(features).unsqueeze(-1);  // B T 2 1
  return z * ab.narrow(2, 0, 1) + previous_z * ab.narrow(2, 1, 1);
}

WorldModel::WorldModel(const ModelConfig& config, const TokenGrid& grid,
                       std::vector<ActionField> fields, const WorldModelOptions& options)
    : state_(std::make_unique<State>()) {
  state_->config = config;
  state_->grid = grid;
  state_->fields = std::move(fields);
  state_->options = options;
  state_->build();
}

WorldModel::~WorldModel() = default;

at::Tensor WorldModel::forward(const at::Tensor& noisy, const at::Tensor& signal,
                               const ActionBatch& actions) const {
  const State& s = *state_;
  const at::Tensor z = s.scaled(noisy, signal);
  const at::Tensor times = s.counted(z.size(1));
  const BlockPositions positions = s.block_positions(times, times);
  const SharedClip clip(s.options.ranks, z.size(1), s.tokens());

  const at::Tensor condition = s.condition(signal, actions);
  bool along_time = false;
  at::Tensor x = s.embed(z, clip.frames(along_time), clip.tokens(along_time));
  for (size_t i = 0; i < s.blocks.size(); ++i) {
    const Block& block = s.blocks[i];
    const bool turned = block.attention().shape().kind == AttentionKind::kTime;
    if (turned != along_time) x = clip.turn(x, turned);
    along_time = turned;
    TokenShares shares = clip.shares(along_time);
    // A checkpointed block's backward pass comes right behind its second run, which gathers.
    shares.keep_gathered = s.config.activation_checkpointing;
    const auto run = [&block, shares, own = positions.of(block, shares)](const at::Tensor& in,
                                                                         const at::Tensor& c) {
      return block.forward(in, c, own, shares);
    };
    const at::Tensor c = of_frames(condition, clip.frames(along_time));
    x = s.config.activation_checkpointing && at::GradMode::is_enabled()
            ? checkpointed(run, x, c, s.hooks_of(i))
            : s.told(i, [&] { return run(x, c); });
  }
  const Share frames = clip.frames(along_time), own = clip.tokens(along_time);
  at::Tensor prediction = s.predict(x, of_frames(condition, frames), own);
  if (s.config.temporal_preconditioning) {
    const auto shifted = [](const at::Tensor& v) {  // frame t sees t - 1; before the first: nothing
      return at::cat({v.new_zeros(v.narrow(1, 0, 1).sizes()), v.narrow(1, 0, v.size(1) - 1)}, 1);
    };
    prediction = prediction + s.skip(s.own_tokens(z, frames, own), of_frames(signal, frames),
                                     s.own_tokens(shifted(z), frames, own),
                                     of_frames(shifted(signal), frames));
  }
  return clip.collect(prediction, along_time, s.config.registers);
}

std::unique_ptr<KeyValueCache> WorldModel::make_cache(int64_t batch, int64_t window) const {
  const State& s = *state_;
  auto cache = std::make_unique<KeyValueCache::State>();
  const ops::FrameWindow seen = s.blocks.front().attention().shape().window;
  cache->slots = {.window = window > 0 ? window : seen.window, .sinks = seen.sinks};
  const auto options = at::TensorOptions().dtype(at::kFloat).device(s.options.device);
  for (const Block& block : s.blocks) {
    const AttentionShape& shape = block.attention().shape();
    LayerCache layer;
    if (shape.kind != AttentionKind::kSpace) {
      layer.keys = at::zeros({batch, cache->slots.capacity(), s.tokens(),
                              block.attention().own_kv_heads(), shape.head_width()},
                             options.dtype(s.remembered()));
      layer.values = at::zeros_like(layer.keys);
    }
    cache->layers.push_back(std::move(layer));
  }
  cache->previous_z = at::zeros({batch, 1, s.grid.count(), s.grid.width}, options);
  cache->previous_signal = at::zeros({batch, 1}, options);
  return std::make_unique<KeyValueCache>(std::move(cache));
}

CachePlace WorldModel::place(KeyValueCache& cache) const {
  KeyValueCache::State& past = cache.state();
  if (past.placed == past.frames) return past.place;
  const std::vector<int64_t> order = past.slots.order(past.frames);
  const int64_t slot = past.slots.slot(past.frames);
  std::vector<int64_t> times = {order[static_cast<size_t>(slot)]};
  times.insert(times.end(), order.begin(), order.end());
  const at::Device device = state_->options.device;
  past.place = {.slot = ops::upload(at::tensor({slot}, at::kLong), device),
                .times = ops::upload(at::tensor(times, at::kFloat), device)};
  past.placed = past.frames;
  return past.place;
}

at::Tensor WorldModel::decode_at(const at::Tensor& noisy, const at::Tensor& signal,
                                 const ActionBatch& actions, const CachePlace& place,
                                 KeyValueCache& cache) const {
  const State& s = *state_;
  const at::Tensor z = s.scaled(noisy, signal);
  KeyValueCache::State& past = cache.state();
  const int64_t used = place.times.size(0) - 1;
  const CachedFrame frame{.slot = place.slot, .used = used};
  const BlockPositions positions =
      s.block_positions(place.times.narrow(0, 0, 1), place.times.narrow(0, 1, used));

  // One frame is not split: context ranks do the same work.
  const SharedClip clip(s.options.ranks, 1, s.tokens(), /*split_frames=*/false);
  const Share frames = clip.frames(false), own = clip.tokens(false);
  const TokenShares shares = clip.shares(false);
  const at::Tensor condition = s.condition(signal, actions);
  at::Tensor x = s.embed(z, frames, own);
  for (size_t i = 0; i < s.blocks.size(); ++i) {
    x = s.told(i, [&] {
      return s.blocks[i].step(x, condition, positions.of(s.blocks[i], shares), frame,
                              past.layers[i], shares);
    });
  }
  at::Tensor prediction = s.predict(x, condition, own);
  if (s.config.temporal_preconditioning) {
    prediction =
        prediction + s.skip(s.own_tokens(z, frames, own), signal,
                            s.own_tokens(past.previous_z, frames, own), past.previous_signal);
  }
  return clip.collect(prediction, false, s.config.registers);
}

void WorldModel::append(const at::Tensor& z, const at::Tensor& signal, KeyValueCache& cache) const {
  KeyValueCache::State& past = cache.state();
  past.previous_z.copy_(state_->scaled(z, signal));
  past.previous_signal.copy_(signal);
  ++past.frames;
}

at::Tensor WorldModel::decode(const at::Tensor& z, const at::Tensor& signal,
                              const ActionBatch& actions, KeyValueCache& cache, bool append) const {
  const at::Tensor prediction = decode_at(z, signal, actions, place(cache), cache);
  if (append) this->append(z, signal, cache);
  return prediction;
}

void WorldModel::tell_blocks(std::function<CheckpointHooks(int64_t)> hooks) {
  state_->block_hooks = std::move(hooks);
}

const std::vector<int64_t>& WorldModel::block_of_parameters() const { return state_->block_of; }

void WorldModel::keep_copies() {
  if (state_->options.bf16) praxino::keep_copies(state_->parameters);
}

void WorldModel::draw_weights(const Parameters& kept) const {
  const at::NoGradGuard no_grad;
  const at::Generator generator = state_->generator();
  for (const Parameter& parameter : state_->parameters.all()) {
    const Parameter* const own = kept.find(parameter.name);
    // Who comes later must find the generator as everybody's draws have left it.
    if (own != nullptr || parameter.initial.deviation > 0) {
      const at::Tensor value = first_value(parameter, generator);
      if (own != nullptr) own->value.copy_(value);
    }
  }
}

Parameters& WorldModel::parameters() { return state_->parameters; }
const Parameters& WorldModel::parameters() const { return state_->parameters; }
const TokenGrid& WorldModel::grid() const { return state_->grid; }
bool WorldModel::recordable() const {
  return !state_->options.ranks.several() && !state_->block_hooks;
}
const std::vector<ActionField>& WorldModel::fields() const { return state_->fields; }

double WorldModel::forward_flops(int64_t frames) const {
  const State& s = *state_;
  const auto count = [](const at::Tensor& t) { return static_cast<double>(t.numel()); };
  const double f = static_cast<double>(frames), n = static_cast<double>(s.tokens());
  const double d = static_cast<double>(s.config.width);
  double flops =
      2 * f * static_cast<double>(s.grid.count()) * (count(s.input.weight) + count(s.head.weight));
  for (const Block& block : s.blocks) {
    const AttentionShape& a = block.attention().shape();
    const double matrices = 2 * d * d + 2 * d * static_cast<double>(a.kv_heads * a.head_width()) +
                            3 * d * static_cast<double>(block.feed_forward().hidden());
    double pairs = 0;  // query-key pairs of a clip
    for (int64_t i = 0; i < frames; ++i) {
      for (int64_t j = 0; j <= i; ++j) pairs += a.window.sees(i, j) ? 1 : 0;
    }
    if (a.kind == AttentionKind::kSpace) pairs = f * n * n;
    if (a.kind == AttentionKind::kTime) pairs *= n;
    if (a.kind == AttentionKind::kFrameCausal) pairs *= n * n;
    flops += 2 * f * n * matrices + 4 * pairs * d + 2 * f * 6 * d * d;
  }
  return flops;
}

KeyValueCache::KeyValueCache(std::unique_ptr<State> state) : state_(std::move(state)) {}
KeyValueCache::~KeyValueCache() = default;

int64_t KeyValueCache::frames_seen() const { return state_->frames; }

bool KeyValueCache::full() const {
  return state_->slots.used(state_->frames) == state_->slots.capacity();
}

int64_t KeyValueCache::bytes() const {
  int64_t total =
      static_cast<int64_t>(state_->previous_z.nbytes() + state_->previous_signal.nbytes());
  for (const LayerCache& layer : state_->layers) {
    if (layer.keys.defined())
      total += static_cast<int64_t>(layer.keys.nbytes() + layer.values.nbytes());
  }
  return total;
}

std::unique_ptr<KeyValueCache> KeyValueCache::clone() const {
  auto copy = std::make_unique<State>(*state_);
  for (LayerCache& layer : copy->layers) {
    if (!layer.keys.defined()) continue;
    layer.keys = layer.keys.clone();
    layer.values = layer.values.clone();
  }
  copy->previous_z = copy->previous_z.clone();
  copy->previous_signal = copy->previous_signal.clone();
  return std::make_unique<KeyValueCache>(std::move(copy));
}

}  // namespace praxino
