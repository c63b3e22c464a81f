#pragma once
// The one exception that praxino shows to a person. Its text is one sentence (or a few short ones)
// that says what is wrong, where (file, line, key, frame) and what to do about it. `main` prints
// the text after "praxino: " and returns exit_code().

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace praxino {

enum class ErrorKind {
  kFailure,  // exit code 1: something went wrong while working
  kUsage,    // exit code 2: wrong command line or configuration
};

class Error : public std::runtime_error {
 public:
  explicit Error(std::string text, ErrorKind kind = ErrorKind::kFailure)
      : std::runtime_error(std::move(text)), kind_(kind) {}
  ErrorKind kind() const { return kind_; }
  int exit_code() const { return kind_ == ErrorKind::kUsage ? 2 : 1; }

 private:
  ErrorKind kind_;
};

/// throw Error(fmt::format(...)), exit code 1.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  throw Error(fmt::format(text, std::forward<Args>(args)...));
}

/// throw Error(fmt::format(...)), exit code 2.
template <class... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> text, Args&&... args) {
  throw Error(fmt::format(text, std::forward<Args>(args)...), ErrorKind::kUsage);
}

}  // namespace praxino
