#include "praxino/layers/ranks.h"

#include <algorithm>

#include "praxino/parallel/exchange.h"

namespace praxino {
namespace {

/// How much of a share lies at `first` or behind it.
int64_t from(const Share& share, int64_t first) {
  return std::max<int64_t>(0, share.end() - std::max(share.begin, first));
}

}  // namespace

SharedClip::SharedClip(const ModelRanks& ranks, int64_t frames, int64_t tokens, bool split_frames)
    : ranks_(ranks),
      frames_(frames),
      tokens_(tokens),
      split_(split_frames && ranks.context.size() > 1) {}

Share SharedClip::frames(bool along_time) const {
  if (along_time || !split_) return {.begin = 0, .count = frames_};
  return share_of(frames_, ranks_.context.size(), ranks_.context.rank());
}

Share SharedClip::tokens(bool along_time) const {
  const Share own = share_of(tokens_, ranks_.tensor.size(), ranks_.tensor.rank());
  if (!along_time || !split_) return own;
  const Share inner = share_of(own.count, ranks_.context.size(), ranks_.context.rank());
  return {.begin = own.begin + inner.begin, .count = inner.count};
}

// Those from `first` on, of every tensor rank beside context rank number `context_rank`.
std::vector<int64_t> SharedClip::token_counts(bool along_time, int64_t context_rank,
                                              int64_t first) const {
  std::vector<int64_t> counts;
  for (int64_t rank = 0; rank < ranks_.tensor.size(); ++rank) {
    Share share = share_of(tokens_, ranks_.tensor.size(), rank);
    if (along_time && split_) {
      const Share inner = share_of(share.count, ranks_.context.size(), context_rank);
      share = {.begin = share.begin + inner.begin, .count = inner.count};
    }
    counts.push_back(from(share, first));
  }
  return counts;
}

TokenShares SharedClip::shares(bool along_time) const {
  TokenShares shares{.tokens = token_counts(along_time, ranks_.context.rank(), 0), .frames = {}};
  if (split_ && !along_time) shares.frames = share_counts(frames_, ranks_.context.size());
  return shares;
}

at::Tensor SharedClip::turn(const at::Tensor& x, bool along_time) const {
  if (!split_) return x;
  constexpr int64_t kFrames = 1, kTokens = 2;
  const int64_t ranks = ranks_.context.size();
  const std::vector<int64_t> counts = share_counts(frames_, ranks);
  const std::vector<int64_t> places = share_counts(tokens(false).count, ranks);
  return along_time ? switch_pieces(x, kFrames, counts, kTokens, places, ranks_.context)
                    : switch_pieces(x, kTokens, places, kFrames, counts, ranks_.context);
}

at::Tensor SharedClip::collect(const at::Tensor& own, bool along_time, int64_t first) const {
  constexpr int64_t kFrames = 1, kTokens = 2;
  at::Tensor all = own;
  if (split_ && along_time) {
    // The places that this tensor rank's frames were cut into.
    std::vector<int64_t> counts;
    for (int64_t context = 0; context < ranks_.context.size(); ++context) {
      counts.push_back(
          token_counts(true, context, first)[static_cast<size_t>(ranks_.tensor.rank())]);
    }
    all = gather_result(all, kTokens, counts, ranks_.context);
  } else if (split_) {
    all = gather_result(all, kFrames, share_counts(frames_, ranks_.context.size()), ranks_.context);
  }
  return gather_result(all, kTokens, token_counts(false, 0, first), ranks_.tensor);
}

}  // namespace praxino
