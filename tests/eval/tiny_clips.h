#pragma once
// A few clips for the world of rollout/tiny_world.h.

#include <fmt/format.h>

#include "praxino/rollout/clips.h"
#include "rollout/tiny_world.h"

namespace praxino::testing_world {

inline Clips tiny_clips(int64_t count = 3, int64_t frames = 7) {
  const ActionBatch actions = testing_world::actions(count, frames);
  Clips clips{pictures(count, frames), actions.values, actions.known, {}, 10};
  for (int64_t i = 0; i < count; ++i) clips.names.push_back(fmt::format("clip {}", i));
  return clips;
}

inline std::vector<std::string> keys(const std::map<std::string, double>& metrics) {
  std::vector<std::string> names;
  for (const auto& [name, value] : metrics) names.push_back(name);
  return names;
}

}  // namespace praxino::testing_world
