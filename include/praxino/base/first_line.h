#pragma once
// LibTorch's exceptions carry a backtrace below their sentence; people are told the sentence.

#include <exception>
#include <string>

namespace praxino {

inline std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }
inline std::string first_line(const std::exception& error) {
  return first_line(std::string(error.what()));
}

}  // namespace praxino
