#pragma once
// "optim.lr=1e-4" from the command line. Internal to config.

#include "config/node.h"

namespace praxino {

/// Puts source.overrides into the tree, in order: a map is merged into what is there, anything else
/// replaces it. Whether the keys exist and the values fit is for the reader to say. Throws
/// praxino::Error (kUsage).
void apply_overrides(const YamlSource& source, Node& root);

}  // namespace praxino
