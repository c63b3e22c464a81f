#pragma once
// The names of the files that hold tensors: "model.safetensors" of a process that saved alone,
// "model-00002-of-00004.safetensors" of the third of four ranks.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace praxino {

/// The share that one of `ranks` wrote of what TrainState::files calls `name`.
struct ShardFile {
  std::string name;
  int64_t rank = 0;
  int64_t ranks = 1;
};

/// The name of the file.
std::string print_shard_file(const ShardFile& shard);
/// The opposite; nothing for a file that does not hold tensors.
std::optional<ShardFile> parse_shard_file(std::string_view file);

}  // namespace praxino
