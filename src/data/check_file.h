#pragma once
// What one file's times and pixels say.

#include <cstdint>
#include <vector>

#include "data/shift.h"
#include "praxino/data/check.h"

namespace praxino {

struct Examined {
  FileCheck check;
  std::vector<MotionStretch> motion;  // where the file is labelled
};

/// Fills seconds, fps, gaps and bunched from the presentation times.
void check_times(const FrameIndex& index, FileCheck& check);

/// Times, frozen pictures and motion of about `limit` frames. A file that cannot be read is refused
/// in the result.
Examined examine(const SourceFile& file, int64_t limit);

}  // namespace praxino
