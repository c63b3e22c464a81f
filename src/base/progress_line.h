#pragma once
// The text of a progress line. Internal to base; pure.

#include <cstdint>
#include <string>
#include <string_view>

namespace praxino {

struct ProgressState {
  std::string_view what;
  int64_t done = 0;
  int64_t total = 0;   // 0: unknown
  double rate = 0;     // units a second; 0: unknown
  double elapsed = 0;  // seconds
  std::string_view detail = {};
};

/// "training  120/400  30%  12.5/s  ETA 0:22  loss 0.12"; a finished one says "in 0:32" instead of
/// the ETA.
std::string progress_line(const ProgressState& state);

/// At most `columns` characters of UTF-8 text, never half a character.
std::string fit_columns(std::string_view text, int columns);

}  // namespace praxino
