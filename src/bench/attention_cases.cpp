// Attention in frames, along time and over frames, beside FlashAttention-2 and cuDNN.
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include "bench/cases.h"
#include "praxino/ops/attention.h"
#include "praxino/ops/kernels.h"
#include "praxino/ops/norm.h"

namespace praxino::bench {
namespace {

using at::Tensor;

/// q: B T N H K; k and v have G heads.
struct Heads {
  int64_t b, t, n, h, g, k;
  ops::FrameWindow window = {};
};

enum class Kind { kSpace, kTime, kFrameCausal };

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kSpace: return "space_attention";
    case Kind::kTime: return "time_attention";
    case Kind::kFrameCausal: break;
  }
  return "frame_causal_attention";
}

Heads sized(Scale scale, const Heads& s) {
  if (scale == Scale::kTest) return {1, 3, 5, 2, s.g < s.h ? 1 : 2, 16, s.window};
  if (scale == Scale::kGpu) return s;
  return {1,       std::min<int64_t>(s.t, 16), std::min<int64_t>(s.n, 64),
          4,       s.g < s.h ? 2 : 4,          s.k,
          s.window};
}

/// Pairs of a query and a key that it sees, of one head.
double pairs(Kind kind, const Heads& s) {
  double frames = 0;
  for (int64_t i = 0; i < s.t; ++i) {
    for (int64_t j = 0; j <= i; ++j) frames += s.window.sees(i, j) ? 1 : 0;
  }
  const auto b = static_cast<double>(s.b), t = static_cast<double>(s.t),
             n = static_cast<double>(s.n);
  if (kind == Kind::kSpace) return b * t * n * n;
  return kind == Kind::kTime ? b * n * frames : b * n * n * frames;
}

Tensor attend(Kind kind, const Inputs& in, const ops::FrameWindow& window) {
  switch (kind) {
    case Kind::kSpace: return ops::space_attention(in[0], in[1], in[2]);
    case Kind::kTime: return ops::time_attention(in[0], in[1], in[2], window);
    case Kind::kFrameCausal: break;
  }
  return ops::frame_causal_attention(in[0], in[1], in[2], window);
}

Tensor attend_normed(Kind kind, const Inputs& in, const ops::FrameWindow& window) {
  const ops::RopeTable table{.cos = in[5], .sin = in[6]};
  const ops::QkNorm norm{.query_gain = in[3], .key_gain = in[4], .queries = table, .keys = table};
  switch (kind) {
    case Kind::kSpace: return ops::space_attention(in[0], in[1], in[2], norm);
    case Kind::kTime: return ops::time_attention(in[0], in[1], in[2], norm, window);
    case Kind::kFrameCausal: break;
  }
  return ops::frame_causal_attention(in[0], in[1], in[2], norm, window);
}

/// The same without our kernels.
template <class Run>
Function by_libtorch(Run run) {
  return [run](const Inputs& in) {
    const bool norm = ops::uses_kernels(ops::KernelFamily::kNorm),
               attention = ops::uses_kernels(ops::KernelFamily::kAttention);
    ops::use_kernels(ops::KernelFamily::kNorm, false);
    ops::use_kernels(ops::KernelFamily::kAttention, false);
    const Tensor result = run(in);
    ops::use_kernels(ops::KernelFamily::kNorm, norm);
    ops::use_kernels(ops::KernelFamily::kAttention, attention);
    return result;
  };
}

using Library = Tensor (*)(const Tensor& q, const Tensor& k, const Tensor& v, bool causal);

// q, k, v: B H S K. By name, so that no dispatcher chooses.
Tensor by_flash_attention_2(const Tensor& q, const Tensor& k, const Tensor& v, bool causal) {
  return std::get<0>(at::_scaled_dot_product_flash_attention(q, k, v, 0.0, causal, false));
}
Tensor by_cudnn(const Tensor& q, const Tensor& k, const Tensor& v, bool causal) {
  return std::get<0>(
      at::_scaled_dot_product_cudnn_attention(q, k, v, std::nullopt, true, 0.0, causal, false));
}

/// B T N H K as libraries want it, B H S K: a view for space and frames, a permutation along time.
Tensor library_layout(Kind kind, const Tensor& x) {
  switch (kind) {
    case Kind::kSpace: return x.flatten(0, 1).transpose(1, 2);
    case Kind::kTime:
      return x.permute({0, 2, 3, 1, 4}).reshape({-1, x.size(3), x.size(1), x.size(4)});
    case Kind::kFrameCausal: break;
  }
  return x.flatten(1, 2).transpose(1, 2);
}

Inputs library_layouts(Kind kind, const Inputs& in) {
  Inputs out;
  for (size_t i = 0; i < 3; ++i) out.push_back(library_layout(kind, in[i]));
  return out;
}

/// Frame by frame over growing prefixes: exact, and dense in each call.
Tensor frame_by_frame(Library library, const Inputs& in, int64_t tokens) {
  std::vector<Tensor> frames;
  for (int64_t end = tokens; end <= in[0].size(2); end += tokens) {
    frames.push_back(library(in[0].narrow(2, end - tokens, tokens), in[1].narrow(2, 0, end),
                             in[2].narrow(2, 0, end), false));
  }
  return at::cat(frames, 2);
}

void add_libraries(Kind kind, const Heads& s, Case& out) {
  if (s.h != s.g || s.window.window != 0) return;  // they do not have it
  const std::pair<const char*, Library> libraries[] = {{"FA2", by_flash_attention_2},
                                                       {"cuDNN", by_cudnn}};
  for (const auto& [name, library] : libraries) {
    const auto layout = [kind](const Inputs& in) { return library_layouts(kind, in); };
    if (kind == Kind::kFrameCausal) {
      out.sides.push_back(
          {fmt::format("{} by frame", name),
           [library, n = s.n](const Inputs& in) { return frame_by_frame(library, in, n); },
           layout});
      continue;
    }
    const bool causal = kind == Kind::kTime;
    const auto run = [library, causal](const Inputs& in) {
      return library(in[0], in[1], in[2], causal);
    };
    out.sides.push_back({name, run, layout});
    if (kind != Kind::kTime) continue;
    // What a model pays that keeps its tokens as B T N: in and out again.
    out.sides.push_back({fmt::format("{} with copies", name), [layout, run, s](const Inputs& in) {
                           return run(layout(in))
                               .view({s.b, s.n, s.h, s.t, s.k})
                               .permute({0, 3, 1, 2, 4})
                               .contiguous();
                         }});
  }
}

struct Form {
  Kind kind;
  bool normed;  // with RMSNorm and rotary positions of queries and keys
};

Case attention(Scale scale, at::ScalarType type, const Form& form, const Heads& gpu) {
  const Heads s = sized(scale, gpu);
  const double e = static_cast<double>(c10::elementSize(type)),
               row = e * static_cast<double>(s.b * s.t * s.n * s.k), h = static_cast<double>(s.h),
               g = static_cast<double>(s.g),
               flop = 4 * pairs(form.kind, s) * h * static_cast<double>(s.k);
  const int64_t positions = form.kind == Kind::kSpace ? s.n : s.t * s.n;
  Case out{
      .name = fmt::format("{}{}_{}", name_of(form.kind), form.normed ? "_normed" : "", gpu.k),
      .shape = fmt::format("B{} T{} N{} H{} G{} K{}{} {}", s.b, s.t, s.n, s.h, s.g, s.k,
                           s.window.window > 0 ? fmt::format(" W{}", s.window.window) : "",
                           c10::toString(type)),
      .op = name_of(form.kind),
      // Forward: q, o, k, v. Backward: q, the gradients of o and q; k, v and theirs.
      .forward = {.bytes = row * (2 * h + 2 * g), .flop = flop},
      .backward = {.bytes = row * (3 * h + 4 * g), .flop = 2.5 * flop},
      .inputs = [s, form, positions](const at::TensorOptions& o) -> Inputs {
        Inputs in = {at::randn({s.b, s.t, s.n, s.h, s.k}, o),
                     at::randn({s.b, s.t, s.n, s.g, s.k}, o),
                     at::randn({s.b, s.t, s.n, s.g, s.k}, o)};
        const auto f = o.dtype(at::kFloat);
        if (form.normed) {
          const Tensor angle = at::randn({positions, s.k / 2}, f);
          in.insert(in.end(), {at::randn({s.k}, f), at::randn({s.k}, f), angle.cos(), angle.sin()});
        }
        return in;
      },
      .gradients = form.normed ? 5U : 3U,
      .sides = {}};
  const auto run = [form, window = s.window](const Inputs& in) {
    return form.normed ? attend_normed(form.kind, in, window) : attend(form.kind, in, window);
  };
  out.sides = {{"praxino", run}, {"LibTorch", by_libtorch(run)}};
  if (scale == Scale::kGpu && !form.normed && type == at::kBFloat16)
    add_libraries(form.kind, s, out);
  return out;
}

}  // namespace

std::vector<Case> attention_cases(Scale scale, at::ScalarType type) {
  constexpr Form kSpace{Kind::kSpace, false}, kSpaceNormed{Kind::kSpace, true},
      kTime{Kind::kTime, false}, kTimeNormed{Kind::kTime, true}, kFrames{Kind::kFrameCausal, false};
  return {
      attention(scale, type, kTime, {4, 16, 1024, 16, 16, 64}),
      attention(scale, type, kTime, {4, 32, 1024, 16, 16, 64}),
      attention(scale, type, kTime, {2, 64, 1024, 16, 16, 64}),
      attention(scale, type, kTime, {4, 32, 1024, 8, 8, 128}),
      attention(scale, type, kTimeNormed, {4, 32, 1024, 16, 16, 64}),
      attention(scale, type, kTimeNormed, {4, 32, 1024, 16, 4, 64}),
      attention(scale, type, kSpace, {4, 32, 256, 16, 16, 64}),
      attention(scale, type, kSpace, {4, 32, 256, 8, 8, 128}),
      attention(scale, type, kSpace, {4, 32, 512, 8, 8, 128}),
      attention(scale, type, kSpace, {2, 32, 1024, 8, 8, 128}),
      attention(scale, type, kSpaceNormed, {4, 32, 256, 16, 16, 64}),
      attention(scale, type, kFrames, {1, 32, 256, 16, 16, 64}),
      attention(scale, type, kFrames, {1, 64, 256, 16, 16, 128}),
      attention(scale, type, kFrames, {1, 128, 256, 16, 16, 128}),
      attention(scale, type, kFrames, {1, 64, 256, 16, 4, 128}),
      attention(scale, type, kFrames, {1, 128, 256, 16, 16, 128, {.window = 8, .sinks = 1}}),
  };
}

}  // namespace praxino::bench
