#pragma once
// The worlds behind synthetic_world(): one file each. Options have been checked.

#include "praxino/data/synthetic.h"

namespace praxino {

SyntheticWorld pan_world(const SyntheticOptions& options);
SyntheticWorld paddle_world(const SyntheticOptions& options);
SyntheticWorld balls_world(const SyntheticOptions& options);

}  // namespace praxino
