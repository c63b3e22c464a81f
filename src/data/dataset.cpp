#include "praxino/data/dataset.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <system_error>

#include "data/dataset_index.h"
#include "data/dataset_scan.h"
#include "praxino/base/error.h"
#include "praxino/base/hash.h"
#include "praxino/base/log.h"
#include "praxino/base/progress.h"
#include "praxino/base/threads.h"
#include "praxino/config/load.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;

constexpr size_t kWarnings = 5;  // refused files that are told one by one

fs::path existing_folder(const fs::path& folder) {
  std::error_code error;
  const fs::path canonical = fs::canonical(folder, error);
  if (error) {
    fail_usage(
        "data set folder {} cannot be opened: {}; set data.path to a folder with video files",
        folder.string(), error.message());
  }
  if (!fs::is_directory(canonical, error)) {
    fail_usage("data set {} is not a folder; set data.path to a folder with video files",
               folder.string());
  }
  return canonical;
}

DatasetConfig read_config(const fs::path& folder) {
  const fs::path file = folder / "dataset.yaml";
  std::error_code error;
  if (!fs::exists(fs::symlink_status(file, error))) return {};
  if (!is_inside(folder, file)) {
    fail("{}: a link that leaves the data set folder or leads nowhere; put the file itself there",
         file.string());
  }
  return load_dataset(file);
}

void check_rows(const DatasetConfig& config, const SourceFile& file) {
  const ActionTable& actions = file.actions;
  if (actions.rows == 0) return;
  if (actions.rows != file.index->frame_count()) {
    fail(
        "{}: the sidecar has {} rows of actions but the video has {} frames; every frame needs "
        "exactly one row",
        file.path.string(), actions.rows, file.index->frame_count());
  }
  if (actions.fields != static_cast<int64_t>(config.actions.size())) {
    fail("{}: {} action fields but the data set declares {}", file.path.string(), actions.fields,
         config.actions.size());
  }
}

// What became of one file that the scan found.
struct Opened {
  SourceFile file;
  std::string refusal;  // empty: the file can be used
  bool ignored_sidecar = false;
};

class Opener {
 public:
  Opener(const fs::path& folder, const DatasetConfig& config, std::vector<FoundVideo> videos)
      : folder_(folder),
        config_(config),
        videos_(std::move(videos)),
        indices_(folder),
        opened_(videos_.size()) {}

  std::vector<Opened> run(int workers) {
    parallel_for_each(static_cast<int64_t>(videos_.size()), workers, [this](int64_t i) {
      const auto n = static_cast<size_t>(i);
      try {
        open_one(videos_[n], opened_[n]);
      } catch (const Error& e) {
        opened_[n].refusal = e.what();
      } catch (const fs::filesystem_error& e) {
        opened_[n].refusal = e.what();
      }
      finished();
    });
    return std::move(opened_);
  }

 private:
  void open_one(const FoundVideo& video, Opened& out) {
    SourceFile& file = out.file;
    file.name = video.name;
    file.path = video.path;
    file.index = indices_.find(video.name, video.path);
    if (!file.index) {
      announce();
      file.index = indices_.build(video.name, video.path);
    }
    const fs::path sidecar = find_sidecar(video.path);
    if (sidecar.empty()) return;
    if (config_.actions.empty()) {
      out.ignored_sidecar = true;
      return;
    }
    if (!is_inside(folder_, sidecar))
      fail("{}: a link that leaves the data set folder", sidecar.string());
    file.actions = read_actions(sidecar, config_.actions);
    if (file.actions.rows == 0) fail("{}: no rows of actions below the header", sidecar.string());
    check_rows(config_, file);
  }

  // The progress line appears with the first file that needs indexing: a warm open stays silent.
  void announce() {
    const std::lock_guard lock(mutex_);
    if (progress_) return;
    progress_.emplace("indexing", static_cast<int64_t>(videos_.size()), done_);
  }

  void finished() {
    const std::lock_guard lock(mutex_);
    ++done_;
    if (progress_) progress_->update(done_);
  }

  const fs::path& folder_;
  const DatasetConfig& config_;
  std::vector<FoundVideo> videos_;
  IndexStore indices_;
  std::vector<Opened> opened_;
  std::mutex mutex_;
  std::optional<Progress> progress_;
  int64_t done_ = 0;
};

void tell(const fs::path& folder, const DatasetConfig& config, const std::vector<SourceFile>& files,
          const std::vector<RefusedFile>& refused) {
  for (size_t i = 0; i < std::min(kWarnings, refused.size()); ++i) {
    log::warning("not used: {}", refused[i].reason);
  }
  if (refused.size() > kWarnings) {
    log::warning("{}: {} more files are not used; `praxino data check` lists them", folder.string(),
                 refused.size() - kWarnings);
  }
  if (config.actions.empty()) return;
  const auto unlabelled = std::count_if(files.begin(), files.end(),
                                        [](const SourceFile& f) { return f.actions.rows == 0; });
  if (unlabelled > 0) {
    log::info("{}: {} of {} files have no sidecar; their actions count as unknown", folder.string(),
              unlabelled, files.size());
  }
}

uint64_t hash_contents(const std::vector<SourceFile>& files) {
  StreamHash hash;
  const auto add_number = [&](uint64_t value) { hash.update(std::as_bytes(std::span(&value, 1))); };
  for (const SourceFile& file : files) {
    add_number(file.name.size());
    hash.update(std::as_bytes(std::span(file.name)));
    add_number(file.index->file_hash.low);
    add_number(file.index->file_hash.high);
    add_number(static_cast<uint64_t>(file.actions.rows));
    add_number(static_cast<uint64_t>(file.actions.fields));
    hash.update(std::as_bytes(std::span(file.actions.values)));
  }
  return hash.digest().low;
}

}  // namespace

Dataset Dataset::open(const fs::path& given, int workers) {
  const fs::path folder = existing_folder(given);
  DatasetConfig config = read_config(folder);
  FolderScan scan = scan_folder(folder);
  if (scan.videos.empty() && scan.refused.empty()) {
    fail("{}: no video files (.mp4, .mkv, .webm, .mov, .avi, .ts) in this folder or below",
         folder.string());
  }
  std::vector<Opened> opened = Opener(folder, config, std::move(scan.videos)).run(workers);
  std::vector<SourceFile> files;
  std::vector<RefusedFile> refused = std::move(scan.refused);
  int64_t ignored = 0;
  for (Opened& one : opened) {
    if (one.refusal.empty()) {
      ignored += one.ignored_sidecar ? 1 : 0;
      files.push_back(std::move(one.file));
    } else {
      refused.push_back({std::move(one.file.name), std::move(one.refusal)});
    }
  }
  std::sort(refused.begin(), refused.end(),
            [](const RefusedFile& a, const RefusedFile& b) { return a.name < b.name; });
  if (files.empty()) {
    fail("{}: none of the {} video files can be used; the first: {}", folder.string(),
         refused.size(), refused.front().reason);
  }
  tell(folder, config, files, refused);
  if (ignored > 0) {
    log::warning("{}: {} sidecars are not read because dataset.yaml declares no actions",
                 folder.string(), ignored);
  }
  return Dataset(folder, std::move(config), std::move(files), std::move(refused));
}

Dataset::Dataset(fs::path folder, DatasetConfig config, std::vector<SourceFile> files,
                 std::vector<RefusedFile> refused)
    : folder_(std::move(folder)),
      config_(std::move(config)),
      files_(std::move(files)),
      refused_(std::move(refused)),
      content_hash_(hash_contents(files_)) {
  for (const SourceFile& file : files_) check_rows(config_, file);
}

}  // namespace praxino
