// Tokens of 4:2:0 planes against the pictures that praxino's own decoder makes of them.
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include "praxino/base/random.h"
#include "praxino/ops/patch.h"
#include "praxino/tokenizer/tokenizer.h"
#include "video/convert.h"

namespace praxino {
namespace {

// Colours that change smoothly, and some noise: chroma edges of every direction.
void fill(AVFrame& frame) {
  Random random(3);
  for (int plane = 0; plane < 3; ++plane) {
    const int rows = plane ? (frame.height + 1) / 2 : frame.height;
    const int columns = plane ? (frame.width + 1) / 2 : frame.width;
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < columns; ++x) {
        const double wave = std::sin(0.13 * x * (plane + 1)) + std::cos(0.17 * y * (3 - plane));
        const int value = 126 + static_cast<int>(wave * 38) + static_cast<int>(random.integer(9));
        frame.data[plane][y * frame.linesize[plane] + x] = static_cast<uint8_t>(value);
      }
    }
  }
}

at::Tensor plane_of(const AVFrame& frame, int plane) {
  const int64_t rows = plane ? (frame.height + 1) / 2 : frame.height;
  const int64_t columns = plane ? (frame.width + 1) / 2 : frame.width;
  return at::from_blob(frame.data[plane], {1, 1, rows, columns}, {0, 0, frame.linesize[plane], 1},
                       at::kByte);
}

struct Difference {
  int largest;
  double mean;
};

Difference difference(int height, int width, const ops::YuvColor& color) {
  const ffmpeg::UniqueFrame frame(av_frame_alloc());
  frame->width = width;
  frame->height = height;
  frame->format = AV_PIX_FMT_YUV420P;
  frame->colorspace = color.matrix == ops::YuvMatrix::kBt601   ? AVCOL_SPC_SMPTE170M
                      : color.matrix == ops::YuvMatrix::kBt709 ? AVCOL_SPC_BT709
                                                               : AVCOL_SPC_BT2020_NCL;
  frame->color_range = color.full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  EXPECT_EQ(av_frame_get_buffer(frame.get(), 0), 0);
  fill(*frame);
  PixelLayout layout;
  layout.height = height;
  layout.width = width;
  layout.planar = true;
  const at::Tensor want = at::empty({1, 1, 3, height, width}, at::kByte);
  Converter().convert(*frame, 0, layout,
                      {want.data_ptr<uint8_t>(), static_cast<size_t>(want.numel())});
  const ops::YuvPlanes planes{plane_of(*frame, 0), plane_of(*frame, 1), plane_of(*frame, 2)};
  const at::Tensor tokens = ops::patchify_yuv(planes, color, 3, at::kFloat);
  const at::Tensor got = make_tokenizer({.patch = 3}, {height, width})->decode(tokens);
  const at::Tensor apart = (got.to(at::kInt) - want.to(at::kInt)).abs();
  return {apart.max().item<int>(), apart.to(at::kDouble).mean().item<double>()};
}

// swscale works in whole numbers of some more bits and rounds several times on the way. Sizes are
// even: over an odd one it stretches the chroma plane instead of leaving half a sample unused.
TEST(YuvPatches, AreWithinTwoLevelsOfTheDecodersPicture) {
  for (const auto matrix :
       {ops::YuvMatrix::kBt601, ops::YuvMatrix::kBt709, ops::YuvMatrix::kBt2020}) {
    for (const bool full : {false, true}) {
      for (const auto& [height, width] : {std::pair{48, 96}, std::pair{30, 54}}) {
        const Difference found = difference(height, width, {matrix, full});
        EXPECT_LE(found.largest, 2) << height;
        EXPECT_LE(found.mean, 0.5) << height;
      }
    }
  }
}

}  // namespace
}  // namespace praxino
