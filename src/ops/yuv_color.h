#pragma once
// From the numbers of ITU-R BT.601, BT.709 and BT.2020 to what a pixel is multiplied with.

#include "kernels/patchify_yuv.h"
#include "praxino/ops/patch.h"

namespace praxino::ops {

constexpr kernels::YuvToRgb yuv_to_rgb(const YuvColor& color) {
  const double red = color.matrix == YuvMatrix::kBt601   ? 0.299
                     : color.matrix == YuvMatrix::kBt709 ? 0.2126
                                                         : 0.2627;
  const double blue = color.matrix == YuvMatrix::kBt601   ? 0.114
                      : color.matrix == YuvMatrix::kBt709 ? 0.0722
                                                          : 0.0593;
  const double green = 1 - red - blue;
  const double chroma = color.full_range ? 1 : 255.0 / 224;  // levels of a step
  const double of_v = 2 * (1 - red) * chroma, of_u = 2 * (1 - blue) * chroma;
  return {.luma_offset = color.full_range ? 0.0F : 16.0F,
          .luma_scale = color.full_range ? 1.0F : static_cast<float>(255.0 / 219),
          .red_v = static_cast<float>(of_v),
          .green_u = static_cast<float>(-of_u * blue / green),
          .green_v = static_cast<float>(-of_v * red / green),
          .blue_u = static_cast<float>(of_u)};
}

}  // namespace praxino::ops
