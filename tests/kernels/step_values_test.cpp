// The verdict over a step's gradients, executed on the CPU, against the definition in double.
#include "kernels/step_values.h"

#include <gtest/gtest.h>

#include <limits>

#include "kernels/parameter_tables.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::exact;
using testing::normal;
using testing::ParameterCase;
using testing::ParametersOnDevice;
using testing::random_state;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

const std::vector<ParameterCase>& cases() {
  static const std::vector<ParameterCase> list = {{.count = 1},
                                                  {.count = 9},
                                                  {.count = 515, .gradient_skew = 1},
                                                  {.count = 2 * kChunkElements + 5}};
  return list;
}

constexpr int64_t kCount = 1 + 9 + 515 + 2 * kChunkElements + 5;

struct Verdict {
  std::vector<float> values;
  float steps = 0, updates = 0;
};

struct Step {
  float loss = 1;
  float steps = 4;
  float updates = 3;
  double clip = 2;
  uint64_t seed = 1;
};

template <class T>
Verdict judge(const std::vector<T>& gradients, const Step& step) {
  CudaOnCpu cuda({.seed = step.seed, .multiprocessors = static_cast<int>(step.seed)});
  const ParametersOnDevice<T> on(cuda, cases(), random_state(cases(), 1), gradients);
  const auto chunks = static_cast<size_t>(on.list.chunk_count);
  float* sums = cuda.allocate<float>(chunks, "sums");
  EXPECT_TRUE(launch_squared_sums(
                  {.list = on.list, .gradients = on.list_of_gradients, .sums = sums}, nullptr)
                  .ok());
  const StepVerdict verdict{.sums = sums,
                            .count = on.list.chunk_count,
                            .loss = cuda.upload(std::vector{step.loss}, "loss"),
                            .rate = cuda.upload(std::vector{0.25F}, "rate"),
                            .steps = cuda.state(std::vector{step.steps}, "steps"),
                            .updates = cuda.state(std::vector{step.updates}, "updates"),
                            .values = cuda.allocate<float>(kStepValues, "values"),
                            .clip = step.clip,
                            .beta1 = 0.9,
                            .beta2 = 0.99,
                            .average_decay = 0.999};
  EXPECT_TRUE(launch_step_verdict(verdict, nullptr).ok());
  return {.values = cuda.download(verdict.values, kStepValues - 1),
          .steps = cuda.download(verdict.steps, 1)[0],
          .updates = cuda.download(verdict.updates, 1)[0]};
}

template <class T>
double norm_of(const std::vector<T>& gradients) {
  double squares = 0;
  for (const double g : exact(gradients)) squares += g * g;
  return std::sqrt(squares);
}

template <class T>
void expect_values_of_the_definition() {
  const auto gradients = normal<T>(kCount, 3);
  const double norm = norm_of(gradients);
  const Verdict got = judge(gradients, {});
  EXPECT_NEAR(double{got.values[kNorm]} / norm, 1, 2e-7);
  EXPECT_EQ(got.values[kSkipped], 0);
  EXPECT_NEAR(double{got.values[kGradientScale]}, 2 / norm, 1e-6 * 2 / norm);
  EXPECT_EQ(got.values[kRate], 0.25F);
  EXPECT_NEAR(double{got.values[kFirstCorrection]}, 1 / (1 - std::pow(0.9, 5)), 1e-6);
  EXPECT_NEAR(double{got.values[kSecondCorrection]}, 1 / std::sqrt(1 - std::pow(0.99, 5)), 1e-6);
  EXPECT_NEAR(double{got.values[kAverageWeight]}, 9.0 / 13, 1e-6);
  EXPECT_EQ(got.steps, 5);
  EXPECT_EQ(got.updates, 4);
}

TEST(StepVerdict, EqualsTheDefinitionInFloat) { expect_values_of_the_definition<float>(); }
TEST(StepVerdict, EqualsTheDefinitionInBf16) { expect_values_of_the_definition<Bf16>(); }

TEST(StepVerdict, GivesEqualBitsUnderEveryScheduleAndGrid) {
  const auto gradients = normal<float>(kCount, 4);
  const Verdict first = judge(gradients, {});
  for (uint64_t seed = 2; seed < 5; ++seed)
    EXPECT_EQ(judge(gradients, {.seed = seed}).values, first.values);
}

TEST(StepVerdict, SkipsWhatIsNotFinite) {
  std::vector<float> gradients(kCount, 0.5F);
  for (const float loss : {kNaN, kInfinity, -kInfinity}) {
    const Verdict got = judge(gradients, {.loss = loss});
    EXPECT_EQ(got.values[kSkipped], 1);
    EXPECT_EQ(got.steps, 4);
    EXPECT_EQ(got.updates, 3);
  }
  for (const float bad : {kNaN, kInfinity, -kInfinity, 1e30F}) {
    for (const int64_t at : {int64_t{0}, kCount - 1}) {
      auto broken = gradients;
      broken[static_cast<size_t>(at)] = bad;
      const Verdict got = judge(broken, {});
      EXPECT_EQ(got.values[kSkipped], 1) << bad << " at " << at;
      EXPECT_EQ(got.steps, 4);
      EXPECT_EQ(got.updates, 3);
    }
  }
}

TEST(StepVerdict, ClipsOnlyWhereTheNormIsLarger) {
  std::vector<float> gradients(kCount, 0.0F);
  gradients[600] = 1.5F;
  EXPECT_EQ(judge(gradients, {.clip = 2}).values[kGradientScale], 1);
  EXPECT_EQ(judge(gradients, {.clip = 0}).values[kGradientScale], 1);
  EXPECT_EQ(judge(gradients, {.clip = 0.75}).values[kGradientScale], 0.5F);
}

TEST(StepVerdict, AveragesNoFasterThanItsDecayLateInARun) {
  const std::vector<float> gradients(kCount, 0.5F);
  EXPECT_NEAR(double{judge(gradients, {.updates = 1e6F}).values[kAverageWeight]}, 1e-3, 1e-9);
}

TEST(StepVerdict, WorksWithoutGradientsAndWithoutAverages) {
  CudaOnCpu cuda;
  StepVerdict verdict{.loss = cuda.upload(std::vector{1.0F}, "loss"),
                      .rate = cuda.upload(std::vector{1.0F}, "rate"),
                      .steps = cuda.state(std::vector{0.0F}, "steps"),
                      .values = cuda.allocate<float>(kStepValues, "values")};
  EXPECT_TRUE(launch_step_verdict(verdict, nullptr).ok());
  EXPECT_EQ(cuda.download(verdict.values, 1)[0], 0);
  EXPECT_EQ(cuda.download(verdict.steps, 1)[0], 1);
  verdict.values = nullptr;
  EXPECT_EQ(launch_step_verdict(verdict, nullptr).code, kRefused.code);
  EXPECT_EQ(launch_squared_sums({.list = {.chunk_count = -1}}, nullptr).code, kRefused.code);
  EXPECT_TRUE(launch_squared_sums({}, nullptr).ok());
}

TEST(StepValues, PowersEqualTheStandardLibrarys) {
  for (const double base : {0.9, 0.95, 0.999, 0.0}) {
    for (const int64_t exponent : {0, 1, 2, 3, 10, 1000, 16'777'216})
      EXPECT_NEAR(power(base, exponent), std::pow(base, static_cast<double>(exponent)), 1e-14);
  }
}

TEST(ParameterChunks, TileEveryParameterOnce) {
  for (const int64_t count : {int64_t{0}, int64_t{1}, kChunkElements - 1, kChunkElements,
                              kChunkElements + 1, 3 * kChunkElements}) {
    int64_t next = 0;
    for (int32_t number = 0; number < chunks_of_parameter(count); ++number) {
      const ChunkElements elements = elements_of({0, number}, count);
      EXPECT_EQ(elements.begin, next);
      EXPECT_GT(elements.end, elements.begin);
      EXPECT_EQ(tail_of(elements, false), elements.begin);
      const int64_t tail = tail_of(elements, true);
      EXPECT_EQ((tail - elements.begin) % kWarpElements, 0);
      EXPECT_LT(elements.end - tail, kWarpElements);
      EXPECT_GE(tail, elements.begin);
      next = elements.end;
    }
    EXPECT_EQ(next, count);
  }
}

}  // namespace
}  // namespace praxino::kernels
