#pragma once
// A contact sheet: clips of a data set, frames in time, with the actions that led into each frame
// drawn below it. `praxino data show`.

#include <cstdint>
#include <filesystem>

#include "praxino/base/rational.h"
#include "praxino/data/dataset.h"
#include "praxino/video/canvas.h"

namespace praxino {

struct ShowOptions {
  int64_t clips = 4;
  int64_t frames = 8;  // of a clip, 1 .. 64
  Rational fps = 0;    // 0: the data set's own
  uint64_t seed = 1;   // which clips
};

/// Draws the sheet: what a model would be given. Throws praxino::Error when no recording is long
/// enough.
Canvas contact_sheet(const Dataset& dataset, const ShowOptions& options);

/// Opens the folder and writes the sheet as PNG.
void write_contact_sheet(const std::filesystem::path& folder, const std::filesystem::path& png,
                         const ShowOptions& options);

}  // namespace praxino
