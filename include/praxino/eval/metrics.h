#pragma once
// Picture metrics with their conventions named. Pure functions, double precision, thread-safe.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace praxino::eval {

/// What psnr() gives for equal frames, where the formula has no value.
constexpr double kPsnrOfEqualFrames = 100.0;
/// The mean squared error, range 255, that this PSNR belongs to.
constexpr double kErrorOfEqualFrames = 255.0 * 255.0 * 1e-10;
/// The shortest side that ssim() accepts: the taps of its window.
constexpr int64_t kSsimWindow = 11;

/// Peak signal-to-noise ratio in dB of each frame, range 255: 10 log10(255^2 / MSE), MSE over all
/// pixels and channels; never more than kPsnrOfEqualFrames. a, b: ... C Y X, uint8 or float
/// (0..255), same shape; the result is float64 and has the leading shape. NaN and shape mismatch
/// throw praxino::Error. `eval/psnr` is not its mean, but the PSNR of the pooled error
/// (psnr_of_error).
at::Tensor psnr(const at::Tensor& a, const at::Tensor& b);

/// Mean squared error of each frame over all pixels and channels, range 255; same checks.
at::Tensor mean_squared_error(const at::Tensor& a, const at::Tensor& b);
/// The PSNR of a mean squared error, at most that of equal frames.
double psnr_of_error(double mean_squared_error);

/// Structural similarity after Wang et al. 2004: Gaussian window of 11 taps, sigma 1.5, valid
/// region, biased covariance, K1 .01, K2 .03, range 255; per channel, then the mean. Same arguments
/// and errors as psnr(); sides shorter than kSsimWindow throw praxino::Error.
at::Tensor ssim(const at::Tensor& a, const at::Tensor& b);

}  // namespace praxino::eval
