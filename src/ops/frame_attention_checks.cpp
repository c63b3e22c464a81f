// How the kernels of attention over frames are checked on a device before they are believed.
#include <ATen/core/grad_mode.h>

#include "attention_cuda.h"
#include "kernel_registry.h"
#include "praxino/ops/norm.h"
#include "self_check.h"

namespace praxino::ops::cuda {

using at::Tensor;
using kernels::Tier;

namespace {

// Scores and their gradients pass through bfloat16 in another order.
constexpr double kTolerance = 3e-2;

constexpr FrameWindow kWindow{.window = 2, .sinks = 1};

using Inputs = std::vector<Tensor>;

// A kernel that may take a norm in its load, and its formula, for q, k, v and two gains.
struct NormedForms {
  std::function<std::optional<Tensor>(const Inputs&, const QkNorm*)> kernel;
  std::function<Tensor(const Inputs&)> formula;
  std::function<int64_t(const Inputs&)> positions;  // rows of the tables
};

Inputs with_gains(Inputs in) {
  for (const double phase : {3, 4})
    in.push_back(noise({in[0].size(4)}, phase, in[0].options().dtype(at::kFloat)));
  return in;
}

// Cases are q, k, v, or with_gains() of them.
SelfCheck normed_check(const NormedForms& forms, std::vector<Inputs> cases) {
  const auto norm_of = [forms](const Inputs& in) {
    const auto table = [&](double phase) {
      return noise({forms.positions(in), in[0].size(4) / 2}, phase,
                   in[0].options().dtype(at::kFloat));
    };
    const RopeTable rotation{.cos = table(4), .sin = table(5)};
    return QkNorm{.query_gain = in[3], .key_gain = in[4], .queries = rotation, .keys = rotation};
  };
  const auto rotated = [forms](const Inputs& in, const QkNorm& norm) -> Inputs {
    const auto ready = [&](const Tensor& x, const Tensor& gain) {
      const Tensor rows = x.reshape({-1, forms.positions(in), x.size(3), x.size(4)});
      return formula::norm_rotate(rows, gain, norm.queries.cos, norm.queries.sin).view(x.sizes());
    };
    return {ready(in[0], in[3]), ready(in[1], in[4]), in[2]};
  };
  return {.kernel =
              [=](const Inputs& in) {
                if (in.size() == 3) return forms.kernel(in, nullptr).value();
                const QkNorm norm = norm_of(in);
                // A chip without room for it leaves the norm outside.
                if (const auto y = forms.kernel(in, &norm)) return *y;
                return forms.kernel(rotated(in, norm), nullptr).value();
              },
          .formula =
              [=](const Inputs& in) {
                return forms.formula(in.size() == 3 ? in : rotated(in, norm_of(in)));
              },
          .cases = std::move(cases),
          .tolerance = kTolerance};
}

Inputs frames_of_heads(int64_t tokens, int64_t width, const at::TensorOptions& o) {
  return {noise({1, 2, tokens, 4, width}, 0, o), noise({1, 2, tokens, 2, width}, 1, o),
          noise({1, 2, tokens, 2, width}, 2, o)};
}

SelfCheck causal_check(const at::TensorOptions& o, Tier tier) {
  SelfCheck check{
      .kernel =
          [tier](const std::vector<Tensor>& in) {
            if (in[0].size(1) < in[1].size(1))
              return cuda::frame_causal_attention_step(in[0], in[1], in[2], tier).value();
            return cuda::frame_causal_attention(in[0], in[1], in[2], kWindow, tier).value();
          },
      .formula =
          [](const std::vector<Tensor>& in) {
            if (in[0].size(1) < in[1].size(1))
              return formula::frame_causal_attention_step(in[0], in[1], in[2]);
            return formula::frame_causal_attention(in[0], in[1], in[2], kWindow);
          },
      .cases = {},
      .tolerance = kTolerance};
  for (const int64_t width : {64, 128}) {
    for (const int64_t frames : {5, 1}) {  // training, a step
      check.cases.push_back({noise({1, frames, 64, 4, width}, 0, o),
                             noise({1, 5, 64, 2, width}, 1, o), noise({1, 5, 64, 2, width}, 2, o)});
    }
    check.cases.push_back({noise({1, 5, 37, 4, width}, 0, o), noise({1, 5, 37, 2, width}, 1, o),
                           noise({1, 5, 37, 2, width}, 2, o)});
  }
  return check;
}

}  // namespace

// Small enough for one pass with the norm, and too long for it; grouped heads; both widths.
SelfCheck check_of_space_attention(at::TensorOptions o) {
  const NormedForms forms{
      .kernel = [](const Inputs& in, const QkNorm* norm) -> std::optional<Tensor> {
        return cuda::space_attention(in[0], in[1], in[2], norm);
      },
      .formula = [](const Inputs& in) { return formula::space_attention(in[0], in[1], in[2]); },
      .positions = [](const Inputs& in) { return in[0].size(2); }};
  std::vector<Inputs> cases;
  for (const int64_t width : {64, 128}) {
    cases.push_back(frames_of_heads(300, width, o));
    cases.push_back(with_gains(frames_of_heads(77, width, o)));
  }
  return normed_check(forms, std::move(cases));
}

// One pass of either size and two, with the norm in the load and without.
SelfCheck check_of_time_attention_long(at::TensorOptions o) {
  const NormedForms forms{
      .kernel = [](const Inputs& in, const QkNorm* norm) -> std::optional<Tensor> {
        return cuda::time_attention_long(in[0], in[1], in[2], norm, kWindow);
      },
      .formula =
          [](const Inputs& in) { return formula::time_attention(in[0], in[1], in[2], kWindow); },
      .positions = [](const Inputs& in) { return in[0].size(1) * in[0].size(2); }};
  const auto operands = [o](int64_t frames, int64_t width) -> Inputs {
    return {noise({2, frames, 3, 4, width}, 0, o), noise({2, frames, 3, 2, width}, 1, o),
            noise({2, frames, 3, 2, width}, 2, o)};
  };
  std::vector<Inputs> cases;
  for (const int64_t width : {64, 128}) {
    cases.push_back(operands(150, width));
    for (const int64_t frames : {71, 150}) cases.push_back(with_gains(operands(frames, width)));
  }
  return normed_check(forms, std::move(cases));
}

SelfCheck check_of_space_attention_hopper(at::TensorOptions o) {
  SelfCheck check{
      .kernel =
          [](const std::vector<Tensor>& in) {
            return cuda::space_attention(in[0], in[1], in[2], nullptr, Tier::kHopper).value();
          },
      .formula =
          [](const std::vector<Tensor>& in) {
            return formula::space_attention(in[0], in[1], in[2]);
          },
      .cases = {},
      .tolerance = kTolerance};
  for (const int64_t width : {64, 128}) {
    for (const int64_t tokens : {300, 77}) check.cases.push_back(frames_of_heads(tokens, width, o));
  }
  return check;
}

SelfCheck check_of_frame_causal_attention(at::TensorOptions o) {
  return causal_check(o, Tier::kPortable);
}
SelfCheck check_of_frame_causal_attention_hopper(at::TensorOptions o) {
  return causal_check(o, Tier::kHopper);
}

// Parts of unequal weight, several batch rows, queries that fill no tile.
SelfCheck check_of_frame_causal_attention_parts(at::TensorOptions o) {
  SelfCheck check{.kernel =
                      [](const Inputs& in) {
                        const at::NoGradGuard no_gradient;  // it has none
                        return cuda::frame_causal_attention_parts(in[0], in[1], in[2],
                                                                  Tier::kPortable, 3)
                            .value();
                      },
                  .formula =
                      [](const Inputs& in) {
                        const at::NoGradGuard no_gradient;
                        return formula::frame_causal_attention_step(in[0], in[1], in[2]);
                      },
                  .cases = {},
                  .tolerance = kTolerance};
  for (const int64_t width : {64, 128}) {
    check.cases.push_back({noise({2, 1, 43, 4, width}, 0, o), noise({2, 6, 43, 2, width}, 1, o),
                           noise({2, 6, 43, 2, width}, 2, o)});
  }
  return check;
}

}  // namespace praxino::ops::cuda
