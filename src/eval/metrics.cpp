#include "praxino/eval/metrics.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "praxino/base/error.h"

namespace praxino::eval {
namespace {

/// Both as float64, after the checks that all metrics share.
std::pair<at::Tensor, at::Tensor> checked_pair(const char* metric, const at::Tensor& a,
                                               const at::Tensor& b) {
  if (a.sizes() != b.sizes()) {
    fail("{}: the pictures differ in shape: [{}] and [{}]", metric, fmt::join(a.sizes(), ", "),
         fmt::join(b.sizes(), ", "));
  }
  if (a.dim() < 3)
    fail("{}: pictures need channels, height and width, got {} dimensions", metric, a.dim());
  std::pair<at::Tensor, at::Tensor> pair{a.to(at::kDouble), b.to(at::kDouble)};
  if (!(pair.first + pair.second).isfinite().all().item<bool>()) {
    fail("{}: a pixel is not a finite number", metric);
  }
  return pair;
}

/// The valid part of a filter along one side as a matrix: [length - taps + 1, length].
at::Tensor gaussian_filter(int64_t length) {
  constexpr double kSigma = 1.5;
  at::Tensor taps = at::empty({kSsimWindow}, at::kDouble);
  for (int64_t i = 0; i < kSsimWindow; ++i) {
    const double x = static_cast<double>(i - kSsimWindow / 2) / kSigma;
    taps[i] = std::exp(-0.5 * x * x);
  }
  taps = taps / taps.sum();
  at::Tensor filter = at::zeros({length - kSsimWindow + 1, length}, at::kDouble);
  for (int64_t row = 0; row < filter.size(0); ++row)
    filter[row].narrow(0, row, kSsimWindow).copy_(taps);
  return filter;
}

}  // namespace

at::Tensor mean_squared_error(const at::Tensor& a, const at::Tensor& b) {
  const auto [x, y] = checked_pair("mean squared error", a, b);
  return (x - y).square().mean({-3, -2, -1});
}

double psnr_of_error(double error) {
  return std::min(kPsnrOfEqualFrames, 10.0 * std::log10(255.0 * 255.0 / error));
}

at::Tensor psnr(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor mse = mean_squared_error(a, b);
  return (10.0 * (255.0 * 255.0 / mse).log10()).clamp_max(kPsnrOfEqualFrames);
}

at::Tensor ssim(const at::Tensor& a, const at::Tensor& b) {
  const auto [x, y] = checked_pair("ssim", a, b);
  if (std::min(a.size(-1), a.size(-2)) < kSsimWindow) {
    fail("ssim: its window of {} pixels does not fit into {} x {}", kSsimWindow, a.size(-2),
         a.size(-1));
  }
  constexpr double kC1 = 0.01 * 255 * 0.01 * 255;
  constexpr double kC2 = 0.03 * 255 * 0.03 * 255;
  const at::Tensor down = gaussian_filter(a.size(-2)).to(a.device());
  const at::Tensor along = gaussian_filter(a.size(-1)).to(a.device()).t();
  const auto blur = [&](const at::Tensor& picture) { return down.matmul(picture).matmul(along); };

  const at::Tensor mean_x = blur(x), mean_y = blur(y);
  const at::Tensor variance_x = blur(x * x) - mean_x * mean_x;
  const at::Tensor variance_y = blur(y * y) - mean_y * mean_y;
  const at::Tensor covariance = blur(x * y) - mean_x * mean_y;
  const at::Tensor map =
      (2 * mean_x * mean_y + kC1) * (2 * covariance + kC2) /
      ((mean_x * mean_x + mean_y * mean_y + kC1) * (variance_x + variance_y + kC2));
  return map.mean({-3, -2, -1});
}

}  // namespace praxino::eval
