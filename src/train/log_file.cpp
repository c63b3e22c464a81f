#include "praxino/train/log_file.h"

#include <system_error>
#include <utility>

#include "praxino/base/error.h"
#include "praxino/base/log.h"

namespace praxino {

LogFile::LogFile(std::filesystem::path path)
    : path_(std::move(path)), file_(path_, OutputFile::Mode::kAppend) {
  size_ = std::filesystem::file_size(path_);
}

bool LogFile::append(std::string_view record) {
  if (torn_) {
    std::error_code code;
    std::filesystem::resize_file(path_, size_, code);
    if (code) return give_up(code.message());
    torn_ = false;
  }
  try {
    file_.write(record);
  } catch (const Error& error) {
    torn_ = true;
    return give_up(error.what());
  }
  size_ += record.size();
  return true;
}

bool LogFile::sync() {
  try {
    file_.sync();
    return true;
  } catch (const Error& error) {
    return give_up(error.what());
  }
}

bool LogFile::give_up(std::string_view reason) {
  if (!warned_) {
    log::warning("'{}' will miss entries, training goes on: {}", path_.string(), reason);
  }
  warned_ = true;
  return false;
}

}  // namespace praxino
