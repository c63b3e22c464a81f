#include "train/ranks.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "praxino/base/error.h"
#include "praxino/base/signals.h"
#include "support/error_text.h"

namespace praxino {
namespace {

using testing::error_text;
using ::testing::HasSubstr;

void on_ranks(int64_t count, const std::function<void(Ranks&)>& run) {
  run_as_threads({.data = count}, [&](Mesh& mesh) {
    Ranks ranks(std::shared_ptr<const Mesh>(&mesh, [](const Mesh*) {}));
    run(ranks);
  });
}

TEST(Ranks, AWorldOfOneDecidesAlone) {
  Ranks ranks(nullptr);
  EXPECT_TRUE(ranks.first());
  EXPECT_EQ(ranks.agree(7), 7);
  EXPECT_EQ(ranks.sum(7), 7);
  int calls = 0;
  ranks.on_first([&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(Ranks, RefuseAnotherConfigurationWithItsDifference) {
  on_ranks(3, [](Ranks& ranks) {
    RunConfig config;
    ranks.require_equal("start", agreement(config, {.data = 3}));
    if (ranks.data_rank() == 2) config.optim.lr = 0.5;
    const std::string text =
        error_text([&] { ranks.require_equal("start", agreement(config, {.data = 3})); });
    EXPECT_THAT(text, HasSubstr("rank 2 of 3 has another start than rank 0: optim"));
    EXPECT_THAT(text, HasSubstr("lr: 0.5"));
  });
}

TEST(Ranks, ThrowEverywhereWhatTheFirstThrew) {
  on_ranks(3, [](Ranks& ranks) {
    int calls = 0;
    ranks.on_first([&] { ++calls; });
    EXPECT_EQ(calls, ranks.first() ? 1 : 0);
    EXPECT_EQ(error_text([&] { ranks.on_first([] { fail("disk {}", 3); }); }), "disk 3");
    try {
      ranks.on_first([] { fail_usage("no"); });
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
    }
    try {
      ranks.on_first([] { throw Stopped(143); });
      FAIL();
    } catch (const Stopped& stopped) {
      EXPECT_EQ(stopped.exit_code(), 143);
    }
  });
}

TEST(Ranks, ThrowEverywhereWhatAnyOneThrew) {
  on_ranks(3, [](Ranks& ranks) {
    int calls = 0;
    ranks.on_all([&] { ++calls; });
    EXPECT_EQ(calls, 1);
    const auto fail_on = [&](int64_t rank) {
      ranks.on_all([&] {
        if (ranks.data_rank() >= rank) fail_usage("no file here");
      });
    };
    EXPECT_EQ(error_text([&] { fail_on(1); }), "rank 1: no file here");
    EXPECT_EQ(error_text([&] { fail_on(2); }), "rank 2: no file here");
    const auto out_of_memory_on_one = [&] {
      ranks.on_all([&] {
        if (ranks.data_rank() == 1) throw std::runtime_error("no memory\nbacktrace");
      });
    };
    EXPECT_EQ(error_text(out_of_memory_on_one), "rank 1: no memory");
    EXPECT_EQ(ranks.agree(std::to_string(ranks.data_rank())), "0");
  });
  EXPECT_EQ(error_text([] { Ranks(nullptr).on_all([] { fail("alone"); }); }), "alone");
}

TEST(Ranks, AgreeOnTheFirstOnesNumberAndOnTheMoment) {
  on_ranks(3, [](Ranks& ranks) {
    EXPECT_EQ(ranks.agree(10 + ranks.data_rank()), 10);
    EXPECT_EQ(ranks.sum(1 + ranks.data_rank()), 6);
    EXPECT_EQ(ranks.sum_in_training(1 + ranks.data_rank()), 6);
    EXPECT_EQ(ranks.moment().stop, 0);
    ranks.exchange(
        {.stop = ranks.data_rank() == 1 ? 143 : 0, .elapsed = ranks.first() ? 5.5 : 900});
    EXPECT_EQ(ranks.moment().stop, 143);
    EXPECT_EQ(ranks.moment().elapsed, 5.5);
    EXPECT_FALSE(ranks.moment().save_failed);
    ranks.exchange({.save_failed = ranks.data_rank() == 2});
    EXPECT_TRUE(ranks.moment().save_failed);
    std::vector<at::Tensor> scalars = {at::full({}, static_cast<double>(ranks.data_rank())),
                                       at::full({}, 4.0)};
    ranks.average(scalars);
    EXPECT_EQ(scalars[0].item<double>(), 1);
    EXPECT_EQ(scalars[1].item<double>(), 4);
  });
}

TEST(Ranks, SaveAsAGroupBesideWhatTheyDoTogether) {
  on_ranks(3, [](Ranks& ranks) {
    const SaveGroup group = ranks.save_group();
    EXPECT_EQ(group.rank, ranks.data_rank());
    EXPECT_EQ(group.ranks, 3);
    // The first rank comes last: meanwhile the others go on with collectives of their own.
    std::vector<std::string> texts;
    const auto tell = [&] { texts = group.exchange(std::to_string(group.rank)); };
    std::optional<std::jthread> beside;
    if (!ranks.first()) beside.emplace(tell);
    EXPECT_EQ(ranks.sum(1), 3);
    if (ranks.first()) tell();
    beside.reset();
    EXPECT_THAT(texts, ::testing::ElementsAre("0", "1", "2"));
  });
  EXPECT_EQ(Ranks(nullptr).save_group().ranks, 1);
}

}  // namespace
}  // namespace praxino
