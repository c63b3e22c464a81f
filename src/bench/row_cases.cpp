// Operations over rows: memory bandwidth bounds all of them.
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include "bench/cases.h"
#include "praxino/ops/norm.h"
#include "praxino/ops/rope.h"

namespace praxino::bench {
namespace {

using at::Tensor;

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

// Keys of a cache, as a step over frames rotates them.
Case rotate(Scale scale, at::ScalarType type, const Tokens& gpu) {
  const Tokens s = sized(scale, gpu);
  const double e = element_bytes(type);
  return {.name = fmt::format("rotate_{}", gpu.d),
          .shape = fmt::format("R{} S{} H{} K{} {}", s.b, s.t * s.n, 16, s.d, c10::toString(type)),
          .op = "rotate",
          .forward = {.bytes = 2 * e * 16 * s.elements()},
          .inputs = [s](const at::TensorOptions& o) -> Inputs {
            return {at::randn({s.b, s.t * s.n, 16, s.d}, o),
                    at::randn({s.t * s.n, s.d / 2}, in_float(o)),
                    at::randn({s.t * s.n, s.d / 2}, in_float(o))};
          },
          .sides = {{"praxino", [](const Inputs& in) { return ops::rotate(in[0], in[1], in[2]); }},
                    {"LibTorch",
                     [](const Inputs& in) { return ops::formula::rotate(in[0], in[1], in[2]); }}}};
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
      rotate(scale, type, {8, 32, 256, 64}),
  };
}

}  // namespace praxino::bench
