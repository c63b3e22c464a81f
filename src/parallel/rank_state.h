#pragma once
// What ranks tell each other when a collective fails, and who is to blame for it. Pure.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace praxino {

/// Where a rank stands in one of its groups.
struct GroupState {
  std::string name = {};
  std::vector<int64_t> members = {};  // ranks of the world
  int64_t entered = 0;                // number of the last collective that it entered; 0: none
  std::string collective = {};        // which that was
  int64_t waits_for = 0;     // number of the one that it waits for, or that failed; 0: none
  std::string awaited = {};  // which that is
};

struct RankState {
  int64_t rank = 0;
  int64_t step = -1;         // the newest that it has begun; -1: none
  bool in_step = false;      // which has not ended
  double seconds = 0;        // since it began or entered anything
  std::string trouble = {};  // what it has found out about itself
  std::vector<GroupState> groups = {};

  const GroupState* find(const std::string& group, const std::vector<int64_t>& members) const;
};

std::string to_json(const RankState& state);
/// Nothing where the text is none of to_json()'s.
std::optional<RankState> parse_rank_state(const std::string& text);

/// What is known of a rank from outside.
struct Heard {
  std::optional<RankState> state;  // the last that it told
  bool answered = false;           // it told so after the failure
  std::string ended;               // "was ended by signal 9 (Killed)"; empty: not known to
};

/// A collective that failed on `rank`.
struct FailedCollective {
  int64_t rank = 0;
  std::string group;
  std::vector<int64_t> members;  // ranks of the world
  int64_t number = 0;            // 0: a message, of which only the members here know
  std::string collective = {};
  int64_t completed = 0;  // number of the newest one that all have entered, as far as known
};

/// Who kept the others from completing it, and what each of them did last: "rank 2 has not entered
/// it: its last there was number 4710, all_gather (Float [512]), in step 17". Where a rank has not
/// entered it because it waits for others in another group, those are looked at in turn. `ask`
/// tells of any rank of the world.
std::string name_culprits(const FailedCollective& failed,
                          const std::function<Heard(int64_t rank)>& ask);

}  // namespace praxino
