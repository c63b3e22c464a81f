#pragma once
// How a length is shared by several ranks: contiguous pieces, the first ones longer by one where it
// does not divide.

#include <cstdint>
#include <vector>

namespace praxino {

/// [begin, begin + count) of a length.
struct Share {
  int64_t begin = 0;
  int64_t count = 0;
  constexpr int64_t end() const { return begin + count; }
  constexpr bool operator==(const Share&) const = default;
};

/// The share of rank number `rank` of `ranks`.
constexpr Share share_of(int64_t length, int64_t ranks, int64_t rank) {
  const int64_t each = length / ranks, longer = length % ranks;
  return {.begin = rank * each + (rank < longer ? rank : longer),
          .count = each + (rank < longer ? 1 : 0)};
}

/// The counts of all shares, by rank.
inline std::vector<int64_t> share_counts(int64_t length, int64_t ranks) {
  std::vector<int64_t> counts;
  for (int64_t rank = 0; rank < ranks; ++rank)
    counts.push_back(share_of(length, ranks, rank).count);
  return counts;
}

}  // namespace praxino
