#pragma once
// The product of patches and a projection in tiles: rows are tokens, columns are outputs, and the
// contraction runs over the elements of a token in the order of kernels/patch_grid.h, kEmbedDepth
// at a time.

#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/patch_grid.h"

namespace praxino::kernels {

inline constexpr int kEmbedThreads = 256;
inline constexpr int kEmbedTokens = 64;    // of a block
inline constexpr int kEmbedOutputs = 128;  // of a block
inline constexpr int kEmbedDepth = 64;     // elements of a token in shared memory at a time
inline constexpr int64_t kMostEmbedOutputs = int64_t{1} << 20;

/// Elements of a token, filled up with zeros to whole steps.
constexpr PRAXINO_HOST_DEVICE int64_t padded_token(int64_t token) {
  return (token + kEmbedDepth - 1) / kEmbedDepth * kEmbedDepth;
}

constexpr PRAXINO_HOST_DEVICE int64_t padded_outputs(int64_t outputs) {
  return (outputs + kEmbedOutputs - 1) / kEmbedOutputs * kEmbedOutputs;
}

/// Where eight elements of a row lie in a tile of rows of kEmbedDepth, in units of 16 bytes: eight
/// rows' units of one number are in eight different groups of banks.
constexpr PRAXINO_HOST_DEVICE int embed_unit(int row, int unit) {
  return row * (kEmbedDepth / 8) + (unit ^ (row % 8));
}

/// Shared memory of a block: two tiles of tokens and two of weights.
constexpr PRAXINO_HOST_DEVICE int64_t embed_bytes() {
  return int64_t{2} * 2 * kEmbedDepth * (kEmbedTokens + kEmbedOutputs);
}

/// Where a block works.
struct EmbedTile {
  int64_t token;   // the first
  int64_t output;  // the first
};

constexpr PRAXINO_HOST_DEVICE int64_t embed_tiles(int64_t tokens, int64_t outputs) {
  return (tokens + kEmbedTokens - 1) / kEmbedTokens * (padded_outputs(outputs) / kEmbedOutputs);
}

/// Tiles of the same tokens follow each other: their pixels stay in the cache.
constexpr PRAXINO_HOST_DEVICE EmbedTile embed_tile(int64_t number, int64_t outputs) {
  const int64_t across = padded_outputs(outputs) / kEmbedOutputs;
  return {number / across * kEmbedTokens, number % across * kEmbedOutputs};
}

/// The first pixel of a token.
constexpr PRAXINO_HOST_DEVICE int64_t corner_of_token(int64_t token, const PatchGrid& grid,
                                                      const PictureStrides& strides) {
  const int64_t line = token / grid.columns, column = token - line * grid.columns;
  const int64_t frame = line / grid.rows, row = line - frame * grid.rows;
  const int64_t clip = frame / grid.time;
  return clip * strides.batch + (frame - clip * grid.time) * strides.time +
         row * grid.patch * strides.row + column * grid.patch;
}

/// An element of a token, from its corner.
constexpr PRAXINO_HOST_DEVICE int64_t offset_in_token(int element, int patch,
                                                      const PictureStrides& strides) {
  const int run = element / patch;
  return offset_of_run(run, patch, strides) + (element - run * patch);
}

// The weights' gradient: outputs x elements, the contraction over tokens cut into splits, whose
// parts are added up in their order.
inline constexpr int kEmbedGradOutputs = 64;  // of a block; elements as kEmbedDepth

struct EmbedGradShape {
  int64_t tiles_down;    // of outputs
  int64_t tiles_across;  // of elements
  int64_t splits;
  int64_t tokens_of_split;
  constexpr PRAXINO_HOST_DEVICE int64_t blocks() const {
    return tiles_down * tiles_across * splits;
  }
};

/// Enough blocks for a large chip, but splits of at least 512 tokens: a part is written and read
/// for each. Follows from the shape alone.
constexpr PRAXINO_HOST_DEVICE EmbedGradShape embed_grad_shape(int64_t tokens, int64_t outputs,
                                                              int64_t token) {
  constexpr int64_t kEnoughBlocks = 1024, kFewest = 512;
  const int64_t down = (outputs + kEmbedGradOutputs - 1) / kEmbedGradOutputs;
  const int64_t across = (token + kEmbedDepth - 1) / kEmbedDepth;
  const int64_t wanted = (kEnoughBlocks + down * across - 1) / (down * across);
  int64_t length = (tokens + wanted - 1) / wanted;
  if (length < kFewest) length = kFewest;
  length = (length + kEmbedTokens - 1) / kEmbedTokens * kEmbedTokens;
  return {down, across, (tokens + length - 1) / length, length};
}

struct EmbedGradTile {
  int64_t split;
  int64_t output;   // the first
  int64_t element;  // the first
};

/// Tiles of one split follow each other: their pixels and gradients stay in the cache.
constexpr PRAXINO_HOST_DEVICE EmbedGradTile embed_grad_tile(int64_t number,
                                                            const EmbedGradShape& shape) {
  const int64_t tiles = shape.tiles_down * shape.tiles_across;
  const int64_t split = number / tiles, tile = number - split * tiles;
  return {split, tile / shape.tiles_across * kEmbedGradOutputs,
          tile % shape.tiles_across * kEmbedDepth};
}

/// Floats of workspace: a part for each split.
constexpr PRAXINO_HOST_DEVICE int64_t embed_grad_workspace(int64_t tokens, int64_t outputs,
                                                           int64_t token) {
  return embed_grad_shape(tokens, outputs, token).splits * outputs * token;
}

/// True where eight neighbouring elements of a token are eight pixels at a multiple of 8 bytes.
inline bool eight_at_once(const void* pixels, const PatchGrid& grid,
                          const PictureStrides& strides) {
  const int64_t all[] = {strides.batch,
                         strides.time,
                         strides.channel,
                         strides.row,
                         static_cast<int64_t>(reinterpret_cast<uintptr_t>(pixels)),
                         grid.patch};
  for (const int64_t value : all) {
    if (value % 8 != 0) return false;
  }
  return true;
}

/// Bytes of workspace: the rounded, scaled weights and what they add to the bias.
struct PatchEmbedParts {
  int64_t weights;  // padded outputs x padded token of bfloat16
  int64_t bias;     // padded outputs floats
  int64_t end;
};

constexpr PRAXINO_HOST_DEVICE PatchEmbedParts patch_embed_parts(const PatchGrid& grid,
                                                                int64_t outputs) {
  PatchEmbedParts parts{};
  parts.bias = padded_outputs(outputs) * padded_token(grid.token()) * 2;
  parts.end = parts.bias + padded_outputs(outputs) * 4;
  return parts;
}

}  // namespace praxino::kernels
