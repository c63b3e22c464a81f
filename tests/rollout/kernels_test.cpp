// Which kernels a run takes.
#include <gtest/gtest.h>

#include <string_view>

#include "praxino/rollout/world.h"

namespace praxino {
namespace {

using ops::KernelFamily;

struct Row {
  std::string_view op;
  KernelFamily family;
  at::ScalarType type = at::kFloat;
};

bool takes(const RunConfig& config, const Row& row, bool trains = false) {
  ops::KernelStatus status;
  status.op = row.op;
  status.family = row.family;
  status.type = row.type;
  return takes_kernel(config, at::Device(at::kCPU), trains, status);
}

RunConfig in_precision(const char* precision) {
  RunConfig config;
  config.run.precision = precision;
  return config;
}

TEST(KernelsOfARun, AreThoseOfItsAttention) {
  RunConfig config = in_precision("fp32");
  const auto takes_op = [&](std::string_view op) {
    return takes(config, {op, KernelFamily::kAttention});
  };
  EXPECT_TRUE(takes_op("space_attention"));
  EXPECT_TRUE(takes_op("time_attention_step"));
  EXPECT_FALSE(takes_op("frame_causal_attention"));
  config.model.attention = "frame_causal";
  EXPECT_FALSE(takes_op("space_attention"));
  EXPECT_FALSE(takes_op("time_attention"));
  EXPECT_TRUE(takes_op("frame_causal_attention_step"));
  EXPECT_TRUE(takes_op("an_attention_of_tomorrow"));
}

TEST(KernelsOfARun, AreThoseOfItsPrecision) {
  for (const KernelFamily family :
       {KernelFamily::kNorm, KernelFamily::kMlp, KernelFamily::kAttention}) {
    EXPECT_TRUE(takes(in_precision("fp32"), {"x", family, at::kFloat}));
    EXPECT_FALSE(takes(in_precision("fp32"), {"x", family, at::kBFloat16}));
    EXPECT_FALSE(takes(in_precision("bf16"), {"x", family, at::kFloat}));
    EXPECT_TRUE(takes(in_precision("bf16"), {"x", family, at::kBFloat16}));
  }
}

TEST(KernelsOfARun, AreTheOptimizersOnlyWhereItTrains) {
  EXPECT_FALSE(takes(in_precision("bf16"), {"adamw", KernelFamily::kOptimizer}, false));
  EXPECT_TRUE(takes(in_precision("bf16"), {"adamw", KernelFamily::kOptimizer}, true));
}

TEST(KernelsOfARun, AreOfTokensOnlyThoseOfItsTokenizer) {
  for (const char* op : {"patchify", "unpatchify"})
    EXPECT_TRUE(takes(in_precision("bf16"), {op, KernelFamily::kTokens})) << op;
  for (const char* op :
       {"nearest_code", "code_statistics", "finite_scalar_quantize", "patchify_yuv", "patch_embed"})
    EXPECT_FALSE(takes(in_precision("bf16"), {op, KernelFamily::kTokens})) << op;
  EXPECT_FALSE(takes(in_precision("bf16"), {"cross_entropy", KernelFamily::kLoss}));
}

TEST(KernelsOfARun, AreSwitchedAsTheRunFileSays) {
  RunConfig config;
  config.kernels.norm = "off";
  start_kernels(config, at::Device(at::kCPU), false);
  for (const KernelFamily family : ops::kKernelFamilies)
    EXPECT_EQ(ops::uses_kernels(family), family != KernelFamily::kNorm) << to_string(family);
  config.kernels = {};
  for (std::string* word : {&config.kernels.attention, &config.kernels.optimizer}) *word = "off";
  start_kernels(config, at::Device(at::kCPU), false);
  EXPECT_FALSE(ops::uses_kernels(KernelFamily::kAttention));
  EXPECT_TRUE(ops::uses_kernels(KernelFamily::kNorm));
  EXPECT_FALSE(ops::uses_kernels(KernelFamily::kOptimizer));
  start_kernels({}, at::Device(at::kCPU), false);
}

}  // namespace
}  // namespace praxino
