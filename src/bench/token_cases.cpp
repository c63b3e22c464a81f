// Pictures to tokens and back, and vectors to entries of a codebook.
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include "bench/cases.h"
#include "praxino/ops/patch.h"
#include "praxino/ops/quantize.h"

namespace praxino::bench {
namespace {

/// Pictures of three channels, cut into squares.
struct Pictures {
  int64_t b, t, side, patch;
  double elements() const { return static_cast<double>(b * t * 3 * side * side); }
  ops::PatchShape grid() const { return {side / patch, side / patch, patch}; }
  at::Tensor frames(const at::TensorOptions& o) const {
    return at::randint(256, {b, t, 3, side, side}, o.dtype(at::kByte));
  }
};

Pictures sized(Scale scale, const Pictures& s) {
  if (scale == Scale::kTest) return {1, 2, 32, s.patch};
  return scale == Scale::kCpu ? Pictures{1, 16, s.side, s.patch} : s;
}

std::string shape_of(const Pictures& s, at::ScalarType type) {
  return fmt::format("B{} T{} {}x{} patch {} {}", s.b, s.t, s.side, s.side, s.patch,
                     c10::toString(type));
}

Case patchify(Scale scale, at::ScalarType type, const Pictures& gpu) {
  const Pictures s = sized(scale, gpu);
  return {
      .name = fmt::format("patchify_{}", gpu.patch),
      .shape = shape_of(s, type),
      .op = "patchify",
      .forward = {.bytes = (1 + element_bytes(type)) * s.elements()},
      .inputs = [s](const at::TensorOptions& o) -> Inputs { return {s.frames(o)}; },
      .sides = {{"praxino", [=](const Inputs& in) { return ops::patchify(in[0], s.patch, type); }},
                {"LibTorch",
                 [=](const Inputs& in) { return ops::formula::patchify(in[0], s.patch, type); }}}};
}

Case unpatchify(Scale scale, at::ScalarType type, const Pictures& gpu) {
  const Pictures s = sized(scale, gpu);
  return {.name = fmt::format("unpatchify_{}", gpu.patch),
          .shape = shape_of(s, type),
          .op = "unpatchify",
          .forward = {.bytes = (1 + element_bytes(type)) * s.elements()},
          .inputs = [=](const at::TensorOptions& o) -> Inputs {
            return {ops::formula::patchify(s.frames(o), s.patch, type)};
          },
          .sides = {{"praxino", [=](const Inputs& in) { return ops::unpatchify(in[0], s.grid()); }},
                    {"LibTorch",
                     [=](const Inputs& in) { return ops::formula::unpatchify(in[0], s.grid()); }}}};
}

Case patchify_yuv(Scale scale, at::ScalarType type, const Pictures& gpu) {
  const Pictures s = sized(scale, gpu);
  constexpr ops::YuvColor kColor{};
  const auto planes = [](const Inputs& in) { return ops::YuvPlanes{in[0], in[1], in[2]}; };
  return {.name = fmt::format("patchify_yuv_{}", gpu.patch),
          .shape = shape_of(s, type),
          .op = "patchify_yuv",
          // Half a byte a value comes in, as planes of 4:2:0.
          .forward = {.bytes = (0.5 + element_bytes(type)) * s.elements()},
          .inputs = [s](const at::TensorOptions& o) -> Inputs {
            const auto plane = [&](int64_t side) {
              return at::randint(256, {s.b, s.t, side, side}, o.dtype(at::kByte));
            };
            return {plane(s.side), plane(s.side / 2), plane(s.side / 2)};
          },
          .sides = {{"praxino",
                     [=](const Inputs& in) {
                       return ops::patchify_yuv(planes(in), kColor, s.patch, type);
                     }},
                    {"LibTorch", [=](const Inputs& in) {
                       return ops::formula::patchify_yuv(planes(in), kColor, s.patch, type);
                     }}}};
}

Case patch_embed(Scale scale, at::ScalarType type, const Pictures& gpu, int64_t gpu_outputs) {
  const Pictures s = sized(scale, gpu);
  const int64_t outputs = scale == Scale::kTest ? 24 : gpu_outputs, width = 3 * s.patch * s.patch;
  const double e = element_bytes(type), o = static_cast<double>(outputs),
               weights = 4 * o * static_cast<double>(width),
               results = e * s.elements() / static_cast<double>(width) * o,
               flop = 2 * s.elements() * o;
  // Forward: pixels, weights, results. Backward: the results' gradient, pixels, the weights'.
  return {.name = fmt::format("patch_embed_{}", gpu.patch),
          .shape = fmt::format("{} to {}", shape_of(s, type), outputs),
          .op = "patch_embed",
          .forward = {.bytes = s.elements() + weights + results, .flop = flop},
          .backward = {.bytes = s.elements() + weights + results, .flop = flop},
          .inputs = [=](const at::TensorOptions& options) -> Inputs {
            const auto f = options.dtype(at::kFloat);
            return {at::randn({outputs, width}, f), at::randn({outputs}, f), s.frames(options)};
          },
          .gradients = 2,
          .sides = {{"praxino",
                     [=](const Inputs& in) {
                       return ops::patch_embed(in[2], in[0], in[1], s.patch, type);
                     }},
                    {"LibTorch", [=](const Inputs& in) {
                       return ops::formula::patch_embed(in[2], in[0], in[1], s.patch, type);
                     }}}};
}

Case finite_scalar_quantize(Scale scale, at::ScalarType type, int64_t gpu_rows, int64_t width) {
  const int64_t rows = scale == Scale::kTest ? 6 : scale == Scale::kCpu ? 1024 : gpu_rows;
  const std::vector<int64_t> levels(static_cast<size_t>(width), 5);
  const double e = element_bytes(type), r = static_cast<double>(rows),
               elements = r * static_cast<double>(width);
  // Forward: z, codes, and an index of 8 bytes for each row. Backward: z, both gradients.
  return {.name = fmt::format("finite_scalar_quantize_{}", width),
          .shape = fmt::format("rows {} D{} {}", rows, width, c10::toString(type)),
          .op = "finite_scalar_quantize",
          .forward = {.bytes = 2 * e * elements + 8 * r},
          .backward = {.bytes = 3 * e * elements},
          .inputs = [=](const at::TensorOptions& o) -> Inputs {
            return {at::randn({rows, width}, o)};
          },
          .gradients = 1,
          .sides = {{"praxino",
                     [levels](const Inputs& in) {
                       return ops::finite_scalar_quantize(in[0], levels).codes;
                     }},
                    {"LibTorch", [levels](const Inputs& in) {
                       return ops::formula::finite_scalar_quantize(in[0], levels).codes;
                     }}}};
}

/// Vectors and the entries among which the nearest is looked for.
struct Search {
  int64_t rows, codes, width;
};

Search sized(Scale scale, const Search& s) {
  if (scale == Scale::kTest) return {5, 7, 16};
  return scale == Scale::kCpu ? Search{1024, s.codes, s.width} : s;
}

/// As models search that have no kernel: float32 products in parts that fit memory. The formula,
/// which is exact, would take minutes.
at::Tensor nearest_by_products(const at::Tensor& x, const at::Tensor& codebook) {
  constexpr int64_t kRows = 1 << 15;
  const at::Tensor half = codebook.square().sum(-1) * 0.5, codes = codebook.t();
  std::vector<at::Tensor> parts;
  for (const at::Tensor& rows : x.split(kRows))
    parts.push_back(at::addmm(half, rows.to(at::kFloat), codes, 1.0, -1.0).argmin(1));
  return at::cat(parts);
}

Case nearest_code(Scale scale, at::ScalarType type, const Search& gpu) {
  const Search s = sized(scale, gpu);
  const auto rows = static_cast<double>(s.rows), codes = static_cast<double>(s.codes),
             width = static_cast<double>(s.width);
  return {
      .name = fmt::format("nearest_code_{}x{}", gpu.codes, gpu.width),
      .shape = fmt::format("rows {} {}", s.rows, c10::toString(type)),
      .op = "nearest_code",
      .forward = {.bytes = (element_bytes(type) * width + 8) * rows + 4 * codes * width,
                  .flop = 2 * rows * codes * width},
      .inputs = [s](const at::TensorOptions& o) -> Inputs {
        return {at::randn({s.rows, s.width}, o), at::randn({s.codes, s.width}, in_float(o))};
      },
      .sides = {{"praxino", [](const Inputs& in) { return ops::nearest_code(in[0], in[1]); }},
                {"LibTorch", [](const Inputs& in) { return nearest_by_products(in[0], in[1]); }}}};
}

Case code_statistics(Scale scale, at::ScalarType type, const Search& gpu) {
  const Search s = sized(scale, gpu);
  const auto rows = static_cast<double>(s.rows), codes = static_cast<double>(s.codes),
             width = static_cast<double>(s.width);
  return {.name = fmt::format("code_statistics_{}x{}", gpu.codes, gpu.width),
          .shape = fmt::format("rows {} {}", s.rows, c10::toString(type)),
          .op = "code_statistics",
          // Vectors and their indices; sums and counts.
          .forward = {.bytes = (element_bytes(type) * width + 8) * rows + (4 * width + 8) * codes},
          .inputs = [s](const at::TensorOptions& o) -> Inputs {
            return {at::randn({s.rows, s.width}, o),
                    at::randint(s.codes, {s.rows}, o.dtype(at::kLong))};
          },
          .sides = {
              {"praxino",
               [s](const Inputs& in) { return ops::code_statistics(in[0], in[1], s.codes).sums; }},
              {"LibTorch", [s](const Inputs& in) {
                 return ops::formula::code_statistics(in[0], in[1], s.codes).sums;
               }}}};
}

}  // namespace

std::vector<Case> token_cases(Scale scale, at::ScalarType type) {
  return {
      patch_embed(scale, type, {8, 32, 256, 16}, 1024),
      patch_embed(scale, type, {4, 16, 256, 8}, 1024),
      patchify(scale, type, {8, 32, 256, 16}),
      patchify(scale, type, {8, 32, 256, 8}),
      patchify_yuv(scale, type, {8, 32, 256, 16}),
      unpatchify(scale, type, {8, 32, 256, 16}),
      finite_scalar_quantize(scale, type, 8 * 32 * 8192, 5),
      nearest_code(scale, type, {1 << 20, 8192, 64}),
      code_statistics(scale, type, {1 << 20, 8192, 64}),
  };
}

}  // namespace praxino::bench
