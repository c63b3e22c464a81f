#pragma once
// The section `kernels:` of a run file: which families of kernels serve on a GPU (docs/kernels.md).

#include <string>

#include "praxino/config/fields.h"

namespace praxino {

struct KernelsConfig {
  std::string attention = "auto";
  std::string norm = "auto";
  std::string mlp = "auto";
  std::string tokens = "auto";
  std::string loss = "auto";
  std::string optimizer = "auto";
  /// `kernels: off` gives the word to every key (config/fields.h).
  static constexpr bool kTakesOneWord = true;
};

template <class Visitor>
void visit_fields(Visitor& v, KernelsConfig& c) {
  const auto family = [&v](std::string_view key, std::string_view about, std::string_view when,
                           std::string& value) {
    v(Field{.key = key, .about = about, .when = when, .choices = {"auto", "off"}}, value);
  };
  family(
      "attention",
      "attention along time, in frames, over frames; auto: our kernels on a GPU where they agree "
      "with their formulas, off: LibTorch's operations",
      "to compare with LibTorch, or to look for a fault", c.attention);
  family("norm", "RMSNorm with modulation, gate and residual, rotary positions", "", c.norm);
  family("mlp", "SwiGLU", "", c.mlp);
  family("tokens", "pixels to tokens and back, codebooks, quantisation", "", c.tokens);
  family("loss", "cross-entropy", "", c.loss);
  family("optimizer", "AdamW, Muon, averages of weights, gradient norm", "", c.optimizer);
}

}  // namespace praxino
