// Attention of one new frame over a cache of frames: a rollout's step.
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include "bench/cases.h"
#include "bench/rivals.h"
#include "praxino/ops/attention.h"

namespace praxino::bench {
namespace {

using at::Tensor;

/// q: B 1 N H K; k and v: B F N G K.
struct Cache {
  int64_t b, f, n, h, g, k;
};

Cache sized(Scale scale, const Cache& s) {
  if (scale == Scale::kTest) return {1, 3, 5, 2, s.g < s.h ? 1 : 2, 16};
  return scale == Scale::kCpu ? Cache{1, std::min<int64_t>(s.f, 16), 64, 4, 4, s.k} : s;
}

std::string shape_of(const Cache& s, at::ScalarType type) {
  return fmt::format("B{} F{} N{} H{} G{} K{} {}", s.b, s.f, s.n, s.h, s.g, s.k,
                     c10::toString(type));
}

// Queries and results once, keys and values once; every query sees `seen` keys.
Work work_of(const Cache& s, at::ScalarType type, int64_t seen) {
  const double rows = static_cast<double>(s.b * s.n * s.k);
  return {.bytes = element_bytes(type) * rows * static_cast<double>(2 * s.h + 2 * s.f * s.g),
          .flop = 4 * rows * static_cast<double>(s.h * seen)};
}

Inputs operands(const Cache& s, const at::TensorOptions& o) {
  return {at::randn({s.b, 1, s.n, s.h, s.k}, o), at::randn({s.b, s.f, s.n, s.g, s.k}, o),
          at::randn({s.b, s.f, s.n, s.g, s.k}, o)};
}

/// Along time; queries get their norm, queries and keys their positions on the way.
Case time_step(Scale scale, at::ScalarType type, const Cache& gpu) {
  const Cache s = sized(scale, gpu);
  const Function run = [](const Inputs& in) {
    const ops::QkNorm norm{.query_gain = in[3],
                           .key_gain = in[3],
                           .queries = {.cos = in[4], .sin = in[5]},
                           .keys = {.cos = in[6], .sin = in[7]}};
    return ops::time_attention_step(in[0], in[1], in[2], norm);
  };
  return {.name = fmt::format("time_attention_step_{}", gpu.k),
          .shape = shape_of(s, type),
          .op = "time_attention_step",
          .forward = work_of(s, type, s.f),
          .inputs =
              [s](const at::TensorOptions& o) {
                Inputs in = operands(s, o);
                const Tensor queries = at::randn({s.n, s.k / 2}, in_float(o)),
                             keys = at::randn({s.f * s.n, s.k / 2}, in_float(o));
                in.insert(in.end(), {at::randn({s.k}, in_float(o)), queries.cos(), queries.sin(),
                                     keys.cos(), keys.sin()});
                return in;
              },
          .sides = {{"praxino", run}, {"LibTorch", by_libtorch(run)}}};
}

/// Over all tokens of all frames.
Case frames_step(Scale scale, at::ScalarType type, const Cache& gpu) {
  const Cache s = sized(scale, gpu);
  const Function run = [](const Inputs& in) {
    return ops::frame_causal_attention_step(in[0], in[1], in[2]);
  };
  Case out{.name = fmt::format("frame_causal_attention_step_{}", gpu.k),
           .shape = shape_of(s, type),
           .op = "frame_causal_attention",
           .forward = work_of(s, type, s.f * s.n),
           .inputs = [s](const at::TensorOptions& o) { return operands(s, o); },
           .sides = {{"praxino", run}, {"LibTorch", by_libtorch(run)}}};
  if (s.h != s.g) return out;
  for (const Library& library : libraries(scale, type)) {
    out.sides.push_back(
        {.name = fmt::format("{} alone", library.name),
         .run =
             [library](const Inputs& in) {
               return library.attend(in[0], in[1], in[2], /*causal=*/false);
             },
         .prepare = [](const Inputs& in) -> Inputs {
           const auto laid = [](const Tensor& x) { return x.flatten(1, 2).transpose(1, 2); };
           return {laid(in[0]), laid(in[1]), laid(in[2])};
         },
         .restore = [](const Tensor& o) { return o.transpose(1, 2).unsqueeze(1); }});
  }
  return out;
}

}  // namespace

std::vector<Case> attention_step_cases(Scale scale, at::ScalarType type) {
  return {
      time_step(scale, type, {1, 32, 256, 16, 16, 64}),
      time_step(scale, type, {8, 32, 256, 8, 8, 128}),
      time_step(scale, type, {8, 64, 1024, 16, 4, 64}),
      frames_step(scale, type, {1, 32, 256, 16, 16, 64}),
      frames_step(scale, type, {1, 32, 256, 8, 8, 128}),
  };
}

}  // namespace praxino::bench
