// The kernel itself, executed on the CPU, against the operation's formula in double.
#include "kernels/patch_embed.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>

#include "kernels/numbers.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::as;
using testing::Doubles;
using testing::exact;
using testing::kElementOf;
using testing::normal;
using testing::step;

struct Case {
  PatchGrid grid;
  int64_t outputs;
  int64_t crop = 0;  // pixels above and to the left, and as many on the other sides
  bool bias = true;
};

PictureStrides strides_of(const Case& c) {
  const int64_t width = c.grid.width() + 2 * c.crop;
  const int64_t plane = width * (c.grid.height() + 2 * c.crop);
  return {c.grid.time * c.grid.channels * plane, c.grid.channels * plane, plane, width};
}

struct Inputs {
  std::vector<uint8_t> pixels;
  std::vector<float> weight, bias;
};

Inputs inputs(const Case& c) {
  std::mt19937_64 random(1);
  std::vector<uint8_t> pixels(static_cast<size_t>(c.grid.batch * strides_of(c).batch));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random());
  const double deviation = 1 / std::sqrt(static_cast<double>(c.grid.token()));
  return {pixels, normal<float>(c.outputs * c.grid.token(), 2, deviation),
          normal<float>(c.outputs, 3)};
}

template <class T>
Doubles kernel(const Inputs& in, const Case& c, uint64_t seed) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed), .interruption = 0.005});
  const auto count = static_cast<size_t>(c.grid.elements() / c.grid.token() * c.outputs);
  T* y = cuda.allocate<T>(count, "y");
  const auto bytes = static_cast<size_t>(patch_embed_parts(c.grid, c.outputs).end);
  const PatchEmbed p{
      .pixels = cuda.upload(in.pixels, "pixels") + c.crop * strides_of(c).row + c.crop,
      .weight = cuda.upload(in.weight, "weight"),
      .bias = c.bias ? cuda.upload(in.bias, "bias") : nullptr,
      .y = y,
      .workspace = cuda.allocate<char>(bytes, "workspace"),
      .grid = c.grid,
      .strides = strides_of(c),
      .outputs = c.outputs,
      .element = kElementOf<T>};
  EXPECT_TRUE(launch_patch_embed(p, nullptr).ok());
  return exact(cuda.download(y, count));
}

// T: what tokens, weights and results are rounded to.
template <class T>
Doubles formula(const Inputs& in, const Case& c) {
  Doubles y;
  const PictureStrides strides = strides_of(c);
  const int64_t corner = c.crop * strides.row + c.crop, width = c.grid.token();
  for (int64_t token = 0; token < c.grid.elements() / width; ++token) {
    const int64_t first = corner + corner_of_token(token, c.grid, strides);
    for (int64_t output = 0; output < c.outputs; ++output) {
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) {
        const int64_t at =
            first + offset_in_token(static_cast<int>(i), static_cast<int>(c.grid.patch), strides);
        const double x = in.pixels[static_cast<size_t>(at)] * (2.0 / 255.0) - 1;
        sum += step<T>(x) * step<T>(double{in.weight[static_cast<size_t>(output * width + i)]});
      }
      y.push_back(step<T>(sum + (c.bias ? double{in.bias[static_cast<size_t>(output)]} : 0.0)));
    }
  }
  return y;
}

// The error may be twice that of the product in bfloat16; results in float have less of it.
template <class T>
void expect_equals_formula(const Case& c) {
  const Inputs in = inputs(c);
  const Doubles want = formula<double>(in, c);
  EXPECT_LE(testing::distance(kernel<T>(in, c, 1), want),
            2 * testing::distance(formula<Bf16>(in, c), want) + 1e-6);
}

class PatchEmbedKernel : public ::testing::TestWithParam<Case> {};

TEST_P(PatchEmbedKernel, EqualsItsFormulaInFloat) { expect_equals_formula<float>(GetParam()); }
TEST_P(PatchEmbedKernel, EqualsItsFormulaInBf16) { expect_equals_formula<Bf16>(GetParam()); }

// Tokens of less than a step, exactly one, and several; tiles that are not full; every access path.
INSTANTIATE_TEST_SUITE_P(
    Cases, PatchEmbedKernel,
    ::testing::Values(Case{{1, 1, 1, 1, 3, 1}, 1}, Case{{1, 2, 3, 3, 3, 2}, 7},
                      Case{{2, 1, 2, 5, 3, 3}, 16, 1}, Case{{1, 1, 2, 3, 1, 8}, 24},
                      Case{{1, 1, 3, 24, 3, 8}, 136}, Case{{1, 2, 2, 2, 3, 8}, 40, 5},
                      Case{{1, 2, 2, 2, 3, 8}, 40, 8}, Case{{1, 1, 2, 2, 3, 14}, 33, 0, false},
                      Case{{1, 1, 1, 3, 3, 16}, 64}));

// The gradient of the weights: exact pixels, gradients that bfloat16 holds.
void expect_gradient_equals_formula(const Case& c, uint64_t seed = 1) {
  const Inputs in = inputs(c);
  const int64_t tokens = c.grid.elements() / c.grid.token(), width = c.grid.token();
  const auto grad = normal<Bf16>(tokens * c.outputs, 4);
  Doubles want(static_cast<size_t>(c.outputs * width)), terms(want.size());
  std::vector<float> grad_bias(static_cast<size_t>(c.outputs));
  const PictureStrides strides = strides_of(c);
  for (int64_t output = 0; output < c.outputs; ++output) {
    double sum = 0;
    for (int64_t token = 0; token < tokens; ++token) {
      const int64_t first = c.crop * strides.row + c.crop + corner_of_token(token, c.grid, strides);
      const double g =
          static_cast<double>(to_float(grad[static_cast<size_t>(token * c.outputs + output)]));
      sum += g;
      for (int64_t i = 0; i < width; ++i) {
        const int64_t at =
            first + offset_in_token(static_cast<int>(i), static_cast<int>(c.grid.patch), strides);
        const auto to = static_cast<size_t>(output * width + i);
        want[to] += g * (in.pixels[static_cast<size_t>(at)] * (2.0 / 255.0) - 1);
        terms[to] += std::fabs(g);
      }
    }
    grad_bias[static_cast<size_t>(output)] = static_cast<float>(sum);
  }
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed), .interruption = 0.005});
  const auto workspace =
      static_cast<size_t>(embed_grad_workspace(tokens, c.outputs, c.grid.token()));
  const PatchEmbedBackward p{
      .pixels = cuda.upload(in.pixels, "pixels") + c.crop * strides.row + c.crop,
      .grad = cuda.upload(grad, "grad"),
      .grad_bias = cuda.upload(grad_bias, "grad_bias"),
      .grad_weight = cuda.allocate<float>(want.size(), "grad_weight"),
      .workspace = cuda.allocate<float>(workspace, "workspace"),
      .grid = c.grid,
      .strides = strides,
      .outputs = c.outputs};
  EXPECT_TRUE(launch_patch_embed_backward(p, nullptr).ok());
  const Doubles got = exact(cuda.download(p.grad_weight, want.size()));
  EXPECT_LE(testing::distance(got, want), 2e-6 * testing::largest(terms));
}

class PatchEmbedGradient : public ::testing::TestWithParam<Case> {};

TEST_P(PatchEmbedGradient, EqualsItsFormula) {
  expect_gradient_equals_formula(GetParam());
  expect_gradient_equals_formula(GetParam(), 2);
}

// One split and several, whose last is short; outputs and elements that do not fill a tile.
INSTANTIATE_TEST_SUITE_P(Cases, PatchEmbedGradient,
                         ::testing::Values(Case{{1, 1, 1, 1, 3, 1}, 8},
                                           Case{{1, 2, 2, 5, 3, 3}, 72, 1},
                                           Case{{1, 1, 3, 25, 3, 8}, 16},
                                           Case{{1, 1, 20, 27, 1, 4}, 8},
                                           Case{{1, 2, 2, 2, 3, 8}, 40, 8}));

TEST(PatchEmbedGrid, GradientTilesCoverOutputsElementsAndTokens) {
  for (const int64_t tokens : {1, 512, 513, 100000}) {
    for (const int64_t outputs : {8, 64, 72}) {
      for (const int64_t token : {3, 64, 75, 768}) {
        const EmbedGradShape shape = embed_grad_shape(tokens, outputs, token);
        EXPECT_EQ(shape.tokens_of_split % kEmbedTokens, 0);
        EXPECT_GE(shape.splits * shape.tokens_of_split, tokens);
        EXPECT_LT((shape.splits - 1) * shape.tokens_of_split, tokens);
        std::set<std::array<int64_t, 3>> corners;
        for (int64_t i = 0; i < shape.blocks(); ++i) {
          const EmbedGradTile tile = embed_grad_tile(i, shape);
          EXPECT_LT(tile.output, outputs);
          EXPECT_LT(tile.element, token);
          EXPECT_LT(tile.split, shape.splits);
          corners.insert({tile.split, tile.output, tile.element});
        }
        EXPECT_EQ(static_cast<int64_t>(corners.size()), shape.blocks());
      }
    }
  }
}

TEST(PatchEmbedKernels, RoundTheWeightsAlone) {
  // Weights that bfloat16 holds after scaling: nothing is lost but in the last sum.
  const Case c{{1, 1, 2, 4, 3, 8}, 8};
  Inputs in = inputs(c);
  for (float& w : in.weight) w = static_cast<float>(as<Bf16>(double{w}) * 127.5);
  const Doubles got = kernel<float>(in, c, 1), want = formula<double>(in, c);
  EXPECT_LE(testing::distance(got, want), 2e-6 * testing::largest(want) + 1e-4);
}

TEST(PatchEmbedKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  const Case c{{1, 1, 3, 24, 3, 8}, 136};
  const Inputs in = inputs(c);
  const Doubles first = kernel<Bf16>(in, c, 1);
  for (uint64_t seed = 2; seed < 4; ++seed) EXPECT_EQ(kernel<Bf16>(in, c, seed), first);
}

TEST(PatchEmbedKernels, DoNotLaunchForAnEmptyBatchNorForWhatIsOutOfRange) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_patch_embed({.grid = {0, 4, 2, 2, 3, 8}, .outputs = 8}, nullptr).ok());
  for (const Case& c : {Case{{1, 1, 1, 1, 3, 8}, 0}, Case{{1, 1, 1, 1, 3, 128}, 8},
                        Case{{1, 1, 1, 1, 3, 8}, (1 << 20) + 1}}) {
    const PatchEmbed p{.grid = c.grid, .outputs = c.outputs};
    EXPECT_EQ(launch_patch_embed(p, nullptr).code, kRefused.code);
    const PatchEmbedBackward back{.grid = c.grid, .outputs = c.outputs};
    EXPECT_EQ(launch_patch_embed_backward(back, nullptr).code, kRefused.code);
  }
  const PatchEmbedBackward odd{.grid = {1, 1, 1, 1, 3, 8}, .outputs = 12};
  EXPECT_EQ(launch_patch_embed_backward(odd, nullptr).code, kRefused.code);
  EXPECT_EQ(cuda.launches(), 0);
}

TEST(PatchEmbedGrid, TilesCoverTokensAndOutputsAndSpreadOverBanks) {
  for (const int64_t tokens : {1, 64, 65, 200}) {
    for (const int64_t outputs : {1, 128, 129, 300}) {
      std::set<std::pair<int64_t, int64_t>> corners;
      for (int64_t i = 0; i < embed_tiles(tokens, outputs); ++i) {
        const EmbedTile tile = embed_tile(i, outputs);
        EXPECT_LT(tile.token, tokens);
        EXPECT_LT(tile.output, outputs);
        corners.emplace(tile.token, tile.output);
      }
      EXPECT_EQ(static_cast<int64_t>(corners.size()),
                ((tokens + 63) / 64) * ((outputs + 127) / 128));
    }
  }
  for (int row = 0; row < 64; row += 8) {
    for (int unit = 0; unit < 8; ++unit) {
      std::set<int> banks;
      for (int i = 0; i < 8; ++i) banks.insert(embed_unit(row + i, unit) % 8);
      EXPECT_EQ(banks.size(), 8U);
    }
  }
}

}  // namespace
}  // namespace praxino::kernels
