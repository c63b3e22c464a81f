// Colour against the double-precision formula of ITU-R BT.601, BT.709 and BT.2020.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "praxino/base/random.h"
#include "video/convert.h"

namespace praxino {
namespace {

constexpr int kPatch = 32;
constexpr int kPatches = 8;  // a side

struct Yuv {
  double y, u, v;
};

std::array<double, 3> formula(const Yuv& c, AVColorSpace matrix, bool full, int bits) {
  double kr = 0.299, kb = 0.114;
  if (matrix == AVCOL_SPC_BT709) kr = 0.2126, kb = 0.0722;
  if (matrix == AVCOL_SPC_BT2020_NCL) kr = 0.2627, kb = 0.0593;
  const double k = std::exp2(bits - 8), top = std::exp2(bits) - 1;
  const double y = full ? c.y / top : (c.y - 16 * k) / (219 * k);
  const double chroma = full ? top : 224 * k;
  const double cb = (c.u - 128 * k) / chroma, cr = (c.v - 128 * k) / chroma;
  const double r = y + 2 * (1 - kr) * cr, b = y + 2 * (1 - kb) * cb;
  const double g = (y - kr * r - kb * b) / (1 - kr - kb);
  const auto level = [](double value) { return std::clamp(value, 0.0, 1.0) * 255; };
  return {level(r), level(g), level(b)};
}

void put(AVFrame& frame, int plane, int64_t y, int64_t x, int value, int bits) {
  uint8_t* row = frame.data[plane] + y * frame.linesize[plane];
  if (bits == 8) {
    row[x] = static_cast<uint8_t>(value);
  } else {
    reinterpret_cast<uint16_t*>(row)[x] = static_cast<uint16_t>(value);
  }
}

// Patches of one colour each; returns the colours.
std::vector<Yuv> fill_patches(AVFrame& frame, int bits, bool full) {
  Random random(7);
  const AVPixFmtDescriptor& format = *av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
  const int k = 1 << (bits - 8);
  const int low = full ? 0 : 16 * k, high = full ? (1 << bits) - 1 : 235 * k;
  std::vector<Yuv> colors;
  for (int patch = 0; patch < kPatches * kPatches; ++patch) {
    const std::array<int, 3> value = {static_cast<int>(low + random.integer(high - low + 1)),
                                      static_cast<int>(128 * k + random.integer(80 * k) - 40 * k),
                                      static_cast<int>(128 * k + random.integer(80 * k) - 40 * k)};
    colors.push_back({double(value[0]), double(value[1]), double(value[2])});
    for (int plane = 0; plane < 3; ++plane) {
      const int down_y = plane ? format.log2_chroma_h : 0,
                down_x = plane ? format.log2_chroma_w : 0;
      const int rows = kPatch >> down_y, columns = kPatch >> down_x;
      for (int i = 0; i < rows * columns; ++i) {
        put(frame, plane, patch / kPatches * rows + i / columns,
            patch % kPatches * columns + i % columns, value[plane], bits);
      }
    }
  }
  return colors;
}

struct ColorCase {
  AVColorSpace matrix;
  bool full;
  int bits;
  AVPixelFormat format;
};

double largest_error(const ColorCase& c, bool planar) {
  const ffmpeg::UniqueFrame frame(av_frame_alloc());
  frame->width = frame->height = kPatch * kPatches;
  frame->format = c.format;
  frame->colorspace = c.matrix;
  frame->color_range = c.full ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  EXPECT_EQ(av_frame_get_buffer(frame.get(), 0), 0);
  const std::vector<Yuv> colors = fill_patches(*frame, c.bits, c.full);
  PixelLayout layout;
  layout.height = layout.width = kPatch * kPatches;
  layout.planar = planar;
  std::vector<uint8_t> rgb(static_cast<size_t>(layout.height * layout.width * 3));
  Converter converter;
  converter.convert(*frame, 0, layout, rgb);
  double worst = 0;
  for (size_t patch = 0; patch < colors.size(); ++patch) {
    const auto expected = formula(colors[patch], c.matrix, c.full, c.bits);
    const int64_t y = static_cast<int64_t>(patch) / kPatches * kPatch + kPatch / 2;
    const int64_t x = static_cast<int64_t>(patch) % kPatches * kPatch + kPatch / 2;
    for (int64_t channel = 0; channel < 3; ++channel) {
      const int64_t pixel = y * layout.width + x;
      const int64_t at =
          planar ? channel * layout.height * layout.width + pixel : pixel * 3 + channel;
      worst = std::max(
          worst, std::abs(rgb[static_cast<size_t>(at)] - expected[static_cast<size_t>(channel)]));
    }
  }
  return worst;
}

TEST(Color, EqualsTheFormulaForEveryMatrixRangeDepthAndSubsampling) {
  constexpr std::array kFormats = {
      std::pair{8, AV_PIX_FMT_YUV420P},    std::pair{8, AV_PIX_FMT_YUV422P},
      std::pair{8, AV_PIX_FMT_YUV444P},    std::pair{10, AV_PIX_FMT_YUV420P10},
      std::pair{10, AV_PIX_FMT_YUV422P10}, std::pair{10, AV_PIX_FMT_YUV444P10},
      std::pair{12, AV_PIX_FMT_YUV420P12}, std::pair{12, AV_PIX_FMT_YUV422P12},
      std::pair{12, AV_PIX_FMT_YUV444P12}};
  for (const AVColorSpace matrix : {AVCOL_SPC_SMPTE170M, AVCOL_SPC_BT709, AVCOL_SPC_BT2020_NCL}) {
    for (const bool full : {false, true}) {
      for (const auto& [bits, format] : kFormats) {
        for (const bool planar : {false, true}) {
          EXPECT_LE(largest_error({matrix, full, bits, format}, planar), 2.0)
              << av_color_space_name(matrix) << (full ? " full " : " limited ")
              << av_get_pix_fmt_name(format) << (planar ? " planar" : "");
        }
      }
    }
  }
}

TEST(Color, FullRangeFollowsTheTagAndTheObsoleteFormats) {
  const ColorCase tagged{AVCOL_SPC_SMPTE170M, true, 8, AV_PIX_FMT_YUV420P};
  const ColorCase obsolete{AVCOL_SPC_SMPTE170M, true, 8, AV_PIX_FMT_YUVJ420P};
  EXPECT_LE(largest_error(tagged, false), 2.0);
  EXPECT_LE(largest_error(obsolete, false), 2.0);
}

TEST(Color, UnspecifiedMatrixDependsOnTheHeight) {
  EXPECT_EQ(effective_matrix(AVCOL_SPC_UNSPECIFIED, 576), AVCOL_SPC_SMPTE170M);
  EXPECT_EQ(effective_matrix(AVCOL_SPC_UNSPECIFIED, 720), AVCOL_SPC_BT709);
  EXPECT_EQ(effective_matrix(AVCOL_SPC_BT2020_NCL, 480), AVCOL_SPC_BT2020_NCL);
}

TEST(Color, RefusesAMatrixThatItCannotConvert) {
  std::string why;
  EXPECT_TRUE(can_convert(AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, why));
  EXPECT_FALSE(can_convert(AV_PIX_FMT_YUV420P, AVCOL_SPC_ICTCP, why));
  EXPECT_NE(why.find("ictcp"), std::string::npos) << why;
}

TEST(Color, OddSizesWriteNothingOutside) {
  const ffmpeg::UniqueFrame frame(av_frame_alloc());
  frame->width = 33;
  frame->height = 17;
  frame->format = AV_PIX_FMT_YUV420P;
  ASSERT_EQ(av_frame_get_buffer(frame.get(), 0), 0);
  for (int plane = 0; plane < 3; ++plane)
    std::fill_n(frame->data[plane], frame->linesize[plane] * (plane ? 9 : 17), uint8_t{128});
  for (const bool planar : {false, true}) {
    for (int rotation = 0; rotation < 4; ++rotation) {
      PixelLayout layout;
      layout.height = 13;
      layout.width = 7;
      layout.planar = planar;
      std::vector<uint8_t> pixels(13 * 7 * 3 + 64, 7);
      Converter converter;
      converter.convert(*frame, rotation, layout, std::span(pixels).first(13 * 7 * 3));
      EXPECT_TRUE(std::all_of(pixels.end() - 64, pixels.end(), [](uint8_t p) { return p == 7; }));
      EXPECT_EQ(std::count(pixels.begin(), pixels.end() - 64, 130), 13 * 7 * 3);
    }
  }
}

}  // namespace
}  // namespace praxino
