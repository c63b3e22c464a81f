#include "checkpoint/agree.h"

#include <fmt/format.h>

#include <string_view>

#include "praxino/base/error.h"

namespace praxino {
namespace {

constexpr char kDone = '+';
constexpr char kFailed = '-';

std::string outcome_of(const std::function<std::string()>& work, bool alone) {
  try {
    return kDone + work();
  } catch (const Error& error) {
    return kFailed + std::string(error.what());
  } catch (const std::exception& error) {
    if (alone) throw;
    return kFailed + std::string(error.what());  // the others wait for a word
  }
}

}  // namespace

std::vector<std::string> tell_outcomes(const SaveGroup& group,
                                       const std::function<std::string()>& work) {
  const std::string own = outcome_of(work, group.ranks == 1);
  if (group.ranks == 1) return {own};
  std::vector<std::string> all = group.exchange(own);
  TORCH_CHECK(static_cast<int64_t>(all.size()) == group.ranks, "SaveGroup: ", all.size(),
              " texts from ", group.ranks, " ranks");
  return all;
}

std::string failures(const SaveGroup& group, const std::vector<std::string>& outcomes) {
  std::string text;
  for (size_t rank = 0; rank < outcomes.size(); ++rank) {
    if (outcomes[rank].starts_with(kDone)) continue;
    const std::string who = group.ranks == 1 ? "" : fmt::format("rank {}: ", rank);
    text += (text.empty() ? "" : "; ") + who +
            (outcomes[rank].empty() ? "it said nothing" : outcomes[rank].substr(1));
  }
  return text;
}

std::vector<std::string> require_done(const SaveGroup& group,
                                      const std::vector<std::string>& outcomes) {
  const std::string failed = failures(group, outcomes);
  if (!failed.empty()) fail("{}", failed);
  std::vector<std::string> results;
  for (const std::string& outcome : outcomes) results.push_back(outcome.substr(1));
  return results;
}

}  // namespace praxino
