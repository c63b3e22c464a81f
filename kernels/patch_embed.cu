#include "kernels/patch_embed.h"

#include "kernels/device/copy_async.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/device/token_pieces.cuh"
#include "kernels/device/warp.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kWarpTokens = 32, kWarpOutputs = 32;
constexpr int kWarpsAcross = kEmbedOutputs / kWarpOutputs;
static_assert(kEmbedTokens / kWarpTokens * kWarpsAcross * kWarp == kEmbedThreads);
constexpr int kTokenTile = 2 * kEmbedTokens * kEmbedDepth;  // bytes
constexpr int kWeightTile = 2 * kEmbedOutputs * kEmbedDepth;
constexpr int kPitch = kEmbedOutputs + 8;  // floats of a row of results in shared memory
static_assert(sizeof(float) * kEmbedTokens * kPitch <= embed_bytes());

// A warp a row of weights: scaled, rounded, and what the rounded ones add to the bias.
PRAXINO_KERNEL(kEmbedThreads) fold_weights_kernel(PatchEmbed p) {
  const PatchEmbedParts parts = patch_embed_parts(p.grid, p.outputs);
  const int64_t token = p.grid.token(), padded = padded_token(token);
  constexpr int64_t kWarps = kEmbedThreads / kWarp;
  auto* weights = reinterpret_cast<Bf16*>(static_cast<char*>(p.workspace) + parts.weights);
  auto* bias = reinterpret_cast<float*>(static_cast<char*>(p.workspace) + parts.bias);
  for (int64_t row = block_index() * kWarps + warp_index(); row < padded_outputs(p.outputs);
       row += grid_blocks() * kWarps) {
    const bool exists = row < p.outputs;
    float sum = 0;
    for (int64_t i = lane_index(); i < padded; i += kWarp) {
      const float scaled = exists && i < token
                               ? load(p.weight + row * token + i) * static_cast<float>(2.0 / 255.0)
                               : 0.0F;
      const auto bits = static_cast<uint16_t>(pack_bf16(scaled, 0.0F));
      store(weights + row * padded + i, scaled);
      sum += to_float(Bf16{bits});
    }
    sum = group_sum(sum, kWarp);
    if (lane_index() == 0)
      store(bias + row, 0.5F * sum + (exists && p.bias != nullptr ? load(p.bias + row) : 0.0F));
  }
}

PRAXINO_DEVICE void stage_weights(const PatchEmbed& p, const PatchEmbedParts& parts, int64_t output,
                                  int depth, char* tile) {
  const int64_t padded = padded_token(p.grid.token());
  const char* weights = static_cast<const char*>(p.workspace) + parts.weights;
  for (int i = thread_index(); i < kEmbedOutputs * kEmbedUnits; i += kEmbedThreads) {
    const int row = i / kEmbedUnits, unit = i % kEmbedUnits;
    copy_16_async(tile + 16 * embed_unit(row, unit),
                  weights + 2 * ((output + row) * padded + depth + 8 * unit));
  }
  commit_copies();
}

// The warp's part of a step.
PRAXINO_DEVICE void multiply_tiles(const char* tokens, const char* weights,
                                   FragmentC (&sum)[2][4]) {
  const int first_token = warp_index() / kWarpsAcross * kWarpTokens;
  const int first_output = warp_index() % kWarpsAcross * kWarpOutputs;
  const FragmentSpot of_a = matrix_row_of_a(lane_index()), of_b = matrix_row_of_b(lane_index());
  PRAXINO_UNROLL
  for (int depth = 0; depth < kEmbedDepth; depth += 16) {
    FragmentA a[2];
    PRAXINO_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int row = first_token + 16 * i + of_a.row, unit = (depth + of_a.column) / 8;
      const Pairs<4> words = load_matrices<4>(tokens + 16 * embed_unit(row, unit));
      a[i] = words;
    }
    PRAXINO_UNROLL
    for (int j = 0; j < 2; ++j) {
      const int row = first_output + 16 * j + of_b.row, unit = (depth + of_b.column) / 8;
      const Pairs<4> words = load_matrices<4>(weights + 16 * embed_unit(row, unit));
      PRAXINO_UNROLL
      for (int i = 0; i < 2; ++i) {
        multiply_add(sum[i][2 * j], a[i], FragmentB{{words.word[0], words.word[1]}});
        multiply_add(sum[i][2 * j + 1], a[i], FragmentB{{words.word[2], words.word[3]}});
      }
    }
  }
}

// Sums by way of shared memory, so that whole runs of outputs are written.
template <class T>
PRAXINO_DEVICE void write_tile(const PatchEmbed& p, const PatchEmbedParts& parts,
                               const EmbedTile& tile, const FragmentC (&sum)[2][4], float* shared) {
  const int first_token = warp_index() / kWarpsAcross * kWarpTokens;
  const int first_output = warp_index() % kWarpsAcross * kWarpOutputs;
  PRAXINO_UNROLL
  for (int i = 0; i < 2; ++i) {
    PRAXINO_UNROLL
    for (int j = 0; j < 4; ++j) {
      PRAXINO_UNROLL
      for (int element = 0; element < 4; ++element) {
        const FragmentSpot spot = fragment_c(lane_index(), element);
        store(shared + (first_token + 16 * i + spot.row) * kPitch + first_output + 8 * j +
                  spot.column,
              sum[i][j].v[element]);
      }
    }
  }
  sync_block();
  const auto* bias =
      reinterpret_cast<const float*>(static_cast<const char*>(p.workspace) + parts.bias) +
      tile.output;
  const int64_t tokens = p.grid.frames() * p.grid.rows * p.grid.columns;
  for (int i = thread_index(); i < kEmbedTokens * kEmbedOutputs / 8; i += kEmbedThreads) {
    const int row = i / (kEmbedOutputs / 8), column = i % (kEmbedOutputs / 8) * 8;
    const int64_t token = tile.token + row, output = tile.output + column;
    if (token >= tokens || output >= p.outputs) continue;
    Vector<8> values = load_vector<8>(shared + row * kPitch + column);
    const Vector<8> add = load_vector<8>(bias + column);
    PRAXINO_UNROLL
    for (int j = 0; j < 8; ++j) values.v[j] += add.v[j];
    T* to = static_cast<T*>(p.y) + token * p.outputs + output;
    if (p.outputs % 8 == 0) {  // the launcher has seen to the pointer
      store_vector(to, values);
    } else {
      PRAXINO_UNROLL
      for (int j = 0; j < 8; ++j) {
        if (output + j < p.outputs) store(to + j, values.v[j]);
      }
    }
  }
  sync_block();  // before the memory is used again
}

template <class T, bool kFast>
PRAXINO_KERNEL(kEmbedThreads)
patch_embed_kernel(PatchEmbed p) {
  const PatchEmbedParts parts = patch_embed_parts(p.grid, p.outputs);
  const int64_t tokens = p.grid.frames() * p.grid.rows * p.grid.columns;
  const int64_t tiles = embed_tiles(tokens, p.outputs);
  const int depth = static_cast<int>(padded_token(p.grid.token()));
  const PixelTokens in{p.pixels, p.grid, p.strides, tokens};
  char* token_tiles = reinterpret_cast<char*>(shared_floats());
  char* weight_tiles = token_tiles + 2 * kTokenTile;
  for (int64_t number = block_index(); number < tiles; number += grid_blocks()) {
    const EmbedTile tile = embed_tile(number, p.outputs);
    FragmentC sum[2][4] = {};
    Piece pieces[kThreadPieces];
    load_pieces<kFast>(in, tile.token, 0, pieces);
    stage_weights(p, parts, tile.output, 0, weight_tiles);
    for (int at = 0, turn = 0; at < depth; at += kEmbedDepth, turn ^= 1) {
      store_pieces(pieces, token_tiles + turn * kTokenTile);
      wait_copies<0>();
      sync_block();  // this step's tiles are there, and nobody reads those of the last one
      if (at + kEmbedDepth < depth) {
        load_pieces<kFast>(in, tile.token, at + kEmbedDepth, pieces);
        stage_weights(p, parts, tile.output, at + kEmbedDepth,
                      weight_tiles + (turn ^ 1) * kWeightTile);
      }
      multiply_tiles(token_tiles + turn * kTokenTile, weight_tiles + turn * kWeightTile, sum);
    }
    sync_block();  // before results take the place of tiles
    write_tile<T>(p, parts, tile, sum, shared_floats());
  }
}

}  // namespace

Status launch_patch_embed(const PatchEmbed& p, Stream stream) {
  if (!in_range(p.grid) || p.outputs < 1 || p.outputs > kMostEmbedOutputs) return kRefused;
  if (p.grid.elements() == 0) return {};
  if (!aligned_16(p.workspace) || (p.outputs % 8 == 0 && !aligned_16(p.y))) return kRefused;
  const int64_t rows = padded_outputs(p.outputs), warps = kEmbedThreads / kWarp;
  const Status status =
      launch(fold_weights_kernel,
             {"fold_weights", blocks_for((rows + warps - 1) / warps), kEmbedThreads}, p, stream);
  if (!status.ok()) return status;
  const bool fast = eight_at_once(p.pixels, p.grid, p.strides),
             is_float = p.element == Element::kFloat;
  const int64_t tokens = p.grid.frames() * p.grid.rows * p.grid.columns;
  return launch(
      fast ? (is_float ? patch_embed_kernel<float, true> : patch_embed_kernel<Bf16, true>)
           : (is_float ? patch_embed_kernel<float, false> : patch_embed_kernel<Bf16, false>),
      {"patch_embed", blocks_for(embed_tiles(tokens, p.outputs)), kEmbedThreads,
       static_cast<size_t>(embed_bytes())},
      p, stream);
}

}  // namespace praxino::kernels
