#pragma once
// What clips_bench is compared with: the usual way to read a clip without an index.

#include <cstdint>
#include <filesystem>
#include <span>

namespace praxino::bench {

/// Processor seconds by stage.
struct BaselineCost {
  double open = 0;   // opening, probing, starting the decoder
  double demux = 0;  // seeking and reading packets
  double decode = 0;
  double convert = 0;
};

/// Opens the file anew, probes it, seeks backward from the first frame's time, decodes forward,
/// turns each wanted picture into full-size RGB and then scales that to size x size. Frame k of the
/// clip has the time (first + k) / fps. Writes `count` pictures (Y X C); throws praxino::Error when
/// one is missing.
void read_clip_naively(const std::filesystem::path& file, int64_t first, int64_t count,
                       int64_t size, std::span<uint8_t> pixels, BaselineCost& cost);

}  // namespace praxino::bench
