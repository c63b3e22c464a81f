// The gradient of the projection's weights, from the pixels: tokens are made on the way, as
// forward.
#include "kernels/device/copy_async.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/device/token_pieces.cuh"
#include "kernels/patch_embed.h"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kOutputs = kEmbedGradOutputs;            // of a block
constexpr int kTile = 2 * kEmbedTokens * kEmbedDepth;  // bytes, of either operand
static_assert(kOutputs == kEmbedDepth, "both operands have tiles of one shape");

// Gradients of 64 tokens and 64 outputs; zeros beyond the ends.
PRAXINO_DEVICE void stage_gradients(const PatchEmbedBackward& p, int64_t token, int64_t end,
                                    int64_t output, char* tile) {
  for (int i = thread_index(); i < kEmbedTokens * kEmbedUnits; i += kEmbedThreads) {
    const int row = i / kEmbedUnits, unit = i % kEmbedUnits;
    const int64_t at = token + row, column = output + 8 * unit;
    const bool there = at < end && column < p.outputs;
    copy_16_async_or_zero(tile + 16 * embed_unit(row, unit),
                          p.grad + (there ? at * p.outputs + column : 0), there);
  }
  commit_copies();
}

// The warp's 16 outputs x 32 elements; the contraction runs over the tokens of the tiles.
PRAXINO_DEVICE void multiply_tiles(const char* grads, const char* pixels, FragmentC (&sum)[4]) {
  const int outputs = warp_index() / 2 * 16, elements = warp_index() % 2 * 32;
  const FragmentSpot of_a = matrix_row_of_b(lane_index()), of_b = matrix_row_of_a(lane_index());
  PRAXINO_UNROLL
  for (int token = 0; token < kEmbedTokens; token += 16) {
    const FragmentA a = load_matrices<4, true>(
        grads + 16 * embed_unit(token + of_a.row, (outputs + of_a.column) / 8));
    PRAXINO_UNROLL
    for (int j = 0; j < 2; ++j) {
      const Pairs<4> words = load_matrices<4, true>(
          pixels + 16 * embed_unit(token + of_b.row, (elements + 16 * j + of_b.column) / 8));
      multiply_add(sum[2 * j], a, FragmentB{{words.word[0], words.word[1]}});
      multiply_add(sum[2 * j + 1], a, FragmentB{{words.word[2], words.word[3]}});
    }
  }
}

template <bool kFast>
PRAXINO_KERNEL(kEmbedThreads)
patch_embed_backward_kernel(PatchEmbedBackward p) {
  const int64_t tokens = p.grid.frames() * p.grid.rows * p.grid.columns, width = p.grid.token();
  const EmbedGradShape shape = embed_grad_shape(tokens, p.outputs, width);
  char* grads = reinterpret_cast<char*>(shared_floats());
  char* pixels = grads + 2 * kTile;
  for (int64_t number = block_index(); number < shape.blocks(); number += grid_blocks()) {
    const EmbedGradTile tile = embed_grad_tile(number, shape);
    const int64_t first = tile.split * shape.tokens_of_split, last = first + shape.tokens_of_split;
    const int64_t end = last < tokens ? last : tokens;
    const PixelTokens in{p.pixels, p.grid, p.strides, end};
    FragmentC sum[4] = {};
    Piece pieces[kThreadPieces];
    load_pieces<kFast>(in, first, static_cast<int>(tile.element), pieces);
    stage_gradients(p, first, end, tile.output, grads);
    int turn = 0;
    for (int64_t at = first; at < end; at += kEmbedTokens, turn ^= 1) {
      store_pieces(pieces, pixels + turn * kTile);
      wait_copies<0>();
      sync_block();  // this step's tiles are there, and nobody reads those of the last one
      if (at + kEmbedTokens < end) {
        load_pieces<kFast>(in, at + kEmbedTokens, static_cast<int>(tile.element), pieces);
        stage_gradients(p, at + kEmbedTokens, end, tile.output, grads + (turn ^ 1) * kTile);
      }
      multiply_tiles(grads + turn * kTile, pixels + turn * kTile, sum);
    }
    float* part = p.workspace + tile.split * p.outputs * width;
    const int row = warp_index() / 2 * 16, column = warp_index() % 2 * 32;
    PRAXINO_UNROLL
    for (int j = 0; j < 4; ++j) {
      PRAXINO_UNROLL
      for (int i = 0; i < 4; ++i) {
        const FragmentSpot spot = fragment_c(lane_index(), i);
        const int64_t output = tile.output + row + spot.row;
        const int64_t element = tile.element + column + 8 * j + spot.column;
        if (output < p.outputs && element < width)
          store(part + output * width + element, sum[j].v[i]);
      }
    }
    sync_block();  // before the tiles are used again
  }
}

// Parts in their order; x = 2 / 255 (x - 128 + 1/2), so half of the gradients' sum belongs to each.
PRAXINO_KERNEL(kEmbedThreads) add_splits_kernel(PatchEmbedBackward p) {
  const int64_t tokens = p.grid.frames() * p.grid.rows * p.grid.columns, width = p.grid.token();
  const int64_t splits = embed_grad_shape(tokens, p.outputs, width).splits;
  for (int64_t i = block_index() * kEmbedThreads + thread_index(); i < p.outputs * width;
       i += grid_blocks() * kEmbedThreads) {
    float sum = 0.5F * load(p.grad_bias + i / width);
    for (int64_t split = 0; split < splits; ++split)
      sum += load(p.workspace + split * p.outputs * width + i);
    store(p.grad_weight + i, static_cast<float>(2.0 / 255.0) * sum);
  }
}

}  // namespace

Status launch_patch_embed_backward(const PatchEmbedBackward& p, Stream stream) {
  if (!in_range(p.grid) || p.outputs < 1 || p.outputs > kMostEmbedOutputs || p.outputs % 8 != 0)
    return kRefused;
  if (p.grid.elements() == 0 || !aligned_16(p.grad)) return kRefused;
  const int64_t tokens = p.grid.frames() * p.grid.rows * p.grid.columns;
  const EmbedGradShape shape = embed_grad_shape(tokens, p.outputs, p.grid.token());
  const Status status = launch(
      eight_at_once(p.pixels, p.grid, p.strides) ? patch_embed_backward_kernel<true>
                                                 : patch_embed_backward_kernel<false>,
      {"patch_embed_backward", blocks_for(shape.blocks()), kEmbedThreads, 4 * kTile}, p, stream);
  if (!status.ok()) return status;
  const int64_t results = p.outputs * p.grid.token();
  return launch(
      add_splits_kernel,
      {"add_splits", blocks_for((results + kEmbedThreads - 1) / kEmbedThreads), kEmbedThreads}, p,
      stream);
}

}  // namespace praxino::kernels
