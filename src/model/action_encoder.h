#pragma once
// From the typed action fields of a frame to one vector, with a learned "no action" for frames
// whose action is unknown.

#include <ATen/core/Tensor.h>

#include <vector>

#include "praxino/config/actions.h"
#include "praxino/layers/embeddings.h"
#include "praxino/layers/parameters.h"

namespace praxino {

/// Thread-safe for inference.
class ActionEncoder {
 public:
  ActionEncoder(const ParameterScope& scope, std::vector<ActionField> fields, int64_t width);
  /// values: B T A raw, known: B T bool -> B T width. Without fields: the "no action" vector
  /// everywhere.
  at::Tensor forward(const at::Tensor& values, const at::Tensor& known) const;

 private:
  std::vector<ActionField> fields_;
  std::vector<Linear>
      inputs_;  // one a field, under the field's name: a changed set of fields keeps what it shares
  at::Tensor bias_;  // width
  Linear output_;
  at::Tensor unknown_;  // width
};

}  // namespace praxino
