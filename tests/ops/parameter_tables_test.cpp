#include "ops/parameter_tables.h"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace praxino::ops {
namespace {

UpdatedParameter parameter(int64_t count) {
  return {.weight = at::zeros({count}),
          .first = at::zeros({count}),
          .second = {},
          .average = {},
          .copy = {},
          .rate = 0.5,
          .decay = 0.25};
}

TEST(ParameterTables, NameEveryElementOfEveryParameterOnce) {
  const std::vector<UpdatedParameter> list = {parameter(5), parameter(0),
                                              parameter(2 * kernels::kChunkElements + 1)};
  const auto tables = parameter_tables(list);
  ASSERT_EQ(tables.size(), 1U);
  std::vector<int64_t> seen(list.size());
  for (const kernels::ParameterChunk& chunk : tables[0].chunks) {
    const auto number = static_cast<size_t>(chunk.parameter);
    const auto elements = kernels::elements_of(chunk, tables[0].parameters[number].count);
    EXPECT_EQ(elements.begin, seen[number]);
    seen[number] = elements.end;
  }
  EXPECT_EQ(seen, (std::vector<int64_t>{5, 0, 2 * kernels::kChunkElements + 1}));
}

TEST(ParameterTables, HoldTheMemoryOfTheTensors) {
  const UpdatedParameter given = parameter(7);
  const auto tables = parameter_tables({parameter(3), given});
  const kernels::UpdatedParameter& row = tables[0].parameters[1];
  EXPECT_EQ(row.weight, given.weight.data_ptr<float>());
  EXPECT_EQ(row.first, given.first.data_ptr<float>());
  EXPECT_EQ(row.second, nullptr);
  EXPECT_EQ(row.average, nullptr);
  EXPECT_EQ(row.copy, nullptr);
  EXPECT_EQ(row.count, 7);
  EXPECT_EQ(row.offset, 3);
  EXPECT_EQ(row.rate, 0.5F);
  EXPECT_EQ(row.decay, 0.25F);
}

TEST(ParameterTables, TakeAnotherLaunchWhereOneIsFull) {
  const size_t most = kernels::kMostParameters;
  const std::vector<UpdatedParameter> list(2 * most + 1, parameter(2));
  const auto tables = parameter_tables(list);
  ASSERT_EQ(tables.size(), 3U);
  EXPECT_EQ(tables[1].begin, most);
  EXPECT_EQ(tables[2].begin, 2 * most);
  EXPECT_EQ(tables[2].parameters.size(), 1U);
  EXPECT_EQ(tables[1].chunks.front().parameter, 0);
  EXPECT_EQ(tables[2].parameters[0].offset, static_cast<int64_t>(4 * most));
}

TEST(ParameterTables, RefuseWhatTheKernelsWouldMisread) {
  UpdatedParameter wrong = parameter(6);
  wrong.first = at::zeros({5});
  EXPECT_THROW(parameter_tables({wrong}), c10::Error);
  wrong = parameter(6);
  wrong.second = at::zeros({6}, at::TensorOptions(at::kDouble));
  EXPECT_THROW(parameter_tables({wrong}), c10::Error);
  wrong = parameter(6);
  wrong.average = at::zeros({12}).slice(0, 0, 12, 2);
  EXPECT_THROW(parameter_tables({wrong}), c10::Error);
  wrong = parameter(6);
  wrong.copy = at::zeros({7}, at::TensorOptions(at::kBFloat16));
  EXPECT_THROW(parameter_tables({wrong}), c10::Error);
  EXPECT_THROW(parameter_tables({UpdatedParameter{}}), c10::Error);
}

TEST(ParameterUpdates, ServeNothingOnTheCpu) {
  EXPECT_FALSE(ParameterUpdate::serves(at::zeros({4})));
}

}  // namespace
}  // namespace praxino::ops
