#include "praxino/layers/ranks.h"

#include <algorithm>

#include "praxino/parallel/exchange.h"

namespace praxino {
namespace {

constexpr int64_t kFrames = 1, kTokens = 2;  // dims

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
  return tokens_of(ranks_.tensor.rank(), ranks_.context.rank(), along_time);
}

Share SharedClip::tokens_of(int64_t tensor, int64_t context, bool along_time) const {
  const Share own = share_of(tokens_, ranks_.tensor.size(), tensor);
  if (!along_time || !split_) return own;
  const Share inner = share_of(own.count, ranks_.context.size(), context);
  return {.begin = own.begin + inner.begin, .count = inner.count};
}

TokenShares SharedClip::shares(bool along_time) const {
  TokenShares shares;
  for (int64_t tensor = 0; tensor < ranks_.tensor.size(); ++tensor) {
    shares.tokens.push_back(tokens_of(tensor, ranks_.context.rank(), along_time).count);
  }
  if (split_ && !along_time) shares.frames = share_counts(frames_, ranks_.context.size());
  return shares;
}

at::Tensor SharedClip::turn(const at::Tensor& x, bool along_time) const {
  if (!split_) return x;
  const int64_t ranks = ranks_.context.size();
  const std::vector<int64_t> counts = share_counts(frames_, ranks);
  const std::vector<int64_t> places = share_counts(tokens(false).count, ranks);
  return along_time ? switch_pieces(x, kFrames, counts, kTokens, places, ranks_.context)
                    : switch_pieces(x, kTokens, places, kFrames, counts, ranks_.context);
}

at::Tensor SharedClip::collect(const at::Tensor& own, bool along_time, int64_t first) const {
  const int64_t context_ranks = ranks_.context.size();
  at::Tensor all = own;
  if (split_ && along_time) {
    std::vector<int64_t> places;  // that this tensor rank's tokens were cut into
    for (int64_t context = 0; context < context_ranks; ++context) {
      places.push_back(from(tokens_of(ranks_.tensor.rank(), context, true), first));
    }
    all = gather_result(all, kTokens, places, ranks_.context);
  } else if (split_) {
    all = gather_result(all, kFrames, share_counts(frames_, context_ranks), ranks_.context);
  }
  std::vector<int64_t> counts;
  for (int64_t tensor = 0; tensor < ranks_.tensor.size(); ++tensor) {
    counts.push_back(from(tokens_of(tensor, 0, false), first));
  }
  return gather_result(all, kTokens, counts, ranks_.tensor);
}

}  // namespace praxino
