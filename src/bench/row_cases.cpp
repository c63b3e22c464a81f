// Operations over rows: memory bandwidth bounds all of them but the search for codes.
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include "bench/cases.h"
#include "praxino/ops/norm.h"
#include "praxino/ops/patch.h"
#include "praxino/ops/quantize.h"

namespace praxino::bench {
namespace {

using at::Tensor;

at::TensorOptions in_float(const at::TensorOptions& options) { return options.dtype(at::kFloat); }

double element_bytes(at::ScalarType type) { return static_cast<double>(c10::elementSize(type)); }

/// Tokens of width D.
struct Tokens {
  int64_t b, t, n, d;
  double elements() const { return static_cast<double>(b * t * n * d); }
};

Tokens sized(Scale scale, const Tokens& s) {
  if (scale == Scale::kTest) return {1, 2, 3, 16};
  return scale == Scale::kCpu ? Tokens{1, 8, 128, s.d} : s;
}

std::string shape_of(const Tokens& s, at::ScalarType type) {
  return fmt::format("B{} T{} N{} D{} {}", s.b, s.t, s.n, s.d, c10::toString(type));
}

Case norm_modulate(Scale scale, at::ScalarType type, const Tokens& gpu) {
  const Tokens s = sized(scale, gpu);
  const double e = element_bytes(type);
  // Forward: x in float, y. Backward: x, the gradients of y and x.
  return {.name = fmt::format("norm_modulate_{}", gpu.d),
          .shape = shape_of(s, type),
          .op = "norm_modulate",
          .forward = {.bytes = (4 + e) * s.elements()},
          .backward = {.bytes = (8 + e) * s.elements()},
          .inputs = [s](const at::TensorOptions& o) -> Inputs {
            return {at::randn({s.b, s.t, s.n, s.d}, in_float(o)),
                    at::randn({s.b, s.t, s.d}, in_float(o)),
                    at::randn({s.b, s.t, s.d}, in_float(o))};
          },
          .gradients = 3,
          .sides = {
              {"praxino",
               [type](const Inputs& in) { return ops::norm_modulate(in[0], in[1], in[2], type); }},
              {"LibTorch", [type](const Inputs& in) {
                 return ops::formula::norm_modulate(in[0], in[1], in[2], type);
               }}}};
}

Case gate_add(Scale scale, at::ScalarType type, const Tokens& gpu) {
  const Tokens s = sized(scale, gpu);
  const double e = element_bytes(type);
  // Forward: x, branch, y. Backward: the gradient of y, which is that of x, branch and its
  // gradient.
  return {
      .name = fmt::format("gate_add_{}", gpu.d),
      .shape = shape_of(s, type),
      .op = "gate_add",
      .forward = {.bytes = (8 + e) * s.elements()},
      .backward = {.bytes = (4 + 2 * e) * s.elements()},
      .inputs = [s](const at::TensorOptions& o) -> Inputs {
        return {at::randn({s.b, s.t, s.n, s.d}, in_float(o)),
                at::randn({s.b, s.t, s.d}, in_float(o)), at::randn({s.b, s.t, s.n, s.d}, o)};
      },
      .gradients = 3,
      .sides = {{"praxino", [](const Inputs& in) { return ops::gate_add(in[0], in[1], in[2]); }},
                {"LibTorch",
                 [](const Inputs& in) { return ops::formula::gate_add(in[0], in[1], in[2]); }}}};
}

Case swiglu(Scale scale, at::ScalarType type, const Tokens& gpu) {
  const Tokens s = sized(scale, gpu);
  const double e = element_bytes(type);
  // Forward: a, b, y. Backward: a, b, the gradients of y, a, b.
  return {.name = fmt::format("swiglu_{}", gpu.d),
          .shape = shape_of(s, type),
          .op = "swiglu",
          .forward = {.bytes = 3 * e * s.elements()},
          .backward = {.bytes = 5 * e * s.elements()},
          .inputs = [s](const at::TensorOptions& o) -> Inputs {
            return {at::randn({s.b, s.t, s.n, 2 * s.d}, o)};
          },
          .gradients = 1,
          .sides = {{"praxino", [](const Inputs& in) { return ops::swiglu(in[0]); }},
                    {"LibTorch", [](const Inputs& in) { return ops::formula::swiglu(in[0]); }}}};
}

// Heads of width D: T T' positions of N heads.
Case norm_rotate(Scale scale, at::ScalarType type, const Tokens& gpu) {
  const Tokens s = sized(scale, gpu);
  const double e = element_bytes(type);
  // Forward: x, y. Backward: x, the gradients of y and x.
  return {.name = fmt::format("norm_rotate_{}", gpu.d),
          .shape = fmt::format("R{} S{} H{} K{} {}", s.b * s.t, s.n, 16, s.d, c10::toString(type)),
          .op = "norm_rotate",
          .forward = {.bytes = 2 * e * 16 * s.elements()},
          .backward = {.bytes = 3 * e * 16 * s.elements()},
          .inputs = [s](const at::TensorOptions& o) -> Inputs {
            return {at::randn({s.b * s.t, s.n, 16, s.d}, o), at::randn({s.d}, in_float(o)),
                    at::randn({s.n, s.d / 2}, in_float(o)), at::randn({s.n, s.d / 2}, in_float(o))};
          },
          .gradients = 2,
          .sides = {{"praxino",
                     [](const Inputs& in) { return ops::norm_rotate(in[0], in[1], in[2], in[3]); }},
                    {"LibTorch", [](const Inputs& in) {
                       return ops::formula::norm_rotate(in[0], in[1], in[2], in[3]);
                     }}}};
}

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

Case finite_scalar_quantize(Scale scale, at::ScalarType type, const Tokens& gpu) {
  const Tokens s = sized(scale, gpu);
  const std::vector<int64_t> levels(static_cast<size_t>(gpu.d), 5);
  const double e = element_bytes(type), rows = static_cast<double>(s.b * s.t * s.n),
               elements = rows * static_cast<double>(gpu.d);
  // Forward: z, codes, and an index of 8 bytes for each row. Backward: z, both gradients.
  return {.name = fmt::format("finite_scalar_quantize_{}", gpu.d),
          .shape = fmt::format("rows {} D{} {}", s.b * s.t * s.n, gpu.d, c10::toString(type)),
          .op = "finite_scalar_quantize",
          .forward = {.bytes = 2 * e * elements + 8 * rows},
          .backward = {.bytes = 3 * e * elements},
          .inputs = [s, d = gpu.d](const at::TensorOptions& o) -> Inputs {
            return {at::randn({s.b * s.t * s.n, d}, o)};
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

Case nearest_code(Scale scale, at::ScalarType type, const Search& gpu) {
  const Search s = sized(scale, gpu);
  const auto rows = static_cast<double>(s.rows), codes = static_cast<double>(s.codes),
             width = static_cast<double>(s.width);
  return {.name = fmt::format("nearest_code_{}x{}", gpu.codes, gpu.width),
          .shape = fmt::format("rows {} {}", s.rows, c10::toString(type)),
          .op = "nearest_code",
          .forward = {.bytes = (element_bytes(type) * width + 8) * rows + 4 * codes * width,
                      .flop = 2 * rows * codes * width},
          .inputs = [s](const at::TensorOptions& o) -> Inputs {
            return {at::randn({s.rows, s.width}, o), at::randn({s.codes, s.width}, in_float(o))};
          },
          .sides = {{"praxino", [](const Inputs& in) { return ops::nearest_code(in[0], in[1]); }},
                    {"LibTorch",
                     [](const Inputs& in) { return ops::formula::nearest_code(in[0], in[1]); }}}};
}

}  // namespace

std::vector<Case> row_cases(Scale scale, at::ScalarType type) {
  return {
      norm_modulate(scale, type, {8, 32, 256, 1024}),
      norm_modulate(scale, type, {8, 32, 1024, 128}),
      gate_add(scale, type, {8, 32, 256, 1024}),
      gate_add(scale, type, {8, 32, 1024, 128}),
      swiglu(scale, type, {8, 32, 256, 2816}),
      norm_rotate(scale, type, {8, 32, 256, 64}),
      norm_rotate(scale, type, {4, 32, 256, 128}),
      patchify(scale, type, {8, 32, 256, 16}),
      patchify(scale, type, {8, 32, 256, 8}),
      unpatchify(scale, type, {8, 32, 256, 16}),
      finite_scalar_quantize(scale, type, {8, 32, 8192, 5}),
      nearest_code(scale, type, {1 << 20, 8192, 64}),
  };
}

}  // namespace praxino::bench
