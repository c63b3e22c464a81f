#pragma once
// Attention over parts of the keys, joined into attention over all of them: what lets few queries
// over many keys fill a device (Dao, Haziza, Massa and Sizov, "Flash-Decoding", 2023). The parts
// are sequences of their own to the kernels of kernels/frame_attention.h, which leave results and
// the logarithm of the sum of every row; a row of all keys is the mean of its parts weighted by
// those sums (online softmax: Milakov and Gimelshein, arXiv 1805.02867). Pure functions choose how
// many parts there are.

#include "kernels/frame_attention.h"

namespace praxino::kernels {

/// Into how many equal parts keys are split so that blocks of 128 queries fill a device in one
/// round; 1 where they do so by themselves, where some query does not see all keys, and where parts
/// would have fewer than kFewestKeysOfPart keys.
inline constexpr int64_t kFewestKeysOfPart = 256;
inline constexpr int64_t kMostKeyParts = 16;
constexpr int64_t parts_of_keys(const AttentionShape& shape, int multiprocessors) {
  const FrameMask& mask = shape.mask;
  if (!in_range(mask) || !mask.full({0, mask.queries}, {0, mask.keys})) return 1;
  const int64_t blocks = shape.batch * shape.heads * tiles_of(mask.queries, 128);
  int64_t best = 1;
  for (int64_t parts = 2; parts <= kMostKeyParts; ++parts) {
    const bool whole = mask.keys % parts == 0 && mask.keys / parts >= kFewestKeysOfPart;
    if (whole && parts * blocks <= multiprocessors) best = parts;
  }
  return best;
}

struct JoinAttention {
  const Bf16* results = nullptr;  // batch x parts x queries x heads x width
  const float* lse = nullptr;     // batch x parts x heads x queries
  Bf16* out = nullptr;            // batch x queries x heads x width
  int64_t batch = 0;
  int64_t parts = 0;  // at least 1
  int64_t queries = 0;
  int64_t heads = 0;
  int64_t width = 0;  // 64 or 128
};
/// Zeros where no part has seen a key. Sums in float, in the order of the parts. kRefused for other
/// widths, negative sizes, more than 2^31 rows and pointers that are not aligned to 16 bytes. Only
/// queues work on the stream; thread-safe.
Status launch_join_attention(const JoinAttention& params, Stream stream);

}  // namespace praxino::kernels
