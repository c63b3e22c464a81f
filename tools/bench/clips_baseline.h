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

struct BaselineClip {
  std::filesystem::path file;
  int64_t first = 0;  // frame k of the clip has the time (first + k) / fps
  int64_t count = 0;
  int64_t size = 0;   // pixels a side
  bool scan = false;  // walk over all packets first, as exact readers without an index do
};

/// Opens the file anew, probes it, seeks backward from the first frame's time, decodes forward,
/// turns each wanted picture into full-size RGB and then scales that to size x size. Writes `count`
/// pictures (Y X C); throws praxino::Error when one is missing.
void read_clip_naively(const BaselineClip& clip, std::span<uint8_t> pixels, BaselineCost& cost);

}  // namespace praxino::bench
