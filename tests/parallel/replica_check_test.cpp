#include "praxino/parallel/replica_check.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "praxino/parallel/mesh.h"
#include "support/error_text.h"

namespace praxino {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::vector<std::string> kNames = {"a", "b"};

CopyPrints prints(int64_t rank, std::vector<int64_t> arrived, std::vector<int64_t> now) {
  return {.rank = rank,
          .arrived = std::move(arrived),
          .now = std::move(now),
          .owned = {rank == 0, rank == 1}};
}

TEST(WrongCopies, EqualOnesAreNotNamed) {
  EXPECT_EQ(name_wrong_copies(kNames, {prints(0, {1, 2}, {1, 2}), prints(1, {1, 2}, {1, 2})}), "");
}

TEST(WrongCopies, WhatChangedIsNamedWhoeverOwnsIt) {
  EXPECT_EQ(name_wrong_copies(kNames, {prints(0, {1, 2}, {1, 2}), prints(1, {1, 2}, {9, 2})}),
            "rank 1's copy of a has changed in its memory");
  EXPECT_EQ(name_wrong_copies(kNames, {prints(0, {1, 2}, {9, 8}), prints(1, {1, 2}, {1, 2})}),
            "rank 0's copy of a, b has changed in its memory");
}

TEST(WrongCopies, OfThreeTheOtherTwoAreRightAndOfTwoTheOwner) {
  EXPECT_EQ(name_wrong_copies(kNames, {prints(0, {9, 2}, {9, 2}), prints(1, {1, 2}, {1, 2}),
                                       prints(2, {1, 2}, {1, 2})}),
            "rank 0's copy of a is not what the others have");
  EXPECT_EQ(name_wrong_copies(kNames, {prints(0, {1, 9}, {1, 9}), prints(1, {1, 2}, {1, 2})}),
            "rank 0's copy of b is not what the others have");
  EXPECT_EQ(name_wrong_copies(kNames, {prints(0, {1, 2}, {1, 2}), prints(1, {7, 2}, {7, 2})}),
            "rank 1's copy of a is not what the others have");
}

TEST(WrongCopies, OfDifferentPartsAreNotCompared) {
  std::vector<CopyPrints> ranks = {prints(0, {1, 2}, {1, 2}), prints(1, {5, 6}, {5, 6}),
                                   prints(2, {1, 2}, {1, 2}), prints(3, {5, 6}, {5, 6})};
  for (CopyPrints& rank : ranks) rank.part = rank.rank % 2;
  EXPECT_EQ(name_wrong_copies(kNames, ranks), "");
  ranks[1].arrived[1] = ranks[1].now[1] = 2;  // right for the other part
  ranks[3].owned[1] = true;
  ranks[1].owned[1] = false;
  EXPECT_EQ(name_wrong_copies(kNames, ranks), "rank 1's copy of b is not what the others have");
}

TEST(WrongCopies, NamesAFew) {
  const std::vector<std::string> names = {"a", "b", "c", "d", "e"};
  CopyPrints right{.rank = 0, .arrived = {1, 2, 3, 4, 5}, .now = {1, 2, 3, 4, 5}, .owned = {}};
  right.owned.assign(5, true);
  CopyPrints wrong = right;
  wrong.rank = 1;
  wrong.owned.assign(5, false);
  wrong.now = {0, 0, 0, 0, 0};
  EXPECT_EQ(name_wrong_copies(names, {right, wrong}),
            "rank 1's copy of a, b, c and 2 more has changed in its memory");
}

TEST(SumOfWords, IsAnotherNumberForEveryFlippedBit) {
  const at::Tensor values = at::arange(67, at::kFloat).sub_(31.5);
  const int64_t sum = sum_of_words(values).item<int64_t>();
  auto* words = reinterpret_cast<uint32_t*>(values.mutable_data_ptr<float>());
  for (int64_t i = 0; i < values.numel(); ++i) {
    for (int bit = 0; bit < 32; ++bit) {
      words[i] ^= uint32_t{1} << bit;
      EXPECT_NE(sum_of_words(values).item<int64_t>(), sum) << i << " " << bit;
      words[i] ^= uint32_t{1} << bit;
    }
  }
  EXPECT_EQ(sum_of_words(values).item<int64_t>(), sum);
}

/// What the three ranks say where rank `flipped` flips `bit` of an element of "b", before or after
/// the first prints.
std::vector<std::string> told(int64_t flipped, int64_t element, int bit, bool early) {
  std::vector<std::string> all(3);
  run_as_threads({.data = 3}, [&](Mesh& mesh) {
    const std::vector<at::Tensor> values = {at::full({5}, 2.0), at::arange(33, at::kFloat)};
    const auto flip = [&] {
      if (mesh.rank() != flipped) return;
      reinterpret_cast<uint32_t*>(values[1].mutable_data_ptr<float>())[element] ^= uint32_t{1}
                                                                                   << bit;
    };
    ReplicaCheck check({.rank = mesh.rank(),
                        .names = kNames,
                        .values = values,
                        .owned = {mesh.rank() == 0, mesh.rank() == 2}},
                       mesh.data());
    if (early) flip();
    check.take_prints();
    if (!early) flip();
    all[static_cast<size_t>(mesh.rank())] = testing::error_text([&] { check.require_equal(12); });
  });
  return all;
}

TEST(ReplicaCheck, NamesTheRankWhoseBitFlippedOnAllRanks) {
  for (const int64_t rank : {0, 1, 2}) {
    for (const bool early : {true, false}) {
      const std::vector<std::string> texts =
          told(rank, 7 * rank + 4, early ? 31 : static_cast<int>(rank), early);
      for (const std::string& text : texts) {
        EXPECT_EQ(text, texts[0]);
        EXPECT_THAT(
            text,
            AllOf(HasSubstr("differ in step 12: rank " + std::to_string(rank) + "'s copy of b "),
                  HasSubstr(early ? "is not what the others have" : "has changed in its memory"),
                  Not(HasSubstr("copy of a"))));
      }
    }
  }
  EXPECT_EQ(told(-1, 0, 0, true)[1], "(no error)");
}

}  // namespace
}  // namespace praxino
