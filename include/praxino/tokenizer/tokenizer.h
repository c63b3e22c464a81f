#pragma once
// Between pixels and tokens.

#include <ATen/core/Tensor.h>

#include <array>
#include <memory>

#include "praxino/config/run.h"
#include "praxino/tokenizer/tokens.h"

namespace praxino {

/// Stateless after construction unless it owns weights: thread-safe for inference.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// frames: B T C Y X uint8 (0..255) -> tokens. Y, X as given to make_tokenizer.
  virtual Tokens encode(const at::Tensor& frames) const = 0;
  /// values: B T N D -> frames B T C Y X uint8, rounded and clamped.
  virtual at::Tensor decode(const at::Tensor& values) const = 0;
  virtual TokenGrid grid() const = 0;
};

/// size is [height, width]; throws praxino::Error (usage) when the patch does not divide it.
std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerConfig& config,
                                          std::array<int64_t, 2> size);

}  // namespace praxino
