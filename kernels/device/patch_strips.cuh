#pragma once
// What kernels that work on strips of patches (kernels/patch_grid.h) share: their memory, the
// choice of a variant, the launch.

#include "kernels/device/launch.cuh"
#include "kernels/device/pixel_runs.cuh"

namespace praxino::kernels::device {

PRAXINO_DEVICE uint8_t* strip_memory() { return reinterpret_cast<uint8_t*>(shared_floats()); }

// What a launch adds to its parameters.
template <class Params>
struct InStrips {
  Params p;
  int64_t columns;  // patches of a strip
  StripDivisors by;
  SmallDivisor token;           // StripShape::token
  SmallDivisor pitch;           // of runs of pixels, in units
  SmallDivisor narrower_pitch;  // StripShape::narrower_pitch
  PRAXINO_DEVICE Strip strip(int64_t number) const { return strip_at(number, p.grid, columns, by); }
};

/// Elements of a 16-byte access where every token and the pointer allow it, else 1.
inline int patch_vector(Element element, const PatchGrid& grid, const void* tokens) {
  const int vector = static_cast<int>(16 / bytes_of(element));
  return aligned_16(tokens) && run_of_patch(grid.patch, vector) > 1 ? vector : 1;
}

/// Kernels<T, elements of an access, neighbours in the picture>::kKernel for the parameters.
template <template <class, int, int> class Kernels, class Params>
auto kernel_for(const Params& p) {
  const int vector = patch_vector(p.element, p.grid, p.tokens);
  if (p.element == Element::kFloat)
    return vector == 4 ? Kernels<float, 4, 4>::kKernel : Kernels<float, 1, 1>::kKernel;
  if (vector == 1) return Kernels<Bf16, 1, 1>::kKernel;
  return run_of_patch(p.grid.patch, 8) == 8 ? Kernels<Bf16, 8, 8>::kKernel
                                            : Kernels<Bf16, 8, 4>::kKernel;
}

struct StripShape {
  int64_t columns;                 // patches of a strip
  int64_t bytes;                   // of shared memory
  int64_t token;                   // elements of a token that a thread goes through
  int64_t narrower_pitch = kUnit;  // of runs of samples, where there are such
};

template <class Params>
Status launch_strips(const char* name, const Params& p, const StripShape& shape,
                     void (*kernel)(InStrips<Params>), Stream stream) {
  const int64_t pitch = strip_pitch(shape.columns * p.grid.patch);
  const InStrips<Params> in{.p = p,
                            .columns = shape.columns,
                            .by = strip_divisors(p.grid, shape.columns),
                            .token = SmallDivisor(shape.token),
                            .pitch = SmallDivisor(units_of_pitch(pitch)),
                            .narrower_pitch = SmallDivisor(units_of_pitch(shape.narrower_pitch))};
  return launch(kernel,
                {name, blocks_for(all_strips(p.grid, shape.columns)), kStripThreads,
                 static_cast<size_t>(shape.bytes)},
                in, stream);
}

}  // namespace praxino::kernels::device
