// Operations over rows: memory bandwidth bounds all of them.
#include <ATen/ops/randn.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>

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

// The two operations, each with its own kernel.
ops::GatedSum unfused(const Tensor& x, const Tensor& gate, const Tensor& branch,
                      const ops::Modulation& modulation, at::ScalarType type) {
  const Tensor sum = ops::gate_add(x, gate, branch);
  return {sum, ops::norm_modulate(sum, modulation.scale, modulation.shift, type)};
}

// Hands a fixed gradient to a result that a case does not return.
struct AndGradient : torch::autograd::Function<AndGradient> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& result,
                        const Tensor& other, const Tensor& gradient_of_other) {
    (void)other;
    ctx->saved_data["gradient"] = gradient_of_other;
    return result;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    return {grads[0], ctx->saved_data["gradient"].toTensor(), Tensor()};
  }
};

Case gate_add_norm(Scale scale, at::ScalarType type, const Tokens& gpu) {
  const Tokens s = sized(scale, gpu);
  const double e = element_bytes(type);
  const auto side = [type](auto op) -> Function {
    return [=](const Inputs& in) -> Tensor {
      const ops::GatedSum both = op(in[0], in[1], in[2], ops::Modulation{in[3], in[4]}, type);
      return both.norm.requires_grad() ? AndGradient::apply(both.norm, both.sum, in[5]) : both.norm;
    };
  };
  // Forward: x, branch, sum, norm. Backward: sum, branch, the gradients of sum, norm, x, branch.
  return {.name = fmt::format("gate_add_norm_{}", gpu.d),
          .shape = shape_of(s, type),
          .op = "gate_add_norm",
          .forward = {.bytes = (8 + 2 * e) * s.elements()},
          .backward = {.bytes = (12 + 3 * e) * s.elements()},
          .inputs = [s](const at::TensorOptions& o) -> Inputs {
            const auto tokens = [&](const at::TensorOptions& options) {
              return at::randn({s.b, s.t, s.n, s.d}, options);
            };
            const auto frame = [&] { return at::randn({s.b, s.t, s.d}, in_float(o)); };
            return {tokens(in_float(o)), frame(), tokens(o), frame(), frame(), tokens(in_float(o))};
          },
          .gradients = 5,
          .sides = {{"praxino", side(ops::gate_add_norm)},
                    {"LibTorch", side(ops::formula::gate_add_norm)},
                    {"unfused", side(unfused)}}};
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
      gate_add_norm(scale, type, {8, 32, 256, 1024}),
      gate_add_norm(scale, type, {8, 32, 1024, 128}),
      swiglu(scale, type, {8, 32, 256, 2816}),
      norm_rotate(scale, type, {8, 32, 256, 64}),
      norm_rotate(scale, type, {4, 32, 256, 128}),
      rotate(scale, type, {8, 32, 256, 64}),
  };
}

}  // namespace praxino::bench
