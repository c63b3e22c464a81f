#include "parallel/rank_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace praxino {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const FailedCollective kFailed{.rank = 0,
                               .group = "data",
                               .members = {0, 2},
                               .number = 7,
                               .collective = "all_gather (Float [8])",
                               .completed = 6};

GroupState data(int64_t entered, std::vector<int64_t> members = {0, 2}) {
  return {.name = "data",
          .members = std::move(members),
          .entered = entered,
          .collective = entered == 7 ? "all_gather (Float [8])" : "reduce_scatter (Float [64])"};
}

Heard answer(int64_t rank, std::vector<GroupState> groups) {
  return {.state = RankState{.rank = rank,
                             .step = 17,
                             .in_step = true,
                             .seconds = 3.25,
                             .groups = std::move(groups)},
          .answered = true,
          .ended = {}};
}

std::string culprits(const std::map<int64_t, Heard>& heard, const FailedCollective& f = kFailed) {
  return name_culprits(f, [&](int64_t rank) { return heard.at(rank); });
}

TEST(RankState, SurvivesItsText) {
  RankState state = *answer(3, {data(7), data(2, {3})}).state;
  state.trouble = "a \"quoted\" word";
  state.groups[1].waits_for = 2;
  state.groups[1].awaited = "barrier";
  const std::optional<RankState> read = parse_rank_state(to_json(state));
  ASSERT_TRUE(read);
  EXPECT_EQ(to_json(*read), to_json(state));
  EXPECT_EQ(read->trouble, state.trouble);
  EXPECT_EQ(read->groups[1].waits_for, 2);
  for (const char* text : {"", "{", "{}", "[]", "{\"rank\": \"x\"}"}) {
    EXPECT_FALSE(parse_rank_state(text)) << text;
  }
}

TEST(Culprits, ARankThatHasNotEnteredIsNamedWithItsLast) {
  EXPECT_EQ(culprits({{2, answer(2, {data(6)})}}),
            "rank 2 has not entered it; its last there was number 6, reduce_scatter (Float [64]), "
            "in step 17; it has been at something else for 3.2 s");
  EXPECT_THAT(
      culprits(
          {{2, answer(2, {data(0)})}},
          {.rank = 0, .group = "data", .members = {0, 2}, .number = 1, .collective = "barrier"}),
      HasSubstr("rank 2 has not entered it; it has entered none there"));
}

TEST(Culprits, ARankThatFoundItsOwnTroubleTellsIt) {
  Heard heard = answer(2, {data(6)});
  heard.state->trouble = "step 17 has not gone on for 600 s";
  EXPECT_THAT(culprits({{2, heard}}), HasSubstr("step 17 has not gone on for 600 s"));
}

TEST(Culprits, ASilentRankIsNamedWithTheLastThatIsKnown) {
  Heard heard = answer(2, {data(4)});
  heard.answered = false;
  // It told of number 4, and this rank saw number 6 completed, which all must have entered.
  EXPECT_EQ(culprits({{2, heard}}),
            "no word from rank 2 (stopped, ended or cut off); its last there was number 6, or a "
            "later one, in step 17");
  EXPECT_THAT(culprits({{2, Heard{}}}), HasSubstr("it has told nothing"));
}

TEST(Culprits, ADeadRankIsNamedWithItsEndAndLateOnesAreNot) {
  FailedCollective failed = kFailed;
  failed.members = {0, 1, 2};
  Heard dead = answer(2, {data(6, {0, 1, 2})});
  dead.answered = false;
  dead.ended = "was ended by signal 9 (Killed)";
  const std::string text = culprits({{1, answer(1, {data(6, {0, 1, 2})})}, {2, dead}}, failed);
  EXPECT_THAT(text,
              HasSubstr("rank 2 was ended by signal 9 (Killed); its last there was number 6"));
  EXPECT_THAT(text, Not(HasSubstr("rank 1")));
}

// Rank 2 waits for rank 3 along another axis: rank 3 is the one to look at.
TEST(Culprits, TheWayGoesOnThroughOtherGroups) {
  const GroupState tensor{.name = "tensor",
                          .members = {2, 3},
                          .entered = 9,
                          .collective = "all_reduce (Float [2])",
                          .waits_for = 9,
                          .awaited = "all_reduce (Float [2])"};
  GroupState late = tensor;
  late.entered = 8;
  late.waits_for = 0;
  const std::string text = culprits({{2, answer(2, {data(6), tensor})}, {3, answer(3, {late})}});
  EXPECT_THAT(text, HasSubstr("rank 2 has not entered it: it waits in number 9 of the group "
                              "'tensor', all_reduce (Float [2])"));
  EXPECT_THAT(text, HasSubstr("rank 3 has not entered it; its last there was number 8"));
  // A silent one behind it is named alone.
  const std::string silent = culprits({{2, answer(2, {data(6), tensor})}, {3, Heard{}}});
  EXPECT_EQ(silent, "no word from rank 3 (stopped, ended or cut off); it has told nothing");
}

TEST(Culprits, RanksThatDoDifferentThingsAreNamed) {
  GroupState other = data(7);
  other.collective = "all_gather (Float [9])";
  EXPECT_EQ(culprits({{2, answer(2, {other})}}),
            "rank 2 has entered all_gather (Float [9]) as number 7 there");
  FailedCollective exchange = kFailed;
  exchange.collective = "all_to_all (Float [8])";
  other.collective = "all_to_all (Float [9])";  // each may give and take other sizes
  EXPECT_THAT(culprits({{2, answer(2, {other})}}, exchange), HasSubstr("every rank has entered"));
}

TEST(Culprits, WhereAllHaveEnteredNobodyIs) {
  EXPECT_THAT(culprits({{2, answer(2, {data(7)})}}), HasSubstr("every rank has entered it"));
  EXPECT_THAT(culprits({{2, answer(2, {data(9)})}}), HasSubstr("every rank has entered it"));
}

}  // namespace
}  // namespace praxino
