#pragma once
// What a person may have meant: the nearest of the words that would have been right. Pure,
// thread-safe.

#include <string>
#include <string_view>
#include <vector>

namespace praxino {

/// Edits (insert, delete, replace, swap neighbours) that turn `a` into `b`; for short words.
int edit_distance(std::string_view a, std::string_view b);

/// The one of `words` that was probably meant by `unknown`: a few edits away, its abbreviation
/// ("lr" for "learning_rate"), or a part of it ("batch" for "batch_size"). Empty when none is near.
std::string_view nearest_word(std::string_view unknown, const std::vector<std::string_view>& words);

/// The end of a sentence about the unknown key `section`.`key`: "; did you mean 'optim.lr'?",
/// looked for among `siblings` (keys of the same section), then in other sections (`all`: dotted
/// keys), else the list of siblings.
std::string key_suggestion(std::string_view section, std::string_view key,
                           const std::vector<std::string_view>& siblings,
                           const std::vector<std::string>& all);

}  // namespace praxino
