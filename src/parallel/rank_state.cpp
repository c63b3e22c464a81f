#include "parallel/rank_state.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace praxino {
namespace {

using Json = nlohmann::ordered_json;

/// Whether two ranks do the same thing; of an all_to_all each may give and take other sizes.
bool same(const std::string& one, const std::string& other) {
  return one == other || (one.starts_with("all_to_all") && other.starts_with("all_to_all"));
}

/// Walks from rank to rank.
class Inquiry {
 public:
  explicit Inquiry(const std::function<Heard(int64_t)>& ask) : ask_(ask) {}

  void look_at(const FailedCollective& failed) {
    for (const int64_t member : failed.members) {
      if (member != failed.rank) look_at(member, failed);
    }
  }
  /// Where ranks have fallen silent, the others may be late only because of them.
  std::string text() const {
    return fmt::format("{}", fmt::join(silent_.empty() ? late_ : silent_, "; "));
  }

 private:
  /// "; its last there was number 4710, all_gather (Float [512]), in step 17".
  static std::string last_of(const Heard& heard, const FailedCollective& failed) {
    if (!heard.state) return "; it has told nothing";
    const GroupState* group = heard.state->find(failed.group, failed.members);
    const int64_t entered = std::max(group ? group->entered : 0, failed.completed);
    std::string text = "; its last there was ";
    if (entered == 0) {
      text = "; it has entered none there";
    } else if (group != nullptr && group->entered == entered) {
      text += fmt::format("number {}, {}", entered, group->collective);
    } else {
      text += fmt::format("number {}, or a later one", entered);
    }
    if (heard.state->step < 0) return text;
    return text +
           fmt::format(", {} step {}", heard.state->in_step ? "in" : "after", heard.state->step);
  }

  void look_at(int64_t rank, const FailedCollective& failed) {
    if (!seen_.insert(rank).second) return;
    const Heard heard = ask_(rank);
    const GroupState* group =
        heard.state ? heard.state->find(failed.group, failed.members) : nullptr;
    if (!heard.ended.empty()) {
      silent_.push_back(fmt::format("rank {} {}{}", rank, heard.ended, last_of(heard, failed)));
    } else if (!heard.answered) {
      silent_.push_back(fmt::format("no word from rank {} (stopped, ended or cut off){}", rank,
                                    last_of(heard, failed)));
    } else if (failed.number > 0 && (group == nullptr || group->entered < failed.number)) {
      not_entered(rank, heard, failed);
    } else if (group != nullptr && group->entered == failed.number &&
               !same(group->collective, failed.collective)) {
      late_.push_back(fmt::format("rank {} has entered {} as number {} there", rank,
                                  group->collective, failed.number));
    }
  }

  void not_entered(int64_t rank, const Heard& heard, const FailedCollective& failed) {
    const auto& groups = heard.state->groups;
    const auto other =
        std::ranges::find_if(groups, [](const GroupState& group) { return group.waits_for > 0; });
    std::string line = fmt::format("rank {} has not entered it", rank);
    if (other == groups.end()) {
      line += last_of(heard, failed);
      if (heard.state->trouble.empty()) {
        line += fmt::format("; it has been at something else for {:.1f} s", heard.state->seconds);
      } else {
        line += "; " + heard.state->trouble;
      }
      late_.push_back(line);
      return;
    }
    late_.push_back(fmt::format("{}: it waits in number {} of the group '{}', {}", line,
                                other->waits_for, other->name, other->awaited));
    look_at({.rank = rank,
             .group = other->name,
             .members = other->members,
             .number = other->waits_for,
             .collective = other->awaited});
  }

  const std::function<Heard(int64_t)>& ask_;
  std::set<int64_t> seen_;
  std::vector<std::string> silent_, late_;
};

Json group_json(const GroupState& group) {
  return {{"name", group.name},           {"members", group.members},
          {"entered", group.entered},     {"collective", group.collective},
          {"waits_for", group.waits_for}, {"awaited", group.awaited}};
}

GroupState parse_group(const Json& json) {
  GroupState group;
  json.at("name").get_to(group.name);
  json.at("members").get_to(group.members);
  json.at("entered").get_to(group.entered);
  json.at("collective").get_to(group.collective);
  json.at("waits_for").get_to(group.waits_for);
  json.at("awaited").get_to(group.awaited);
  return group;
}

}  // namespace

const GroupState* RankState::find(const std::string& group,
                                  const std::vector<int64_t>& members) const {
  const auto found = std::ranges::find_if(groups, [&](const GroupState& candidate) {
    return candidate.name == group && candidate.members == members;
  });
  return found == groups.end() ? nullptr : &*found;
}

std::string to_json(const RankState& state) {
  Json groups = Json::array();
  for (const GroupState& group : state.groups) groups.push_back(group_json(group));
  return Json{{"rank", state.rank},       {"step", state.step},       {"in_step", state.in_step},
              {"seconds", state.seconds}, {"trouble", state.trouble}, {"groups", groups}}
      .dump();
}

std::optional<RankState> parse_rank_state(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    RankState state;
    json.at("rank").get_to(state.rank);
    json.at("step").get_to(state.step);
    json.at("in_step").get_to(state.in_step);
    json.at("seconds").get_to(state.seconds);
    json.at("trouble").get_to(state.trouble);
    for (const Json& group : json.at("groups")) state.groups.push_back(parse_group(group));
    return state;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

std::string name_culprits(const FailedCollective& failed,
                          const std::function<Heard(int64_t rank)>& ask) {
  Inquiry inquiry(ask);
  inquiry.look_at(failed);
  const std::string text = inquiry.text();
  return text.empty() ? "every rank has entered it: a connection or a device is at fault" : text;
}

}  // namespace praxino
