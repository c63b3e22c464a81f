#pragma once
// The spatiotemporal transformer: from noisy tokens, one signal level a frame and the actions to a
// prediction of the clean tokens. Causal in time: frame t depends on frames <= t and on actions <=
// t alone. Recipe: docs/recipes.md; Dreamer 4 (arXiv 2509.24527), diffusion forcing (arXiv
// 2407.01392).

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "praxino/config/actions.h"
#include "praxino/config/run.h"
#include "praxino/layers/checkpointing.h"
#include "praxino/layers/parameters.h"
#include "praxino/layers/ranks.h"
#include "praxino/layers/token_grid.h"

namespace praxino {

/// Actions in the model's convention: values B T A (raw field values), known B T bool. With A = 0
/// (unlabelled data) `values` is B T 0.
struct ActionBatch {
  at::Tensor values;
  at::Tensor known;
};

/// Keys and values of the frames that a rollout has behind it: a ring of `window` frames after
/// `sinks` frames that stay. Memory is allocated once and does not grow. Keys are kept unrotated,
/// so that positions stay relative to the newest frame however long the rollout runs.
class KeyValueCache;

/// Where the next frame stands over a cache, as tensors on the device. With these as arguments a
/// decode is the same work for every frame once the cache is full, and can be recorded
/// (praxino/ops/step_graph.h).
struct CachePlace {
  at::Tensor slot;   // 1 int64: receives the frame
  at::Tensor times;  // 1 + used float32: the frame's position in time, then that of each used slot
};

struct WorldModelOptions {
  at::Device device = at::Device(at::kCPU);
  bool bf16 = false;         // matrix products in bfloat16 with float32 accumulation
  int64_t clip_frames = 16;  // the default window
  uint64_t seed = 1;         // of the initial weights
  ModelRanks ranks = {};     // that share the model; each calls everything with the same arguments
  /// Whether it has its initial weights at once. Else its parameters read as NaN and take no
  /// memory, for someone who keeps the weights elsewhere and writes them with draw_weights().
  bool drawn = true;
};

/// Where several ranks share it (layers/ranks.h), each has the same inputs and gets the same whole
/// results, and holds a part of the parameters, activations and gradients: a parameter's gradient
/// is the sum over the ranks that hold it. Not thread-safe while training; decode() of different
/// caches may run in parallel under inference mode.
class WorldModel {
 public:
  WorldModel(const ModelConfig& config, const TokenGrid& grid, std::vector<ActionField> fields,
             const WorldModelOptions& options);
  ~WorldModel();

  /// Training: all frames at once. z: B T N D, signal: B T in [0,1] (1: clean). Returns the
  /// predicted clean tokens, B T N D float32.
  at::Tensor forward(const at::Tensor& z, const at::Tensor& signal,
                     const ActionBatch& actions) const;

  /// A cache for `batch` rollouts; `window` frames (0: the model's) that a frame sees, itself
  /// included.
  std::unique_ptr<KeyValueCache> make_cache(int64_t batch, int64_t window = 0) const;

  /// Rollout: the next frame alone, with everything before it in `cache`. z: B 1 N D, signal: B 1,
  /// actions: B 1 A. Same result as the last frame of forward() over the same frames while they fit
  /// the window. With `append` the frame is also written into the cache and becomes the newest one
  /// of the past; else the cache is unchanged.
  at::Tensor decode(const at::Tensor& z, const at::Tensor& signal, const ActionBatch& actions,
                    KeyValueCache& cache, bool append) const;

  /// The two halves of decode(). The first touches nothing but the slot that the frame receives,
  /// which no other frame sees; `place` is place(cache), or tensors of the same sizes.
  at::Tensor decode_at(const at::Tensor& z, const at::Tensor& signal, const ActionBatch& actions,
                       const CachePlace& place, KeyValueCache& cache) const;
  /// The frame that was decoded last, from z and signal, becomes the newest one of the past.
  void append(const at::Tensor& z, const at::Tensor& signal, KeyValueCache& cache) const;
  /// Uploaded once a frame; kept by the cache.
  CachePlace place(KeyValueCache& cache) const;

  /// From now on each run of block number `block` is told to hooks(block), for someone who keeps
  /// the blocks' weights elsewhere in between: both runs of a checkpointed block, and the one run
  /// without gradients, in forward() and decode(). REQUIRES: activation_checkpointing.
  void tell_blocks(std::function<CheckpointHooks(int64_t block)> hooks);
  /// The number of the block that each parameter belongs to, -1 for those outside of the blocks.
  const std::vector<int64_t>& block_of_parameters() const;

  /// Where it multiplies in bfloat16: keeps copies of the matrices that it multiplies tokens with
  /// (layers/weight_copies.h), for training that writes and refreshes them. Not where weights come
  /// and go. Else nothing.
  void keep_copies();

  /// Writes the initial weights into those of the model's parameters that `kept` holds, by name:
  /// the bits of a model that is `drawn`. Each is drawn on the CPU after the one before it, whole,
  /// and dropped.
  void draw_weights(const Parameters& kept) const;

  Parameters& parameters();
  const Parameters& parameters() const;
  const TokenGrid& grid() const;
  /// Whether a recording of its work (ops/step_graph.h) would be right when it is replayed: not
  /// where other ranks take part, or weights come and go.
  bool recordable() const;
  const std::vector<ActionField>& fields() const;
  /// Multiply-adds times two of one forward pass of one clip of `frames` frames (matrix products
  /// and attention).
  double forward_flops(int64_t frames) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Complete here so that unique_ptr can delete it.
class KeyValueCache {
 public:
  struct State;
  explicit KeyValueCache(std::unique_ptr<State> state);
  ~KeyValueCache();
  int64_t frames_seen() const;  // appended so far
  /// From here on each new frame replaces one of the past: sizes of its CachePlace stay.
  bool full() const;
  int64_t bytes() const;  // of device memory, constant
  /// An independent copy: branches of one past. (snapshot / restore)
  std::unique_ptr<KeyValueCache> clone() const;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace praxino
