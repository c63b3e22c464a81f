#pragma once
// Eight pixels of a token at a time on their way into a tile of bfloat16 in shared memory
// (kernels/patch_embed_grid.h): kEmbedTokens rows of kEmbedDepth elements, as x - 128, which is
// exact. A thread loads its pieces of the next tile before it works on this one.

#include "kernels/device/memory.cuh"
#include "kernels/device/thread.cuh"
#include "kernels/patch_embed_grid.h"

namespace praxino::kernels::device {

inline constexpr int kEmbedUnits = kEmbedDepth / 8;  // of 16 bytes, of a row of a tile
inline constexpr int kThreadPieces = kEmbedTokens * kEmbedUnits / kEmbedThreads;

struct PixelTokens {
  const uint8_t* pixels;
  PatchGrid grid;
  PictureStrides strides;
  int64_t end;  // tokens from here on are zeros
};

struct Piece {
  uint8_t level[8];
};

// Neighbouring threads take neighbouring tokens, whose pixels are neighbours.
PRAXINO_DEVICE int row_of_piece(int i) {
  return (thread_index() + i * kEmbedThreads) % kEmbedTokens;
}
PRAXINO_DEVICE int unit_of_piece(int i) {
  return (thread_index() + i * kEmbedThreads) / kEmbedTokens;
}

/// kFast: eight elements from a multiple of eight on lie in one run of pixels, at a multiple of 8
/// bytes.
template <bool kFast>
PRAXINO_DEVICE Piece load_piece(const PixelTokens& in, int64_t token, int element) {
  Piece piece;
  const bool exists = token < in.end;
  const uint8_t* corner =
      exists ? in.pixels + corner_of_token(token, in.grid, in.strides) : nullptr;
  const int patch = static_cast<int>(in.grid.patch), width = static_cast<int>(in.grid.token());
  if constexpr (kFast) {
    uint32_t words[2] = {0x80808080U, 0x80808080U};
    if (exists && element < width) {
      const auto* from =
          reinterpret_cast<const uint32_t*>(corner + offset_in_token(element, patch, in.strides));
      words[0] = load(from);
      words[1] = load(from + 1);
    }
    PRAXINO_UNROLL
    for (int i = 0; i < 8; ++i)
      piece.level[i] = static_cast<uint8_t>(words[i / 4] >> (8 * (i % 4)) & 0xffU);
  } else {
    PRAXINO_UNROLL
    for (int i = 0; i < 8; ++i) {
      const bool there = exists && element + i < width;
      piece.level[i] =
          there ? load(corner + offset_in_token(element + i, patch, in.strides)) : uint8_t{128};
    }
  }
  return piece;
}

/// The thread's pieces of tokens [token, ...) and elements [element, ...).
template <bool kFast>
PRAXINO_DEVICE void load_pieces(const PixelTokens& in, int64_t token, int element,
                                Piece (&pieces)[kThreadPieces]) {
  PRAXINO_UNROLL
  for (int i = 0; i < kThreadPieces; ++i)
    pieces[i] = load_piece<kFast>(in, token + row_of_piece(i), element + 8 * unit_of_piece(i));
}

PRAXINO_DEVICE void store_pieces(const Piece (&pieces)[kThreadPieces], char* tile) {
  PRAXINO_UNROLL
  for (int i = 0; i < kThreadPieces; ++i) {
    Vector<8> values;
    PRAXINO_UNROLL
    for (int j = 0; j < 8; ++j) values.v[j] = static_cast<float>(pieces[i].level[j]) - 128.0F;
    store_vector(reinterpret_cast<Bf16*>(tile + 16 * embed_unit(row_of_piece(i), unit_of_piece(i))),
                 values);
  }
}

}  // namespace praxino::kernels::device
