#pragma once
// Memory that nobody has written yet is recognisable: what an operation forgets to write, or reads
// before it has written it, shows in its result.

#include <ATen/Context.h>

namespace praxino::testing {

/// While it lives, what at::empty() and its like allocate is filled with NaN (whole numbers: their
/// largest value), on every device and thread; LibTorch may warn of operations that are not
/// deterministic. Not nested.
class NanMemory {
 public:
  NanMemory() { at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true); }
  ~NanMemory() { at::globalContext().setDeterministicAlgorithms(false, false); }
  NanMemory(const NanMemory&) = delete;
  NanMemory& operator=(const NanMemory&) = delete;
};

}  // namespace praxino::testing
