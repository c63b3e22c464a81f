#pragma once
// What the processor can do.

namespace praxino {

/// Whether this processor multiplies bfloat16 itself (x86: AVX512-BF16 or AMX-BF16; Arm: BF16).
/// Elsewhere it is emulated, many times slower than float32. Thread-safe.
bool multiplies_bf16();

}  // namespace praxino
