#pragma once
// Attention over frames and its gradients by definition, in double; and the same with every tensor
// that an expression over bfloat16 tensors would write rounded to bfloat16: how far a kernel may be
// off is measured by that.

#include <cmath>
#include <vector>

#include "kernels/frame_attention.h"
#include "kernels/numbers.h"

namespace praxino::kernels::testing {

/// Operands, dense: batch x tokens x heads x width.
struct AttentionInputs {
  AttentionShape shape;
  bool norm = false;
  Doubles q, k, v, grad;
  std::vector<float> query_gain, key_gain, query_cos, query_sin, key_cos, key_sin;
};

inline AttentionInputs attention_inputs(AttentionShape shape, bool norm = false,
                                        uint64_t seed = 1) {
  const int64_t w = shape.width, rows_q = shape.batch * shape.mask.queries * shape.heads,
                rows_k = shape.batch * shape.mask.keys * shape.key_heads;
  shape.scale = 1 / std::sqrt(static_cast<float>(w));
  const int64_t angles_q = shape.mask.queries * shape.places * w / 2,
                angles_k = shape.mask.keys * shape.places * w / 2;
  return {.shape = shape,
          .norm = norm,
          .q = exact(normal<Bf16>(rows_q * w, seed)),
          .k = exact(normal<Bf16>(rows_k * w, seed + 1)),
          .v = exact(normal<Bf16>(rows_k * w, seed + 2)),
          .grad = exact(normal<Bf16>(rows_q * w, seed + 3)),
          .query_gain = normal<float>(w, seed + 4),
          .key_gain = normal<float>(w, seed + 5),
          .query_cos = normal<float>(angles_q, seed + 6, 0.7),
          .query_sin = normal<float>(angles_q, seed + 7, 0.7),
          .key_cos = normal<float>(angles_k, seed + 8, 0.7),
          .key_sin = normal<float>(angles_k, seed + 9, 0.7)};
}

struct AttentionResults {
  Doubles out, lse, grad_q, grad_k, grad_v, grad_query_gain, grad_key_gain;
  bool operator==(const AttentionResults&) const = default;
};

/// Of the head of one token: RMSNorm with a gain, then a rotation; and the gradient of both.
struct HeadNorm {
  const std::vector<float>& gain;
  const std::vector<float>& cos;
  const std::vector<float>& sin;
  size_t width, angle;  // `angle`: where the token's row of the tables begins

  void forward(const double* x, double* y) const {
    const double inverse = inverse_of(x);
    for (size_t i = 0; i < width / 2; ++i) {
      const double a = x[i] * inverse * double{gain[i]};
      const double b = x[i + width / 2] * inverse * double{gain[i + width / 2]};
      y[i] = a * c(i) - b * s(i);
      y[i + width / 2] = b * c(i) + a * s(i);
    }
  }
  void backward(const double* x, const double* grad, double* grad_x, double* grad_gain) const {
    const double inverse = inverse_of(x);
    Doubles scaled(width);
    for (size_t i = 0; i < width / 2; ++i) {
      const double g = grad[i], h = grad[i + width / 2];
      scaled[i] = g * c(i) + h * s(i);
      scaled[i + width / 2] = h * c(i) - g * s(i);
    }
    double projection = 0;
    for (size_t i = 0; i < width; ++i) {
      grad_gain[i] += scaled[i] * x[i] * inverse;
      scaled[i] *= double{gain[i]};
      projection += scaled[i] * x[i] * inverse / static_cast<double>(width);
    }
    for (size_t i = 0; i < width; ++i)
      grad_x[i] = inverse * (scaled[i] - x[i] * inverse * projection);
  }

 private:
  double c(size_t i) const { return double{cos[angle + i]}; }
  double s(size_t i) const { return double{sin[angle + i]}; }
  double inverse_of(const double* x) const {
    double squares = 0;
    for (size_t i = 0; i < width; ++i) squares += x[i] * x[i];
    return 1 / std::sqrt(squares / static_cast<double>(width) + 1e-6);
  }
};

class AttentionFormula {
 public:
  AttentionFormula(const AttentionInputs& in, bool rounds) : in_(in), rounds_(rounds) {
    const AttentionShape& s = in.shape;
    width_ = static_cast<size_t>(s.width);
    q_ = normalized(in.q, s.mask.queries, s.heads, in.query_gain, in.query_cos, in.query_sin);
    k_ = normalized(in.k, s.mask.keys, s.key_heads, in.key_gain, in.key_cos, in.key_sin);
  }

  AttentionResults results() {
    const AttentionShape& s = in_.shape;
    r_.out.resize(in_.q.size());
    r_.grad_q.resize(in_.q.size());
    r_.grad_k.resize(in_.k.size());
    r_.grad_v.resize(in_.v.size());
    for (int64_t b = 0; b < s.batch; ++b) {
      for (int64_t h = 0; h < s.heads; ++h) {
        for (int i = 0; i < s.mask.queries; ++i) row(b, h, i);
      }
    }
    finish(r_.grad_q, in_.q, s.mask.queries, s.heads, in_.query_gain, in_.query_cos, in_.query_sin,
           r_.grad_query_gain);
    finish(r_.grad_k, in_.k, s.mask.keys, s.key_heads, in_.key_gain, in_.key_cos, in_.key_sin,
           r_.grad_key_gain);
    for (Doubles* x : {&r_.out, &r_.grad_v}) round(*x);
    return r_;
  }

 private:
  double held(double x) const { return rounds_ ? as<Bf16>(x) : x; }
  void round(Doubles& x) const {
    for (double& value : x) value = held(value);
  }
  size_t at(int64_t b, int64_t token, int64_t h, int64_t tokens, int64_t heads) const {
    return static_cast<size_t>((b * tokens + token) * heads + h) * width_;
  }

  // One query of one head: its result, and what it adds to the gradients.
  void row(int64_t b, int64_t h, int query) {
    const AttentionShape& s = in_.shape;
    const int64_t g = h / s.shared_by();
    const double scale = double{s.scale};
    const size_t q = at(b, query, h, s.mask.queries, s.heads);
    std::vector<size_t> keys;
    Doubles p;
    double best = -INFINITY, sum = 0, delta = 0;
    for (int key = 0; key < s.mask.keys; ++key) {
      if (!s.mask.allowed(query, key)) continue;
      keys.push_back(at(b, key, g, s.mask.keys, s.key_heads));
      p.push_back(held(product(&q_[q], &k_[keys.back()])) * scale);
      best = std::max(best, p.back());
    }
    for (double& x : p) sum += x = std::exp(x - best);
    r_.lse.push_back(keys.empty() ? -INFINITY : best + std::log(sum));
    for (size_t j = 0; j < keys.size(); ++j) {
      p[j] = held(p[j] / sum);
      for (size_t i = 0; i < width_; ++i) r_.out[q + i] += p[j] * in_.v[keys[j] + i];
    }
    for (size_t i = 0; i < width_; ++i) delta += held(r_.out[q + i]) * in_.grad[q + i];
    for (size_t j = 0; j < keys.size(); ++j) {
      const double grad_p = held(product(&in_.grad[q], &in_.v[keys[j]]));
      const double grad_s = held(p[j] * (grad_p - delta)) * scale;
      for (size_t i = 0; i < width_; ++i) {
        r_.grad_v[keys[j] + i] += p[j] * in_.grad[q + i];
        r_.grad_k[keys[j] + i] += grad_s * q_[q + i];
        r_.grad_q[q + i] += grad_s * k_[keys[j] + i];
      }
    }
  }

  double product(const double* a, const double* b) const {
    double sum = 0;
    for (size_t i = 0; i < width_; ++i) sum += a[i] * b[i];
    return sum;
  }

  template <class Visit>
  void each_head(int64_t tokens, int64_t heads, Visit visit) const {
    const int64_t places = in_.shape.places;
    for (int64_t b = 0; b < in_.shape.batch; ++b) {
      for (int64_t token = 0; token < tokens; ++token) {
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t place = h / (heads / places);
          visit(at(b, token, h, tokens, heads),
                static_cast<size_t>(token * places + place) * width_ / 2);
        }
      }
    }
  }

  Doubles normalized(const Doubles& x, int64_t tokens, int64_t heads,
                     const std::vector<float>& gain, const std::vector<float>& cos,
                     const std::vector<float>& sin) const {
    if (!in_.norm) return x;
    Doubles y(x.size());
    each_head(tokens, heads, [&](size_t row, size_t angle) {
      HeadNorm{gain, cos, sin, width_, angle}.forward(&x[row], &y[row]);
    });
    round(y);
    return y;
  }

  void finish(Doubles& grad, const Doubles& x, int64_t tokens, int64_t heads,
              const std::vector<float>& gain, const std::vector<float>& cos,
              const std::vector<float>& sin, Doubles& grad_gain) const {
    round(grad);
    if (!in_.norm) return;
    grad_gain.assign(width_, 0);
    Doubles through(grad.size());
    each_head(tokens, heads, [&](size_t row, size_t angle) {
      HeadNorm{gain, cos, sin, width_, angle}.backward(&x[row], &grad[row], &through[row],
                                                       grad_gain.data());
    });
    round(through);
    grad = through;
  }

  const AttentionInputs& in_;
  bool rounds_;
  size_t width_ = 0;
  Doubles q_, k_;
  AttentionResults r_;  // lse: batch x heads x queries, as the loops go
};

}  // namespace praxino::kernels::testing
