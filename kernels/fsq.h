#pragma once
// Finite scalar quantisation in one pass, and its gradient (the operation:
// include/praxino/ops/quantize.h; Mentzer et al. 2023, arXiv 2309.15505). Arithmetic in float,
// deterministic. 16 bytes an access where pointers allow, else one element. Pointers are to device
// memory and may not overlap. Launchers only queue work on the stream; they are thread-safe.

#include "kernels/host_device.h"
#include "kernels/launch.h"

namespace praxino::kernels {

inline constexpr int kMaxFsqChannels = 16;
inline constexpr int kMaxFsqLevels = 1024;

struct FsqLevels {
  int channels = 0;
  int of[kMaxFsqChannels] = {};
};

/// 1 to 16 channels of 2 to 1024 levels, fewer than 2^62 codes.
constexpr PRAXINO_HOST_DEVICE bool in_range(const FsqLevels& levels) {
  if (levels.channels < 1 || levels.channels > kMaxFsqChannels) return false;
  int64_t room = int64_t{1} << 62;
  for (int c = 0; c < levels.channels; ++c) {
    if (levels.of[c] < 2 || levels.of[c] > kMaxFsqLevels) return false;
    room /= levels.of[c];
  }
  return room > 0;
}

/// codes = 2 q / (L - 1) - 1 for q = round((tanh(z) + 1) / 2 * (L - 1)), L the channel's levels; a
/// row's index is the sum of q times the product of the levels of the channels before. NaN stays
/// NaN and counts as q = 0.
struct Fsq {
  const void* z = nullptr;     // rows x channels
  void* codes = nullptr;       // as z
  int64_t* indices = nullptr;  // rows
  int64_t rows = 0;
  FsqLevels levels = {};
  Element element = Element::kFloat;  // of z and codes
};
/// Any number of rows, 0 included; levels that in_range() admits. kRefused otherwise.
Status launch_fsq(const Fsq& params, Stream stream);

/// Straight through the rounding: grad_z = grad * (1 - tanh(z)^2).
struct FsqBackward {
  const void* z = nullptr;
  const void* grad = nullptr;  // of codes
  void* grad_z = nullptr;
  int64_t elements = 0;
  Element element = Element::kFloat;  // of all of them
};
Status launch_fsq_backward(const FsqBackward& params, Stream stream);

}  // namespace praxino::kernels
