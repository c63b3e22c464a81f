#pragma once
// The tensors that a checkpoint holds under one name ("model", say), however many ranks wrote them:
// known at once by name and size, read one at a time, by those who want them.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "praxino/base/safetensors.h"

namespace praxino {

/// Keeps the files open, which may be deleted meanwhile (not so where another machine deletes them
/// from a shared folder). Thread-safe for reading.
class StoredTensors {
 public:
  /// What TrainState::files calls `name`, from a directory that was verified already; nothing where
  /// it has none. Throws praxino::Error naming the file and what is wrong.
  static std::optional<StoredTensors> open(const std::filesystem::path& directory,
                                           const std::string& name);

  std::vector<std::string> names() const;                            // in alphabetical order
  const std::vector<int64_t>* sizes(std::string_view tensor) const;  // nullptr: there is none
  /// A copy on the CPU. REQUIRES: it is there.
  at::Tensor read(std::string_view tensor) const;
  const std::filesystem::path& directory() const { return directory_; }
  const std::string& name() const { return name_; }  // that they are held under
  /// A line for each of the checkpoint's files, with size and hash: equal for equal checkpoints.
  const std::string& manifest() const { return manifest_; }

 private:
  struct Place {
    size_t file = 0;
    const RawTensor* tensor = nullptr;
  };
  std::filesystem::path directory_;
  std::string name_, manifest_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace praxino
