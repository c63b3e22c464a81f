#pragma once
// Attention along time by its definition, in double, forward and backward: exact, or with the
// roundings of a formula that keeps its tensors in T, Bf16 or float.

#include <cmath>

#include "kernels/time_attention.h"
#include "numbers.h"

namespace praxino::kernels::testing {

/// Operands as the kernels get them, tokens contiguous.
template <class T>
struct TimeCase {
  TimeShape shape;
  bool normed = true;            // false: queries and keys are taken as they are
  std::vector<T> q, k, v, grad;  // B T N H K, B T N G K twice, B T N H K
  std::vector<float> query_gain, key_gain, query_cos, query_sin, key_cos, key_sin;
};

template <class T>
TimeCase<T> time_case(const TimeShape& shape, uint64_t seed = 1) {
  const int64_t tokens = shape.frames * shape.places, rows = shape.batch * tokens;
  const int64_t queries = rows * shape.heads() * shape.width;
  const int64_t keys = rows * shape.kv_heads * shape.width;
  TimeCase<T> made{.shape = shape,
                   .q = normal<T>(queries, seed),
                   .k = normal<T>(keys, seed + 1, 2),
                   .v = normal<T>(keys, seed + 2),
                   .grad = normal<T>(queries, seed + 3),
                   .query_gain = normal<float>(shape.width, seed + 4),
                   .key_gain = normal<float>(shape.width, seed + 5),
                   .query_cos = {},
                   .query_sin = {},
                   .key_cos = {},
                   .key_sin = {}};
  const auto angles = normal<float>(tokens * shape.width / 2, seed + 6, 3);
  for (const float angle : angles) {
    made.query_cos.push_back(std::cos(angle));
    made.query_sin.push_back(std::sin(angle));
    made.key_cos.push_back(std::cos(angle / 2));
    made.key_sin.push_back(std::sin(angle / 2));
  }
  return made;
}

struct TimeResults {
  Doubles o, grad_q, grad_k, grad_v;
  Doubles grad_query_gain, grad_key_gain;  // K
};

/// `rounded`: tensors between operations, the probabilities and their gradients in T.
template <class T>
class TimeReference {
 public:
  TimeReference(const TimeCase<T>& in, bool rounded) : in_(in), s_(in.shape), rounded_(rounded) {}

  TimeResults run() {
    const Doubles q = exact(in_.q), k = exact(in_.k);
    v_ = exact(in_.v);
    grad_ = exact(in_.grad);
    q_ = normed(q, in_.query_gain, in_.query_cos, in_.query_sin, s_.heads());
    k_ = normed(k, in_.key_gain, in_.key_cos, in_.key_sin, s_.kv_heads);
    out_.o.resize(q.size());
    out_.grad_v.resize(k.size());
    grad_q_.resize(q.size());
    grad_k_.resize(k.size());
    for (int64_t b = 0; b < s_.batch; ++b) {
      for (int64_t n = 0; n < s_.places; ++n) {
        for (int64_t h = 0; h < s_.heads(); ++h) attend(b, n, h);
      }
    }
    for (double& g : out_.grad_v) g = r(g);
    for (Doubles* g : {&grad_q_, &grad_k_}) {
      for (double& value : *g) value = r(value);
    }
    unnormed(q, grad_q_, in_.query_gain, in_.query_cos, in_.query_sin, s_.heads(), out_.grad_q,
             out_.grad_query_gain);
    unnormed(k, grad_k_, in_.key_gain, in_.key_cos, in_.key_sin, s_.kv_heads, out_.grad_k,
             out_.grad_key_gain);
    return out_;
  }

 private:
  double r(double value) const { return rounded_ ? as<T>(value) : value; }

  size_t at(int64_t b, int64_t t, int64_t n, int64_t head, int64_t heads) const {
    return static_cast<size_t>((((b * s_.frames + t) * s_.places + n) * heads + head) * s_.width);
  }

  static double inverse(const double* x, int64_t width) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += x[i] * x[i];
    return 1 / std::sqrt(squares / static_cast<double>(width) + 1e-6);
  }

  Doubles normed(const Doubles& x, const std::vector<float>& gain, const std::vector<float>& cos,
                 const std::vector<float>& sin, int64_t heads) const {
    if (!in_.normed) return x;
    Doubles y(x.size());
    const int64_t half = s_.width / 2, rows = static_cast<int64_t>(x.size()) / s_.width;
    for (int64_t row = 0; row < rows; ++row) {
      const double* from = &x[static_cast<size_t>(row * s_.width)];
      const double scale = inverse(from, s_.width);
      const int64_t position = row / heads % (s_.frames * s_.places);
      for (int64_t i = 0; i < half; ++i) {
        const auto angle = static_cast<size_t>(position * half + i);
        const double a = from[i] * scale * gain[static_cast<size_t>(i)];
        const double b = from[i + half] * scale * gain[static_cast<size_t>(i + half)];
        y[static_cast<size_t>(row * s_.width + i)] = r(a * cos[angle] - b * sin[angle]);
        y[static_cast<size_t>(row * s_.width + half + i)] = r(b * cos[angle] + a * sin[angle]);
      }
    }
    return y;
  }

  void unnormed(const Doubles& x, const Doubles& grad, const std::vector<float>& gain,
                const std::vector<float>& cos, const std::vector<float>& sin, int64_t heads,
                Doubles& grad_x, Doubles& grad_gain) const {
    if (!in_.normed) {
      grad_x = grad;
      return;
    }
    const int64_t half = s_.width / 2, rows = static_cast<int64_t>(x.size()) / s_.width;
    grad_x.resize(x.size());
    grad_gain.assign(static_cast<size_t>(s_.width), 0);
    Doubles g(static_cast<size_t>(s_.width));
    for (int64_t row = 0; row < rows; ++row) {
      const auto first = static_cast<size_t>(row * s_.width);
      const double scale = inverse(&x[first], s_.width);
      const int64_t position = row / heads % (s_.frames * s_.places);
      double projection = 0;
      for (int64_t i = 0; i < s_.width; ++i) {
        const auto angle = static_cast<size_t>(position * half + i % half);
        const double g1 = grad[first + static_cast<size_t>(i % half)];
        const double g2 = grad[first + static_cast<size_t>(i % half + half)];
        const double before =
            i < half ? g1 * cos[angle] + g2 * sin[angle] : g2 * cos[angle] - g1 * sin[angle];
        const auto column = static_cast<size_t>(i);
        const double unit = x[first + column] * scale;
        grad_gain[column] += before * unit;
        g[column] = before * gain[column];
        projection += g[column] * unit / static_cast<double>(s_.width);
      }
      for (size_t i = 0; i < g.size(); ++i)
        grad_x[first + i] = r(scale * (g[i] - x[first + i] * scale * projection));
    }
  }

  double dot(const Doubles& a, size_t i, const Doubles& b, size_t j) const {
    double sum = 0;
    for (size_t c = 0; c < static_cast<size_t>(s_.width); ++c) sum += a[i + c] * b[j + c];
    return sum;
  }
  void add(Doubles& to, size_t i, double factor, const Doubles& from, size_t j) const {
    for (size_t c = 0; c < static_cast<size_t>(s_.width); ++c) to[i + c] += factor * from[j + c];
  }

  void attend(int64_t b, int64_t n, int64_t h) {
    const int64_t g = h / s_.group;
    const double scale = 1 / std::sqrt(static_cast<double>(s_.width));
    for (int64_t i = 0; i < s_.frames; ++i) {
      const size_t query = at(b, i, n, h, s_.heads());
      Doubles p(static_cast<size_t>(i + 1)), dp(p.size());
      double most = -1e300, total = 0, delta = 0;
      for (int64_t j = 0; j <= i; ++j) {
        const auto key = static_cast<size_t>(j);
        p[key] = -1e300;
        if (!s_.sees(static_cast<int>(i), static_cast<int>(j))) continue;
        p[key] = scale * dot(q_, query, k_, at(b, j, n, g, s_.kv_heads));
        most = std::max(most, p[key]);
      }
      for (double& value : p) total += value = std::exp(value - most);
      for (double& value : p) value = r(value / total);
      for (int64_t j = 0; j <= i; ++j) {
        const auto key = static_cast<size_t>(j);
        const size_t row = at(b, j, n, g, s_.kv_heads);
        dp[key] = dot(grad_, query, v_, row);
        delta += p[key] * dp[key];
        add(out_.o, query, p[key], v_, row);
        add(out_.grad_v, row, p[key], grad_, query);
      }
      for (int64_t j = 0; j <= i; ++j) {
        const auto key = static_cast<size_t>(j);
        const size_t row = at(b, j, n, g, s_.kv_heads);
        const double ds = r(p[key] * (dp[key] - delta) * scale);
        add(grad_q_, query, ds, k_, row);
        add(grad_k_, row, ds, q_, query);
      }
      for (int64_t c = 0; c < s_.width; ++c)
        out_.o[query + static_cast<size_t>(c)] = r(out_.o[query + static_cast<size_t>(c)]);
    }
  }

  const TimeCase<T>& in_;
  const TimeShape& s_;
  bool rounded_;
  Doubles q_, k_, v_, grad_, grad_q_, grad_k_;
  TimeResults out_;
};

}  // namespace praxino::kernels::testing
