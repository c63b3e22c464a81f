#pragma once
// The shape of one frame in tokens.

#include <cstdint>

namespace praxino {

struct TokenGrid {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t width = 0;  // D of a token as the tokenizer makes it (patch * patch * 3 for pixels)
  int64_t count() const { return rows * columns; }
  bool operator==(const TokenGrid&) const = default;
};

}  // namespace praxino
