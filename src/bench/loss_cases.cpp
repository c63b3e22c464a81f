// Cross-entropy over large vocabularies: logits are all that moves.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include "bench/cases.h"
#include "praxino/ops/cross_entropy.h"

namespace praxino::bench {
namespace {

using at::Tensor;

struct Logits {
  int64_t rows, classes;
  double bytes(at::ScalarType type) const {
    return element_bytes(type) * static_cast<double>(rows * classes);
  }
};

Logits sized(Scale scale, const Logits& s) {
  if (scale == Scale::kTest) return {6, 37};
  return scale == Scale::kCpu ? Logits{256, s.classes} : s;
}

// Logits, targets, the factor of a mean as weights, and the logits once more.
Inputs inputs_of(const Logits& s, const at::TensorOptions& o) {
  const Tensor logits = at::randn({s.rows, s.classes}, o);
  return {logits, at::randint(s.classes, {s.rows}, o.dtype(at::kLong)),
          at::full({s.rows}, 1.0 / static_cast<double>(s.rows), in_float(o)), logits};
}

using Losses = Tensor (*)(const Tensor&, const Tensor&, const ops::CrossEntropyOptions&);

std::string name_of(const char* what, const Logits& gpu) {
  return fmt::format("cross_entropy{}_{}", what, gpu.classes);
}
std::string shape_of(const Logits& s, at::ScalarType type) {
  return fmt::format("rows {} {}", s.rows, c10::toString(type));
}

/// Losses alone, as validation computes them.
Case losses(Scale scale, at::ScalarType type, const Logits& gpu) {
  const Logits s = sized(scale, gpu);
  const auto run = [](Losses of) {
    return [of](const Inputs& in) { return of(in[0].detach(), in[1], {.weights = in[2]}); };
  };
  return {.name = name_of("", gpu),
          .shape = shape_of(s, type),
          .op = "cross_entropy",
          .forward = {.bytes = s.bytes(type)},
          .inputs = [s](const at::TensorOptions& o) { return inputs_of(s, o); },
          .sides = {{"praxino", run(ops::cross_entropy)},
                    {"LibTorch", run(ops::formula::cross_entropy)}}};
}

/// The gradient of the mean, from logits that another operation has made: both passes, since the
/// kernel consumes the logits and cannot go backward twice. One read, one write.
Case gradient(Scale scale, at::ScalarType type, const Logits& gpu) {
  const Logits s = sized(scale, gpu);
  const auto side = [](const char* name, Losses of) {
    return Side{.name = name,
                .run =
                    [of](const Inputs& in) {
                      const at::AutoGradMode on(true);
                      const Tensor leaf = in[0].detach().requires_grad_();
                      const Tensor loss = of(leaf.view_as(leaf), in[1], {.weights = in[2]}).sum();
                      return torch::autograd::grad({loss}, {leaf})[0];
                    },
                .before = [](const Inputs& in) { in[0].copy_(in[3]); }};
  };
  return {
      .name = name_of("_gradient", gpu),
      .shape = shape_of(s, type),
      .op = "cross_entropy",
      .forward = {.bytes = 2 * s.bytes(type)},
      .inputs = [s](const at::TensorOptions& o) { return inputs_of(s, o); },
      .sides = {side("praxino", ops::cross_entropy), side("LibTorch", ops::formula::cross_entropy)},
      .in_place = true};
}

}  // namespace

std::vector<Case> loss_cases(Scale scale, at::ScalarType type) {
  return {losses(scale, type, {8192, 65536}), gradient(scale, type, {8192, 65536})};
}

}  // namespace praxino::bench
