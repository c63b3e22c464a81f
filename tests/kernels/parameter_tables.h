#pragma once
// Parameters of an optimizer on the emulated device: their state, their tables, their gradients.

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/numbers.h"
#include "kernels/parameter_update.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels::testing {

/// One parameter of a test.
struct ParameterCase {
  int64_t count = 1;
  float rate = 0.1F;
  float decay = 0;
  bool average = true;
  bool copy = true;
  size_t skew = 0;           // elements from an aligned address: its weight
  size_t gradient_skew = 0;  // and its gradient
};

/// Chunks of all parameters, as a host makes them.
inline std::vector<ParameterChunk> chunks_of(const std::vector<ParameterCase>& cases) {
  std::vector<ParameterChunk> chunks;
  for (size_t i = 0; i < cases.size(); ++i) {
    for (int64_t number = 0; number < chunks_of_parameter(cases[i].count); ++number)
      chunks.push_back({static_cast<int32_t>(i), static_cast<int32_t>(number)});
  }
  return chunks;
}

/// All parameters one after the other, on the host.
struct ParameterState {
  std::vector<float> weight, first, second, average;
};

inline ParameterState random_state(const std::vector<ParameterCase>& cases, uint64_t seed) {
  int64_t count = 0;
  for (const ParameterCase& one : cases) count += one.count;
  ParameterState state{.weight = normal<float>(count, seed),
                       .first = normal<float>(count, seed + 1),
                       .second = normal<float>(count, seed + 2),
                       .average = normal<float>(count, seed + 3)};
  for (float& value : state.second) value *= value;
  return state;
}

template <class T>
class ParametersOnDevice {
 public:
  ParametersOnDevice(praxino::testing::CudaOnCpu& cuda, const std::vector<ParameterCase>& cases,
                     const ParameterState& state, const std::vector<T>& gradients,
                     Element copy = Element::kBf16)
      : cuda_(cuda), cases_(cases) {
    size_t begin = 0;
    const auto part = [&](const auto& all, const ParameterCase& one) {
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(begin);
      return std::vector(first, first + static_cast<std::ptrdiff_t>(one.count));
    };
    list_of_gradients.element = kElementOf<T>;
    for (size_t i = 0; i < cases.size(); ++i) {
      const ParameterCase& one = cases[i];
      const std::string number = std::to_string(i);
      const auto count = static_cast<size_t>(one.count);
      UpdatedParameter p{
          .weight = cuda.state(part(state.weight, one), "weight " + number, one.skew),
          .first = cuda.state(part(state.first, one), "first " + number),
          .second = cuda.state(part(state.second, one), "second " + number),
          .count = one.count,
          .offset = static_cast<int64_t>(begin),
          .rate = one.rate,
          .decay = one.decay};
      if (one.average) p.average = cuda.state(part(state.average, one), "average " + number);
      if (one.copy && copy == Element::kBf16) p.copy = cuda.allocate<Bf16>(count, "copy " + number);
      if (one.copy && copy == Element::kFloat)
        p.copy = cuda.allocate<float>(count, "copy " + number);
      list_of_gradients.of[i] =
          cuda.upload(part(gradients, one), "gradient " + number, one.gradient_skew);
      parameters_.push_back(p);
      begin += count;
    }
    const auto chunks = chunks_of(cases);
    list = {.parameters = cuda.upload(parameters_, "parameters"),
            .chunks = cuda.upload(chunks, "chunks"),
            .chunk_count = static_cast<int64_t>(chunks.size())};
  }

  ParameterState download() const {
    ParameterState state;
    for (const UpdatedParameter& p : parameters_) {
      const auto append = [&](std::vector<float>& to, const float* from) {
        if (from == nullptr) return to.resize(to.size() + static_cast<size_t>(p.count));
        const auto values = cuda_.download(from, static_cast<size_t>(p.count));
        to.insert(to.end(), values.begin(), values.end());
      };
      append(state.weight, p.weight);
      append(state.first, p.first);
      append(state.second, p.second);
      append(state.average, p.average);
    }
    return state;
  }

  template <class Copy>
  std::vector<Copy> copy_of(size_t number) const {
    const UpdatedParameter& p = parameters_[number];
    return cuda_.download(static_cast<const Copy*>(p.copy), static_cast<size_t>(p.count));
  }

  ParameterList list;
  GradientList list_of_gradients;

 private:
  praxino::testing::CudaOnCpu& cuda_;
  std::vector<ParameterCase> cases_;
  std::vector<UpdatedParameter> parameters_;
};

/// The values of a step that is taken, or not.
inline std::vector<float> step_values(float scale, bool skipped = false) {
  std::vector<float> values(kStepValues, 0.0F);
  values[kSkipped] = skipped ? 1.0F : 0.0F;
  values[kGradientScale] = scale;
  values[kRate] = 0.5F;
  values[kFirstCorrection] = 1 / (1 - 0.729F);
  values[kSecondCorrection] = 1 / std::sqrt(1 - 0.970299F);
  values[kAverageWeight] = 0.25F;
  return values;
}

}  // namespace praxino::kernels::testing
