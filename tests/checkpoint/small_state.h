#pragma once
// A small TrainState whose every value follows from its step, and ways to look at what is on disk.

#include <ATen/ops/full.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "praxino/base/file.h"
#include "praxino/checkpoint/store.h"

namespace praxino::testing {

/// `values` floats a tensor.
inline TrainState small_state(int64_t step, int64_t values = 1000) {
  TrainState state;
  state.step = step;
  const auto filled = [&](double offset) {
    return at::full({values}, static_cast<double>(step) + offset, at::kFloat);
  };
  state.files["model"] = {{"a.weight", filled(0.25)}, {"b.weight", filled(0.5)}};
  state.files["ema"] = {{"a.weight", filled(0.75)}};
  state.files["optimizer"] = {{"momentum.a.weight", filled(-1)}};
  state.state_json = "{\"step\": " + std::to_string(step) + "}\n";
  state.texts["config.yaml"] = "run: {name: r" + std::to_string(step) + "}\n";
  return state;
}

/// Is `state` what small_state made for its step?
inline bool is_small_state(const TrainState& state, int64_t values = 1000) {
  const TrainState want = small_state(state.step, values);
  if (state.state_json != want.state_json || state.texts != want.texts) return false;
  if (state.files.size() != want.files.size()) return false;
  for (const auto& [name, tensors] : want.files) {
    const auto found = state.files.find(name);
    if (found == state.files.end() || found->second.size() != tensors.size()) return false;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const auto& [key, tensor] = found->second[i];
      if (key != tensors[i].first || !tensor.equal(tensors[i].second)) return false;
    }
  }
  return true;
}

/// Names in a folder, sorted.
inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline void overwrite(const std::filesystem::path& path, std::string_view bytes) {
  OutputFile file(path);
  file.write(bytes);
  file.close();
}

}  // namespace praxino::testing
