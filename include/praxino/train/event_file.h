#pragma once
// TensorBoard event files: scalars and images. A file is a row of records,
//   u64 length | u32 masked crc32c(length) | payload | u32 masked crc32c(payload),
// whose payloads are protobuf messages `Event` (docs/formats.md).

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "praxino/train/log_file.h"

namespace praxino {

/// Writes `events.out.tfevents.<seconds>.<host>.<process>` in the run directory. Every object opens
/// a file of its own, later by name than all that are there, so a resumed run continues the curves.
/// Buffers; flush() at least as often as a person should see news. Not thread-safe.
/// Never throws after construction: see LogFile.
class EventFile {
 public:
  /// `resumed`: what earlier files say about later steps is taken back, as RunLog does; nothing
  /// given: a new run. Throws praxino::Error when the file cannot be created.
  explicit EventFile(const std::filesystem::path& run_directory,
                     std::optional<int64_t> resumed = std::nullopt);
  ~EventFile();  // flushes
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  void scalar(std::string_view tag, double value, int64_t step);
  /// Several values of one step as one event.
  void scalars(const std::vector<std::pair<std::string, double>>& values, int64_t step);
  /// `png`: a whole PNG file; its size and colours are read from its header. Anything else is a
  /// programming error (std::invalid_argument).
  void image(std::string_view tag, std::string_view png, int64_t step);
  void flush();

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  void add_summary(std::string_view summary, int64_t step);
  void add_record(std::string_view payload);

  LogFile file_;
  std::string buffer_;
};

}  // namespace praxino
