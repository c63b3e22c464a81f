#pragma once
// "did you mean": the nearest of the words that would have been right.

#include <string>
#include <string_view>
#include <vector>

namespace praxino {

/// The word with the fewest insertions, deletions, changes and swaps of neighbours; empty when none
/// is near.
std::string nearest(std::string_view word, const std::vector<std::string>& words);

}  // namespace praxino
