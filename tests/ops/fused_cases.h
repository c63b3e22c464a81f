#pragma once
// The fused operations as cases of the two-fold rule: kernels that a GPU runs against their
// formulas, on it or on the emulator.

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>

#include "ops/fused_cuda.h"
#include "support/two_fold.h"

namespace praxino::ops {

struct FusedShape {
  int64_t b, t, n, d;
};

/// Which results of gate_add_norm count.
enum class Gated { kBoth, kSum, kNorm };

class FusedCases {
 public:
  using Inputs = std::vector<at::Tensor>;
  using Place = at::Tensor (*)(const at::Tensor&);

  /// `place` moves a tensor to where the kernels run.
  FusedCases(Place place, at::ScalarType type) : on_(place), type_(type) {}

  testing::TwoFold norm_modulate(const FusedShape& s) const {
    return made(
        [on = on_, type = type_](const Inputs& in) {
          return cuda::norm_modulate(on(in[0]), on(in[1]), on(in[2]), type).value();
        },
        [on = on_](const Inputs& in, at::ScalarType type) {
          return formula::norm_modulate(on(in[0]), on(in[1]), on(in[2]), type);
        },
        {tokens(s, 1), frames(s, 2), frames(s, 3)}, {});
  }

  testing::TwoFold gate_add(const FusedShape& s) const {
    return made(
        [on = on_, type = type_](const Inputs& in) {
          return cuda::gate_add(on(in[0]), on(in[1]), on(in[2]).to(type)).value();
        },
        [on = on_](const Inputs& in, at::ScalarType type) {
          return formula::gate_add(on(in[0]), on(in[1]), on(in[2]).to(type));
        },
        {tokens(s, 1), frames(s, 2), tokens(s, 3)}, {2});
  }

  testing::TwoFold gate_add_norm(const FusedShape& s, Gated which) const {
    const auto taken = [which](const GatedSum& y) {
      if (which == Gated::kSum) return y.sum;
      return which == Gated::kNorm ? y.norm : at::cat({y.sum, y.norm.to(at::kFloat)});
    };
    return made(
        [on = on_, type = type_, taken](const Inputs& in) {
          const Modulation modulation{on(in[3]), on(in[4])};
          return taken(
              cuda::gate_add_norm(on(in[0]), on(in[1]), on(in[2]).to(type), modulation, type)
                  .value());
        },
        [on = on_, taken](const Inputs& in, at::ScalarType type) {
          const Modulation modulation{on(in[3]), on(in[4])};
          return taken(
              formula::gate_add_norm(on(in[0]), on(in[1]), on(in[2]).to(type), modulation, type));
        },
        {tokens(s, 1), frames(s, 2), tokens(s, 3), frames(s, 4), frames(s, 5)}, {2});
  }

  testing::TwoFold swiglu(const FusedShape& s) const {
    return made([on = on_, type = type_](
                    const Inputs& in) { return cuda::swiglu(on(in[0]).to(type)).value(); },
                [on = on_](const Inputs& in, at::ScalarType type) {
                  return formula::swiglu(on(in[0]).to(type));
                },
                {testing::normal({s.b, s.t, s.n, 2 * s.d}, 4) * 4}, {0});
  }

  /// t positions, n heads.
  testing::TwoFold norm_rotate(const FusedShape& s) const {
    const at::Tensor cos = on_(testing::normal({s.t, s.d / 2}, 7)),
                     sin = on_(testing::normal({s.t, s.d / 2}, 8));
    return made(
        [on = on_, type = type_, cos, sin](const Inputs& in) {
          return cuda::norm_rotate(on(in[0]).to(type), on(in[1]), cos, sin).value();
        },
        [on = on_, cos, sin](const Inputs& in, at::ScalarType type) {
          return formula::norm_rotate(on(in[0]).to(type), on(in[1]), cos, sin);
        },
        {tokens(s, 5), testing::normal({s.d}, 6)}, {0});
  }

  testing::TwoFold cross_entropy(int64_t rows, int64_t classes) const {
    const at::Tensor targets = on_(at::arange(rows, at::TensorOptions(at::kLong)) * 7919 % classes);
    const CrossEntropyOptions options{.weights = on_(testing::normal({rows}, 10))};
    return made(
        // The kernel consumes its logits, the leaf's copy here.
        [on = on_, type = type_, targets, options](const Inputs& in) {
          return cuda::cross_entropy((on(in[0]) * 1).to(type), targets, options).value();
        },
        [on = on_, targets, options](const Inputs& in, at::ScalarType type) {
          return formula::cross_entropy(on(in[0]).to(type), targets, options);
        },
        {testing::normal({rows, classes}, 9) * 3}, {0});
  }

 private:
  template <class Kernel, class Formula>
  testing::TwoFold made(Kernel kernel, Formula formula, Inputs inputs,
                        std::vector<size_t> rounded) const {
    return {[kernel](const Inputs& in) { return kernel(in).cpu(); },
            [formula](const Inputs& in, at::ScalarType type) { return formula(in, type).cpu(); },
            std::move(inputs), std::move(rounded), type_};
  }
  static at::Tensor tokens(const FusedShape& s, uint64_t seed) {
    return testing::normal({s.b, s.t, s.n, s.d}, seed);
  }
  static at::Tensor frames(const FusedShape& s, uint64_t seed) {
    return testing::normal({s.b, s.t, s.d}, seed);
  }

  Place on_;
  at::ScalarType type_;
};

}  // namespace praxino::ops
