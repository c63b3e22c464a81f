#pragma once
// Where tests put the operands of attention: dense values in double, and bfloat16 in memory with
// gaps that are not numbers.

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/frame_attention.h"
#include "kernels/numbers.h"

namespace praxino::kernels::testing {

/// An operand of attention whose rows lie apart, as where queries, keys and values come from one
/// product.
class Operand {
 public:
  Operand(int64_t tokens, int64_t heads, int64_t width, int64_t batch, int64_t gap)
      : batch_(batch), tokens_(tokens), heads_(heads), width_(width) {
    strides_ = {.token = heads * width + gap, .head = width};
    strides_.batch = tokens * strides_.token + gap;
  }
  const HeadStrides& strides() const { return strides_; }
  size_t size() const { return static_cast<size_t>(std::max<int64_t>(batch_ * strides_.batch, 1)); }
  std::vector<Bf16> spread(const Doubles& dense) const {
    std::vector<Bf16> to(size(), rounded<Bf16>(NAN));
    each([&](size_t at, size_t i) { to[at] = rounded<Bf16>(dense[i]); });
    return to;
  }
  Doubles gather(const std::vector<Bf16>& from) const {
    Doubles dense(static_cast<size_t>(batch_ * tokens_ * heads_ * width_));
    each([&](size_t at, size_t i) { dense[i] = double{to_float(from[at])}; });
    return dense;
  }

 private:
  template <class Visit>
  void each(Visit visit) const {
    size_t i = 0;
    for (int64_t b = 0; b < batch_; ++b) {
      for (int64_t s = 0; s < tokens_; ++s) {
        for (int64_t h = 0; h < heads_; ++h) {
          for (int64_t w = 0; w < width_; ++w, ++i)
            visit(static_cast<size_t>(strides_.at(b, h) + s * strides_.token + w), i);
        }
      }
    }
  }
  int64_t batch_, tokens_, heads_, width_;
  HeadStrides strides_;
};

}  // namespace praxino::kernels::testing
