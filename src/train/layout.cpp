#include "praxino/train/layout.h"

#include "praxino/base/error.h"
#include "praxino/tokenizer/tokenizer.h"
#include "sharded_model.h"

namespace praxino {
namespace {

void require_heads(const RunConfig& config, const MeshShape& shape) {
  const ModelConfig& model = config.model;
  const int64_t groups = model.kv_heads > 0 ? model.kv_heads : model.heads;
  if (shape.tensor > groups) {
    fail_usage(
        "parallel.tensor is {}, and the model has {} {}; every tensor rank needs one of its own",
        shape.tensor, groups, model.kv_heads > 0 ? "key/value heads (model.kv_heads)" : "heads");
  }
  const int64_t fewest = groups / shape.tensor * (model.heads / groups);  // of a tensor rank
  if (model.attention == "frame_causal" && shape.context > fewest) {
    fail_usage(
        "parallel.context is {}, and a tensor rank has {} heads to share among context ranks; "
        "lower parallel.context or parallel.tensor",
        shape.context, fewest);
  }
}

}  // namespace

MeshShape mesh_shape(const RunConfig& config, int64_t ranks) {
  check_sharding(config);
  const ParallelConfig& parallel = config.parallel;
  const int64_t inner = parallel.tensor * parallel.context;
  if (ranks % inner != 0) {
    fail_usage(
        "parallel.tensor {} x parallel.context {} does not divide {} {}; start a multiple of {} "
        "(--ranks {})",
        parallel.tensor, parallel.context, ranks, ranks == 1 ? "rank" : "ranks", inner, inner);
  }
  const MeshShape shape{
      .data = ranks / inner, .context = parallel.context, .tensor = parallel.tensor};
  if (parallel.data > 0 && parallel.data != shape.data) {
    fail_usage(
        "parallel.data is {}, and {} ranks were started, of which {} work on one model; 0 takes as "
        "many as there are",
        parallel.data, ranks, inner);
  }
  if (config.data.batch % shape.data != 0) {
    fail_usage("data.batch is {}, which {} data ranks cannot share equally; make it a multiple",
               config.data.batch, shape.data);
  }
  require_heads(config, shape);
  if (shape.context > config.data.clip_frames) {
    fail_usage("parallel.context is {}, and a clip has {} frames (data.clip_frames); lower it",
               shape.context, config.data.clip_frames);
  }
  const int64_t tokens =
      config.model.registers + make_tokenizer(config.tokenizer, config.data.size)->grid().count();
  if (tokens / shape.tensor < shape.context) {
    fail_usage(
        "a frame has {} tokens, too few for parallel.tensor {} x parallel.context {}; every rank "
        "needs one",
        tokens, shape.tensor, shape.context);
  }
  return shape;
}

}  // namespace praxino
