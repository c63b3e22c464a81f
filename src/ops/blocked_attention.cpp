#include "blocked_attention.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "fused_cpu.h"

namespace praxino::ops {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// One frame's queries and the keys that it sees, as ranges of tokens.
struct Range {
  int64_t query, key, keys;
};

Range range_of(int64_t frame, int64_t tokens, int64_t window) {
  const int64_t first = window > 0 ? std::max<int64_t>(0, frame - window + 1) : 0;
  return {.query = frame * tokens, .key = first * tokens, .keys = (frame + 1 - first) * tokens};
}

template <class Run>
void over_rows(const Tensor& x, Run run) {
  if (x.is_meta()) return;
  const int64_t width = x.size(-1), rows = x.numel() / width;
  const auto spread = [&](auto* data) {
    at::parallel_for(0, rows, std::max<int64_t>(1, 16384 / width),
                     [&](int64_t b, int64_t e) { run(data, width, b, e); });
  };
  if (x.scalar_type() == at::kBFloat16) {
    spread(static_cast<cpu::Bf16*>(x.mutable_data_ptr()));
  } else {
    spread(x.mutable_data_ptr<float>());
  }
}

void softmax_in_place(const Tensor& scores, float scale) {
  over_rows(scores, [scale](auto* s, int64_t width, int64_t b, int64_t e) {
    cpu::softmax(s, width, scale, b, e);
  });
}

// grad becomes the gradient of the unscaled scores.
void softmax_backward_in_place(const Tensor& probabilities, const Tensor& grad, float scale) {
  over_rows(grad, [&](auto* g, int64_t width, int64_t b, int64_t e) {
    cpu::softmax_backward(
        static_cast<const std::remove_pointer_t<decltype(g)>*>(probabilities.const_data_ptr()), g,
        width, scale, b, e);
  });
}

// The same as operations that autograd knows.
Tensor by_operations(const Tensor& q, const Tensor& k, const Tensor& v, int64_t tokens,
                     int64_t window) {
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(2)));
  std::vector<Tensor> frames;
  for (int64_t frame = 0; frame < q.size(1) / tokens; ++frame) {
    const Range r = range_of(frame, tokens, window);
    const Tensor scores =
        q.narrow(1, r.query, tokens).bmm(k.narrow(1, r.key, r.keys).transpose(1, 2)).to(at::kFloat);
    const Tensor p = scores.mul(scale).softmax(-1).to(v.scalar_type());
    frames.push_back(p.bmm(v.narrow(1, r.key, r.keys)));
  }
  return at::cat(frames, 1);
}

// Of BlockedAttention's arguments, with a graph of their own.
variable_list gradients_by_operations(const variable_list& inputs, const Tensor& grad,
                                      int64_t tokens, int64_t window) {
  variable_list asked;
  for (const Tensor& x : inputs) {
    if (x.requires_grad()) asked.push_back(x);
  }
  const variable_list found = torch::autograd::grad(
      {by_operations(inputs[0], inputs[1], inputs[2], tokens, window)}, asked, {grad},
      /*retain_graph=*/true, /*create_graph=*/true);
  variable_list results(5);  // none for tokens and window
  for (size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (inputs[i].requires_grad()) results[i] = found[next++];
  }
  return results;
}

struct BlockedAttention : torch::autograd::Function<BlockedAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                        int64_t tokens, int64_t window) {
    const Tensor out = at::empty_like(q);
    const float scale = 1.0F / std::sqrt(static_cast<float>(q.size(2)));
    variable_list saved = {q, k, v};
    for (int64_t frame = 0; frame < q.size(1) / tokens; ++frame) {
      const Range r = range_of(frame, tokens, window);
      const Tensor p =
          at::bmm(q.narrow(1, r.query, tokens), k.narrow(1, r.key, r.keys).transpose(1, 2))
              .contiguous();
      softmax_in_place(p, scale);
      out.narrow(1, r.query, tokens).copy_(at::bmm(p, v.narrow(1, r.key, r.keys)));
      saved.push_back(p);
    }
    ctx->save_for_backward(saved);
    ctx->saved_data["tokens"] = tokens;
    ctx->saved_data["window"] = window;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const int64_t tokens = ctx->saved_data["tokens"].toInt(),
                  window = ctx->saved_data["window"].toInt();
    if (at::GradMode::is_enabled())  // a gradient of this gradient may be asked for
      return gradients_by_operations({q, k, v}, grads[0], tokens, window);
    const float scale = 1.0F / std::sqrt(static_cast<float>(q.size(2)));
    const Tensor grad = grads[0].contiguous();
    const Tensor grad_q = at::empty_like(q);
    // Summed over frames in float32: a key serves many queries.
    const Tensor grad_k = at::zeros_like(k, at::TensorOptions().dtype(at::kFloat));
    const Tensor grad_v = at::zeros_like(v, at::TensorOptions().dtype(at::kFloat));
    for (int64_t frame = 0; frame < q.size(1) / tokens; ++frame) {
      const Range r = range_of(frame, tokens, window);
      const Tensor& p = saved[static_cast<size_t>(3 + frame)];
      const Tensor g = grad.narrow(1, r.query, tokens);
      grad_v.narrow(1, r.key, r.keys).add_(at::bmm(p.transpose(1, 2), g));
      const Tensor s = at::bmm(g, v.narrow(1, r.key, r.keys).transpose(1, 2)).contiguous();
      softmax_backward_in_place(p, s, scale);
      grad_q.narrow(1, r.query, tokens).copy_(at::bmm(s, k.narrow(1, r.key, r.keys)));
      grad_k.narrow(1, r.key, r.keys)
          .add_(at::bmm(s.transpose(1, 2), q.narrow(1, r.query, tokens)));
    }
    return {grad_q, grad_k.to(k.scalar_type()), grad_v.to(v.scalar_type()), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor blocked_attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t tokens,
                         int64_t window) {
  return BlockedAttention::apply(q, k, v, tokens, window);
}

}  // namespace praxino::ops
