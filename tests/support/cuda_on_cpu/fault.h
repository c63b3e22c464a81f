#pragma once
// What a kernel did wrong, told in one sentence.

#include <source_location>
#include <stdexcept>
#include <string>

namespace praxino::testing {

/// Thrown out of a launch when a kernel breaks a rule of the device. what() names kernel, block and
/// thread, the address by allocation and index, and the call site.
struct CudaFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Thrown where threads that must meet cannot: a sentence without its subject.
struct MeetingViolation {
  std::string text;
};

/// "swiglu.cu:31"
inline std::string describe(const std::source_location& site) {
  const std::string file = site.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(site.line());
}

}  // namespace praxino::testing
