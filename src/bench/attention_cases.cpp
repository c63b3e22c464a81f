// Attention in frames, along time and over frames, beside FlashAttention-2 and cuDNN.
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include "bench/cases.h"
#include "bench/rivals.h"
#include "praxino/ops/attention.h"
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
  return {library_layout(kind, in[0]), library_layout(kind, in[1]), library_layout(kind, in[2])};
}

/// q, k and v with the norm and positions in them; q, k, v alone are as they are.
Inputs normed(const Inputs& in) {
  if (in.size() == 3) return in;
  const auto ready = [&](const Tensor& x, const Tensor& gain) {
    const Tensor rows = x.reshape({-1, in[5].size(0), x.size(3), x.size(4)});
    return ops::norm_rotate(rows, gain, in[5], in[6]).view(x.sizes());
  };
  return {ready(in[0], in[3]), ready(in[1], in[4]), in[2]};
}

/// Frame by frame over growing prefixes: exact, and dense in each call.
Tensor frame_by_frame(const Library& library, const Inputs& in, int64_t tokens) {
  std::vector<Tensor> frames;
  for (int64_t end = tokens; end <= in[0].size(2); end += tokens) {
    frames.push_back(library.attend(in[0].narrow(2, end - tokens, tokens), in[1].narrow(2, 0, end),
                                    in[2].narrow(2, 0, end), false));
  }
  return at::cat(frames, 2);
}

/// The way back, as a copy: B T N H K.
Tensor own_layout(Kind kind, const Heads& s, const Tensor& o) {
  if (kind == Kind::kTime)
    return o.view({s.b, s.n, s.h, s.t, s.k}).permute({0, 3, 1, 2, 4}).contiguous();
  return o.transpose(1, 2).reshape({s.b, s.t, s.n, s.h, s.k});
}

// Attention alone: what lies before and after it is done off the clock.
Side library_alone(Kind kind, const Library& library, const Heads& s) {
  return {.name = fmt::format("{} alone", library.name),
          .run =
              [=](const Inputs& in) {
                return library.attend(in[0], in[1], in[2], /*causal=*/kind == Kind::kTime);
              },
          .prepare = [=](const Inputs& in) { return library_layouts(kind, normed(in)); },
          .restore = [=](const Tensor& o) { return own_layout(kind, s, o); }};
}

// What a model pays that keeps its tokens as B T N: norm, in, attention and out again.
Side library_whole(Kind kind, const Library& library, const Heads& s) {
  return {.name = fmt::format("{} whole", library.name), .run = [=](const Inputs& in) {
            const Inputs laid = library_layouts(kind, normed(in));
            return own_layout(kind, s,
                              library.attend(laid[0], laid[1], laid[2], kind == Kind::kTime));
          }};
}

// Another mask of nearly the same work: S (S + 1) / 2 pairs instead of S (S + N) / 2.
Side library_causal(const Library& library) {
  return {
      .name = fmt::format("{} causal", library.name),
      .run = [=](const Inputs& in) { return library.attend(in[0], in[1], in[2], true); },
      .prepare = [](const Inputs& in) { return library_layouts(Kind::kFrameCausal, in); },
  };
}

Side library_by_frame(const Library& library, const Heads& s) {
  return {.name = fmt::format("{} by frame", library.name),
          .run = [=](const Inputs& in) { return frame_by_frame(library, in, s.n); },
          .prepare = [](const Inputs& in) { return library_layouts(Kind::kFrameCausal, in); },
          .restore = [=](const Tensor& o) { return own_layout(Kind::kFrameCausal, s, o); }};
}

constexpr int64_t kMostTokensOfFormula = 8192;
// Its backward pass writes gradients of all keys for each frame.
constexpr int64_t kMostTokensByFrame = 16384;

void add_libraries(Kind kind, const Heads& s, const std::vector<Library>& libraries, Case& out) {
  if (s.h != s.g || s.window.window != 0) return;  // they do not have it
  if (kind == Kind::kFrameCausal) {
    for (const Library& library : libraries) out.sides.push_back(library_causal(library));
    // One is enough: cuDNN would compile a plan for every frame.
    if (s.t * s.n <= kMostTokensByFrame)
      out.sides.push_back(library_by_frame(libraries.front(), s));
    return;
  }
  const bool norm = out.gradients > 3;
  for (const Library& library : libraries) {
    out.sides.push_back(library_alone(kind, library, s));
    if (kind == Kind::kTime || norm) out.sides.push_back(library_whole(kind, library, s));
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
      .inputs = [s, form, positions, type](const at::TensorOptions& on) -> Inputs {
        const at::TensorOptions o = on.dtype(type);
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
  out.sides = {{"praxino", run}};
  // Over frames the formula of many tokens is a call for each frame.
  if (form.kind != Kind::kFrameCausal || s.t * s.n <= kMostTokensOfFormula)
    out.sides.push_back({"LibTorch", by_libtorch(run)});
  add_libraries(form.kind, s, libraries(scale, type), out);
  return out;
}

}  // namespace

std::vector<Case> attention_cases(Scale scale, at::ScalarType type) {
  constexpr Form kSpace{Kind::kSpace, false}, kSpaceNormed{Kind::kSpace, true},
      kTime{Kind::kTime, true}, kTimePlain{Kind::kTime, false}, kFrames{Kind::kFrameCausal, false};
  std::vector<Case> cases = {
      attention(scale, type, kTime, {4, 16, 1024, 16, 16, 64}),
      attention(scale, type, kTime, {1, 64, 1024, 16, 16, 64}),
      attention(scale, type, kTime, {4, 16, 1024, 8, 8, 128}),
      attention(scale, type, kTime, {1, 64, 1024, 8, 8, 128}),
      attention(scale, type, kTime, {2, 32, 1024, 16, 4, 64}),
      attention(scale, type, kTime, {1, 128, 512, 16, 16, 64}),
      attention(scale, type, kTime, {1, 256, 256, 16, 16, 64}),
      attention(scale, type, kTime, {1, 128, 512, 8, 8, 128}),
      attention(scale, type, kTime, {1, 256, 256, 8, 8, 128}),
      attention(scale, type, kTimePlain, {2, 32, 1024, 16, 16, 64}),
      attention(scale, type, kFrames, {1, 32, 256, 16, 16, 64}),
      attention(scale, type, kFrames, {1, 64, 256, 16, 16, 64}),
      attention(scale, type, kFrames, {1, 64, 256, 16, 16, 128}),
      attention(scale, type, kFrames, {1, 128, 256, 16, 16, 64}),
      attention(scale, type, kFrames, {1, 128, 256, 16, 16, 128}),
      attention(scale, type, kFrames, {1, 64, 256, 16, 4, 128}),
      attention(scale, type, kFrames, {1, 64, 256, 16, 16, 64, {.window = 8, .sinks = 1}}),
      attention(scale, type, kFrames, {1, 128, 256, 16, 16, 128, {.window = 8, .sinks = 1}}),
      attention(scale, type, kSpace, {4, 32, 256, 16, 16, 64}),
      attention(scale, type, kSpace, {4, 32, 256, 8, 8, 128}),
      attention(scale, type, kSpace, {2, 32, 512, 16, 16, 64}),
      attention(scale, type, kSpace, {2, 32, 512, 8, 8, 128}),
      attention(scale, type, kSpace, {1, 32, 1024, 16, 16, 64}),
      attention(scale, type, kSpace, {1, 32, 1024, 8, 8, 128}),
      attention(scale, type, kSpaceNormed, {4, 32, 256, 16, 16, 64}),
      attention(scale, type, kSpaceNormed, {4, 32, 256, 8, 8, 128}),
      attention(scale, type, kSpaceNormed, {2, 32, 512, 16, 16, 64}),
      attention(scale, type, kSpaceNormed, {2, 32, 512, 8, 8, 128}),
      attention(scale, type, kSpaceNormed, {1, 32, 1024, 16, 16, 64}),
      attention(scale, type, kSpaceNormed, {1, 32, 1024, 8, 8, 128}),
  };
  // The attention that has a kernel for float32, too: it stands beside the others.
  if (type != at::kFloat) {
    for (const Heads& shape : {Heads{2, 32, 1024, 16, 16, 64}, Heads{1, 64, 1024, 8, 8, 128}}) {
      cases.push_back(attention(scale, at::kFloat, kTime, shape));
      cases.back().type = at::kFloat;
    }
  }
  return cases;
}

}  // namespace praxino::bench
