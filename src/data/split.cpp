#include <algorithm>
#include <cmath>

#include "praxino/base/error.h"
#include "praxino/base/hash.h"
#include "praxino/data/dataset.h"

namespace praxino {
namespace {

constexpr size_t kFilesToSplitByFile = 4;
constexpr uint64_t kNameSalt = 0x70726178;  // fixed: every run holds out the same files

int64_t frames_of(const SourceFile& file) { return file.index->frame_count(); }

Split split_by_membership(const std::vector<SourceFile>& files, const std::vector<bool>& held_out) {
  Split split;
  for (size_t i = 0; i < files.size(); ++i) {
    const Span whole{static_cast<int64_t>(i), 0, frames_of(files[i])};
    (held_out[i] ? split.val : split.train).push_back(whole);
  }
  return split;
}

Split split_by_name(const Dataset& dataset, const std::vector<std::string>& names) {
  std::vector<bool> held_out(dataset.files().size(), false);
  for (const std::string& name : names) {
    const auto& files = dataset.files();
    const auto found = std::find_if(files.begin(), files.end(),
                                    [&](const SourceFile& f) { return f.name == name; });
    if (found != files.end()) {
      held_out[static_cast<size_t>(found - files.begin())] = true;
      continue;
    }
    for (const RefusedFile& refused : dataset.refused()) {
      if (refused.name == name) {
        fail_usage("data.split.val_files: {} cannot be used: {}", name, refused.reason);
      }
    }
    fail_usage("data.split.val_files: no file {} in {}; name files by their path below it", name,
               dataset.folder().string());
  }
  Split split = split_by_membership(dataset.files(), held_out);
  if (split.train.empty()) {
    fail_usage("data.split.val_files holds out every file of {}; leave at least one to train on",
               dataset.folder().string());
  }
  return split;
}

// File numbers in the order of a hash of their names.
std::vector<size_t> hashed_order(const std::vector<SourceFile>& files) {
  std::vector<std::pair<uint64_t, size_t>> keyed;
  for (size_t i = 0; i < files.size(); ++i) {
    keyed.emplace_back(xxh3_64(files[i].name, kNameSalt), i);
  }
  std::sort(keyed.begin(), keyed.end());
  std::vector<size_t> order;
  for (const auto& [hash, i] : keyed) order.push_back(i);
  return order;
}

Split split_by_file(const std::vector<SourceFile>& files, double share) {
  int64_t total = 0;
  for (const SourceFile& file : files) total += frames_of(file);
  const double wanted = share * static_cast<double>(total);
  const std::vector<size_t> order = hashed_order(files);
  std::vector<bool> held_out(files.size(), false);
  double sum = 0;
  size_t count = 0;
  for (const size_t i : order) {
    const auto frames = static_cast<double>(frames_of(files[i]));
    if (std::abs(sum + frames - wanted) >= std::abs(sum - wanted)) continue;
    if (count + 1 == files.size()) break;  // something must be left to train on
    held_out[i] = true;
    sum += frames;
    ++count;
  }
  if (count == 0) {  // each file is more than twice the share: the smallest is nearest
    const auto smallest = std::min_element(order.begin(), order.end(), [&](size_t a, size_t b) {
      return frames_of(files[a]) < frames_of(files[b]);
    });
    held_out[*smallest] = true;
  }
  return split_by_membership(files, held_out);
}

Split split_by_span(const std::vector<SourceFile>& files, double share) {
  Split split;
  for (size_t i = 0; i < files.size(); ++i) {
    const auto file = static_cast<int64_t>(i);
    const int64_t frames = frames_of(files[i]);
    const int64_t held_out = std::llround(share * static_cast<double>(frames));
    const int64_t cut = std::max(frames - held_out, int64_t{1});
    split.train.push_back({file, 0, cut});
    if (cut < frames) split.val.push_back({file, cut, frames});
  }
  return split;
}

}  // namespace

Split split_dataset(const Dataset& dataset, const SplitConfig& config) {
  const std::vector<SourceFile>& files = dataset.files();
  if (!config.val_files.empty()) return split_by_name(dataset, config.val_files);
  if (config.val <= 0) return split_by_membership(files, std::vector<bool>(files.size(), false));
  if (files.size() >= kFilesToSplitByFile) return split_by_file(files, config.val);
  return split_by_span(files, config.val);
}

}  // namespace praxino
