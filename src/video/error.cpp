#include "praxino/video/error.h"

namespace praxino {

const char* to_string(VideoFault fault) {
  switch (fault) {
    case VideoFault::kCorrupt: return "corrupt";
    case VideoFault::kLimit: return "limit";
    case VideoFault::kUnsupported: return "unsupported";
    case VideoFault::kTimeout: return "timeout";
    case VideoFault::kMismatch: return "mismatch";
  }
  return "unknown";
}

}  // namespace praxino
