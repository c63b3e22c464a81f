#include "data/dataset_index.h"

#include <sys/stat.h>

#include <optional>
#include <system_error>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/hash.h"
#include "praxino/base/log.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;

struct FileFacts {
  uint64_t size = 0;
  int64_t mtime_ns = 0;
};

std::optional<FileFacts> facts_of(const fs::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) return std::nullopt;
  return FileFacts{static_cast<uint64_t>(info.st_size),
                   int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

std::optional<FrameIndex> read_index(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error)) return std::nullopt;
  try {
    return parse_index(read_file(file), file.string());
  } catch (const Error& e) {
    log::debug("{}; it is built again", e.what());
    return std::nullopt;
  }
}

}  // namespace

IndexStore::IndexStore(const fs::path& folder) : folder_(folder / ".praxino" / "index") {}

std::shared_ptr<const FrameIndex> IndexStore::find(const std::string& name, const fs::path& video) {
  std::optional<FrameIndex> index = read_index(path_of(name));
  if (!index) return nullptr;
  if (!index_is_current(*index, video)) {
    // The facts are taken before the hash: a change after them shows as a stale index once more.
    const std::optional<FileFacts> facts = facts_of(video);
    if (!facts || facts->size != index->file_size) return nullptr;
    if (hash_file(video) != index->file_hash) return nullptr;
    index->file_mtime_ns = facts->mtime_ns;
    if (!index_is_current(*index, video)) return nullptr;
    keep(name, *index);
  }
  return std::make_shared<const FrameIndex>(*std::move(index));
}

std::shared_ptr<const FrameIndex> IndexStore::build(const std::string& name,
                                                    const fs::path& video) {
  auto index = std::make_shared<const FrameIndex>(build_index(video));
  keep(name, *index);
  return index;
}

fs::path IndexStore::path_of(const std::string& name) const {
  return folder_ / (xxh3_128(name).hex() + ".idx");
}

void IndexStore::keep(const std::string& name, const FrameIndex& index) {
  if (!writable_) return;
  try {
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error) fail("cannot create {}: {}", folder_.string(), error.message());
    write_file_atomic(path_of(name), serialize_index(index));
  } catch (const Error& e) {
    writable_ = false;
    std::call_once(told_, [&] {
      log::warning("{}; frame indices stay in memory and are built again next time", e.what());
    });
  }
}

}  // namespace praxino
