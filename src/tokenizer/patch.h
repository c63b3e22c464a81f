#pragma once
// Pixels in [-1,1] cut into squares: exact up to the rounding of one grey level, no weights.

#include "praxino/tokenizer/tokenizer.h"

namespace praxino {

class PatchTokenizer final : public Tokenizer {
 public:
  PatchTokenizer(int64_t patch, std::array<int64_t, 2> size);
  Tokens encode(const at::Tensor& frames) const override;
  at::Tensor decode(const at::Tensor& values) const override;
  TokenGrid grid() const override { return grid_; }

 private:
  int64_t patch_;
  TokenGrid grid_;
};

}  // namespace praxino
