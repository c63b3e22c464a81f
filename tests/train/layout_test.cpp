#include "praxino/train/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"

namespace praxino {
namespace {

using ::testing::HasSubstr;

RunConfig run(int64_t data, int64_t context, int64_t tensor) {
  RunConfig config;
  config.data.size = {16, 16};  // 4 tokens
  config.data.batch = 12;
  config.data.clip_frames = 8;
  config.model.heads = 6;
  config.model.kv_heads = 3;
  config.model.registers = 3;
  config.parallel.data = data;
  config.parallel.context = context;
  config.parallel.tensor = tensor;
  return config;
}

TEST(MeshShape, DataTakesTheRanksThatAreLeft) {
  EXPECT_EQ(mesh_shape(run(0, 1, 1), 4), (MeshShape{.data = 4}));
  EXPECT_EQ(mesh_shape(run(0, 2, 3), 12), (MeshShape{.data = 2, .context = 2, .tensor = 3}));
  EXPECT_EQ(mesh_shape(run(1, 2, 1), 2), (MeshShape{.context = 2}));
}

TEST(MeshShape, SaysWhatCannotBeShared) {
  const auto said = [](const RunConfig& config, int64_t ranks) {
    return testing::error_text([&] { mesh_shape(config, ranks); });
  };
  EXPECT_THAT(said(run(0, 2, 2), 6), HasSubstr("does not divide 6 ranks"));
  EXPECT_THAT(said(run(0, 1, 2), 1), HasSubstr("1 rank; start a multiple of 2 (--ranks 2)"));
  RunConfig sharded = run(0, 1, 1);
  sharded.parallel.shard_weights = true;
  EXPECT_THAT(said(sharded, 2), HasSubstr("needs model.activation_checkpointing"));
  EXPECT_THAT(said(run(2, 2, 1), 2), HasSubstr("parallel.data is 2"));
  EXPECT_THAT(said(run(0, 1, 1), 5), HasSubstr("data.batch is 12, which 5"));
  EXPECT_THAT(said(run(0, 1, 4), 4), HasSubstr("3 key/value heads (model.kv_heads)"));
  EXPECT_THAT(said(run(0, 9, 1), 9), HasSubstr("a clip has 8 frames"));
  EXPECT_THAT(said(run(0, 4, 3), 12), HasSubstr("a frame has 7 tokens"));
  RunConfig causal = run(0, 3, 3);
  causal.model.attention = "frame_causal";
  EXPECT_THAT(said(causal, 9), HasSubstr("has 2 heads to share"));
}

}  // namespace
}  // namespace praxino
