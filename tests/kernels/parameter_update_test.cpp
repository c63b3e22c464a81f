// The kernels themselves, executed on the CPU, against their formulas in double.
#include "kernels/parameter_update.h"

#include <gtest/gtest.h>

#include "kernels/parameter_tables.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::distance;
using testing::Doubles;
using testing::exact;
using testing::kFloatTolerance;
using testing::largest;
using testing::normal;
using testing::ParameterCase;
using testing::ParametersOnDevice;
using testing::ParameterState;
using testing::random_state;
using testing::step_values;

constexpr float kBeta1 = 0.9F, kBeta2 = 0.99F, kEpsilon = 1e-8F, kMomentum = 0.95F, kScale = 1.5F;

// A scalar, sizes around a vector and a chunk, an odd one, each pointer unaligned once; with and
// without average, copy and decay.
const std::vector<ParameterCase>& cases() {
  static const std::vector<ParameterCase> list = {
      {.count = 1, .decay = 0.1F},
      {.count = 7, .average = false},
      {.count = 8, .rate = 0.02F, .copy = false},
      {.count = 97, .decay = 0.5F},
      {.count = 160, .decay = 0.1F, .skew = 1},
      {.count = 333, .average = false, .copy = false, .gradient_skew = 1},
      {.count = kChunkElements, .decay = 0.1F},
      {.count = kChunkElements + 13, .decay = 0.1F}};
  return list;
}

int64_t count_of_all() {
  int64_t count = 0;
  for (const ParameterCase& one : cases()) count += one.count;
  return count;
}

struct Exact {
  Doubles weight, first, second, average, direction;
};

// What follows the new weights.
void average(Exact& to, const ParameterState& before, size_t at, bool exists) {
  const double old = double{before.average[at]};
  to.average.push_back(exists ? old + 0.25 * (to.weight.back() - old) : 0);
}

template <class Update>
Exact formula(const ParameterState& before, Update update) {
  Exact result;
  size_t at = 0;
  for (const ParameterCase& one : cases()) {
    for (int64_t i = 0; i < one.count; ++i, ++at) {
      update(result, one, at);
      average(result, before, at, one.average);
    }
  }
  return result;
}

Exact adamw_formula(const ParameterState& before, const Doubles& gradients, float scale) {
  const std::vector<float> values = step_values(scale);
  return formula(before, [&](Exact& to, const ParameterCase& one, size_t at) {
    const double g = gradients[at] * double{scale}, rate = 0.5 * double{one.rate};
    const double b1 = double{kBeta1}, b2 = double{kBeta2};
    to.first.push_back(b1 * double{before.first[at]} + (1 - b1) * g);
    to.second.push_back(b2 * double{before.second[at]} + (1 - b2) * g * g);
    const double m = to.first.back() * double{values[kFirstCorrection]};
    const double v = std::sqrt(to.second.back()) * double{values[kSecondCorrection]};
    to.weight.push_back((1 - rate * double{one.decay}) * double{before.weight[at]} -
                        rate * m / (v + double{kEpsilon}));
  });
}

void expect_near(const std::vector<float>& got, const Doubles& want, const char* what) {
  EXPECT_LE(distance(exact(got), want), kFloatTolerance * largest(want)) << what;
}

void expect_copies(const ParametersOnDevice<Bf16>& parameters, const ParameterState& after) {
  size_t at = 0;
  for (size_t i = 0; i < cases().size(); at += static_cast<size_t>(cases()[i++].count)) {
    if (!cases()[i].copy) continue;
    const auto copy = parameters.copy_of<Bf16>(i);
    for (size_t j = 0; j < copy.size(); ++j)
      ASSERT_EQ(copy[j].bits, to_bf16(after.weight[at + j]).bits) << i << " " << j;
  }
}

template <class T>
AdamW adamw(const ParametersOnDevice<T>& on, const float* values, Element copy) {
  return {.list = on.list,
          .gradients = on.list_of_gradients,
          .values = values,
          .beta1 = kBeta1,
          .beta2 = kBeta2,
          .epsilon = kEpsilon,
          .copy = copy};
}

template <class T>
ParameterState run_adamw(uint64_t seed, float scale) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const ParametersOnDevice<T> on(cuda, cases(), random_state(cases(), 1),
                                 normal<T>(count_of_all(), 5));
  const float* values = cuda.upload(step_values(scale), "values");
  EXPECT_TRUE(launch_adamw(adamw(on, values, Element::kBf16), nullptr).ok());
  const ParameterState after = on.download();
  if constexpr (sizeof(T) == 2) expect_copies(on, after);
  return after;
}

template <class T>
void expect_adamw_equals_its_formula() {
  const ParameterState got = run_adamw<T>(1, 0.7F);
  const Exact want =
      adamw_formula(random_state(cases(), 1), exact(normal<T>(count_of_all(), 5)), 0.7F);
  expect_near(got.weight, want.weight, "weight");
  expect_near(got.first, want.first, "first");
  expect_near(got.second, want.second, "second");
  expect_near(got.average, want.average, "average");
}

TEST(AdamWKernel, EqualsItsFormulaWithGradientsInFloat) {
  expect_adamw_equals_its_formula<float>();
}
TEST(AdamWKernel, EqualsItsFormulaWithGradientsInBf16) { expect_adamw_equals_its_formula<Bf16>(); }

TEST(AdamWKernel, GivesEqualBitsUnderEveryScheduleAndGrid) {
  const ParameterState first = run_adamw<Bf16>(1, 1);
  for (uint64_t seed = 2; seed < 5; ++seed) {
    const ParameterState other = run_adamw<Bf16>(seed, 1);
    EXPECT_EQ(first.weight, other.weight);
    EXPECT_EQ(first.second, other.second);
    EXPECT_EQ(first.average, other.average);
  }
}

TEST(AdamWKernel, CopiesWeightsInFloat) {
  CudaOnCpu cuda;
  const std::vector<ParameterCase> one = {{.count = 37}};
  const ParametersOnDevice<float> on(cuda, one, random_state(one, 1), normal<float>(37, 5),
                                     Element::kFloat);
  const float* values = cuda.upload(step_values(1), "values");
  EXPECT_TRUE(launch_adamw(adamw(on, values, Element::kFloat), nullptr).ok());
  EXPECT_EQ(on.copy_of<float>(0), on.download().weight);
}

// The emulator would report a write of equal bits as little as a GPU: these are inputs, so that any
// write is a fault.
TEST(AdamWKernel, WritesNothingWhereTheStepIsSkipped) {
  CudaOnCpu cuda;
  const auto weights = normal<float>(64, 1);
  const float* weight = cuda.upload(weights, "weight");
  UpdatedParameter p{.weight = const_cast<float*>(weight), .count = 64};
  p.first = p.second = p.average = p.weight;
  p.copy = p.weight;
  const std::vector<ParameterChunk> chunks = {{0, 0}};
  const std::vector<float> nan(64, std::numeric_limits<float>::quiet_NaN());
  AdamW update{.list = {.parameters = cuda.upload(std::vector{p}, "parameters"),
                        .chunks = cuda.upload(chunks, "chunks"),
                        .chunk_count = 1},
               .values = cuda.upload(step_values(1, /*skipped=*/true), "values")};
  update.gradients.of[0] = cuda.upload(nan, "gradient");
  EXPECT_TRUE(launch_adamw(update, nullptr).ok());
  EXPECT_TRUE(
      launch_muon_apply(
          {.list = update.list, .directions = update.gradients.of[0], .values = update.values},
          nullptr)
          .ok());
  float* directions = cuda.allocate<float>(64, "directions");
  EXPECT_TRUE(launch_muon_momentum({.list = update.list,
                                    .gradients = update.gradients,
                                    .values = update.values,
                                    .directions = directions},
                                   nullptr)
                  .ok());
  EXPECT_EQ(cuda.download(directions, 64), std::vector<float>(64, 0.0F));
  EXPECT_EQ(cuda.launches(), 3);
}

Exact muon_formula(const ParameterState& before, const Doubles& gradients,
                   const Doubles& orthogonal) {
  return formula(before, [&](Exact& to, const ParameterCase& one, size_t at) {
    const double momentum = double{kMomentum}, rate = 0.5 * double{one.rate};
    const double fresh = (1 - momentum) * gradients[at] * double{0.7F};
    to.first.push_back(momentum * double{before.first[at]} + fresh);
    to.direction.push_back(fresh + momentum * to.first.back());
    to.weight.push_back((1 - rate * double{one.decay}) * double{before.weight[at]} -
                        rate * double{kScale} * orthogonal[at]);
  });
}

template <class T>
ParameterState run_muon(uint64_t seed, std::vector<float>& directions) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const auto count = static_cast<size_t>(count_of_all());
  const ParametersOnDevice<T> on(cuda, cases(), random_state(cases(), 1),
                                 normal<T>(count_of_all(), 5));
  const float* values = cuda.upload(step_values(0.7F), "values");
  float* to = cuda.allocate<float>(count, "directions");
  EXPECT_TRUE(launch_muon_momentum({.list = on.list,
                                    .gradients = on.list_of_gradients,
                                    .values = values,
                                    .directions = to,
                                    .momentum = kMomentum},
                                   nullptr)
                  .ok());
  EXPECT_TRUE(
      launch_muon_apply({.list = on.list,
                         .directions = cuda.upload(normal<T>(count_of_all(), 6), "orthogonal"),
                         .values = values,
                         .scale = kScale,
                         .direction = testing::kElementOf<T>},
                        nullptr)
          .ok());
  directions = cuda.download(to, count);
  const ParameterState after = on.download();
  if constexpr (sizeof(T) == 2) expect_copies(on, after);
  return after;
}

template <class T>
void expect_muon_equals_its_formula() {
  std::vector<float> directions;
  const ParameterState before = random_state(cases(), 1), got = run_muon<T>(1, directions);
  const Exact want = muon_formula(before, exact(normal<T>(count_of_all(), 5)),
                                  exact(normal<T>(count_of_all(), 6)));
  expect_near(got.weight, want.weight, "weight");
  expect_near(got.first, want.first, "momentum");
  expect_near(got.average, want.average, "average");
  expect_near(directions, want.direction, "direction");
  EXPECT_EQ(got.second, before.second);
}

TEST(MuonKernels, EqualTheirFormulaWithGradientsInFloat) {
  expect_muon_equals_its_formula<float>();
}
TEST(MuonKernels, EqualTheirFormulaWithGradientsInBf16) { expect_muon_equals_its_formula<Bf16>(); }

TEST(MuonKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  std::vector<float> directions, again;
  const ParameterState first = run_muon<float>(1, directions), other = run_muon<float>(3, again);
  EXPECT_EQ(directions, again);
  EXPECT_EQ(first.weight, other.weight);
  EXPECT_EQ(first.first, other.first);
}

TEST(ParameterUpdates, DoNotLaunchWithoutParametersAndRefuseMissingTables) {
  CudaOnCpu cuda;
  const float* values = cuda.upload(step_values(1), "values");
  EXPECT_TRUE(launch_adamw({.values = values}, nullptr).ok());
  EXPECT_TRUE(launch_muon_momentum({.values = values}, nullptr).ok());
  EXPECT_TRUE(launch_muon_apply({.values = values}, nullptr).ok());
  for (const ParameterList& list : {ParameterList{.chunk_count = -1}, {.chunk_count = 1}}) {
    EXPECT_EQ(launch_adamw({.list = list, .values = values}, nullptr).code, kRefused.code);
    EXPECT_EQ(launch_muon_momentum({.list = list, .values = values}, nullptr).code, kRefused.code);
    EXPECT_EQ(launch_muon_apply({.list = list, .values = values}, nullptr).code, kRefused.code);
  }
  EXPECT_EQ(launch_adamw({}, nullptr).code, kRefused.code);  // no values
  EXPECT_EQ(cuda.launches(), 0);
}

}  // namespace
}  // namespace praxino::kernels
