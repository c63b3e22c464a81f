#pragma once
// Why a video file or a clip of it cannot be used: typed, so that the loader can count by kind.

#include <string>
#include <utility>

#include "praxino/base/error.h"

namespace praxino {

enum class VideoFault {
  kCorrupt,      // damaged, truncated or undecodable data
  kLimit,        // more pixels, frames, streams, bytes or packets than VideoLimits allows
  kUnsupported,  // container, codec or layout outside the allow-list
  kTimeout,      // the deadline of one request passed
  kMismatch,     // the file changed since it was indexed, or disagrees with its sidecar
};
const char* to_string(VideoFault fault);  // "corrupt", "limit", ...

class VideoError : public Error {
 public:
  VideoError(VideoFault fault, std::string text) : Error(std::move(text)), fault_(fault) {}
  VideoFault fault() const { return fault_; }

 private:
  VideoFault fault_;
};

}  // namespace praxino
