#include "checkpoint/agree.h"

#include <fmt/format.h>

#include <string_view>

#include "praxino/base/error.h"

namespace praxino {
namespace {

constexpr char kDone = '+';
constexpr char kFailed = '-';

std::string outcome_of(const std::function<std::string()>& work) {
  try {
    return kDone + work();
  } catch (const std::exception& error) {  // of whatever kind: the others wait for a word
    return kFailed + std::string(error.what());
  }
}

}  // namespace

std::vector<std::string> tell_outcomes(const SaveGroup& group,
                                       const std::function<std::string()>& work) {
  const std::string own = outcome_of(work);
  if (group.ranks == 1) return {own};
  std::vector<std::string> all = group.exchange(own);
  TORCH_CHECK(static_cast<int64_t>(all.size()) == group.ranks, "SaveGroup: ", all.size(),
              " texts from ", group.ranks, " ranks");
  return all;
}

std::vector<std::string> require_done(const SaveGroup& group,
                                      const std::vector<std::string>& outcomes) {
  std::vector<std::string> results;
  std::string failures;
  for (size_t rank = 0; rank < outcomes.size(); ++rank) {
    const std::string text = outcomes[rank].empty() ? "it said nothing" : outcomes[rank].substr(1);
    if (outcomes[rank].starts_with(kDone)) {
      results.push_back(text);
    } else {
      const std::string who = group.ranks == 1 ? "" : fmt::format("rank {}: ", rank);
      failures += (failures.empty() ? "" : "; ") + who + text;
    }
  }
  if (!failures.empty()) fail("{}", failures);
  return results;
}

}  // namespace praxino
