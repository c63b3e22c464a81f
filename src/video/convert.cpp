#include "video/convert.h"

#include <cstring>

#include "praxino/base/error.h"

namespace praxino {
namespace {

constexpr int64_t kAlignment = 64;  // swscale's widest stores

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

int filter_flags(ResizeFilter filter) {
  // The accurate paths: one result on every processor, and chroma for each pixel.
  constexpr int kExact = SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_BITEXACT;
  switch (filter) {
    case ResizeFilter::kArea: return SWS_AREA | kExact;
    case ResizeFilter::kBilinear: return SWS_BILINEAR | kExact;
    case ResizeFilter::kBicubic: return SWS_BICUBIC | kExact;
  }
  return SWS_AREA | kExact;
}

// One colour plane of height x width pixels on its way into the output.
struct Plane {
  const uint8_t* from;
  int64_t stride;
  int64_t height, width;
  int quarter_turns;  // clockwise
  int64_t step;       // bytes between two pixels of the output
};

void copy_plane(const Plane& p, uint8_t* to) {
  if (p.quarter_turns == 0) {
    for (int64_t y = 0; y < p.height; ++y) {
      const uint8_t* from = p.from + y * p.stride;
      uint8_t* row = to + y * p.width * p.step;
      if (p.step == 1) {
        std::memcpy(row, from, static_cast<size_t>(p.width));
      } else {
        for (int64_t x = 0; x < p.width; ++x) row[x * p.step] = from[x];
      }
    }
    return;
  }
  const int64_t to_width = p.quarter_turns % 2 ? p.height : p.width;
  for (int64_t y = 0; y < p.height; ++y) {
    for (int64_t x = 0; x < p.width; ++x) {
      int64_t to_y = p.height - 1 - y, to_x = p.width - 1 - x;  // two quarter turns
      if (p.quarter_turns == 1) to_y = x, to_x = p.height - 1 - y;
      if (p.quarter_turns == 3) to_y = p.width - 1 - x, to_x = y;
      to[(to_y * to_width + to_x) * p.step] = p.from[y * p.stride + x];
    }
  }
}

}  // namespace

AVColorSpace effective_matrix(AVColorSpace tagged, int height) {
  if (tagged == AVCOL_SPC_UNSPECIFIED || tagged == AVCOL_SPC_RESERVED) {
    return height < 720 ? AVCOL_SPC_SMPTE170M : AVCOL_SPC_BT709;
  }
  return tagged;
}

bool can_convert(AVPixelFormat format, AVColorSpace matrix, std::string& why) {
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  if (descriptor == nullptr || !sws_isSupportedInput(ffmpeg::without_range(format))) {
    why = fmt::format("its pixel format '{}' cannot be converted",
                      descriptor != nullptr ? descriptor->name : "none");
    return false;
  }
  switch (matrix) {
    case AVCOL_SPC_RGB:
    case AVCOL_SPC_BT709:
    case AVCOL_SPC_UNSPECIFIED:
    case AVCOL_SPC_FCC:
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
    case AVCOL_SPC_SMPTE240M:
    case AVCOL_SPC_BT2020_NCL: return true;
    default: {
      const char* name = av_color_space_name(matrix);
      why = fmt::format("its colour matrix '{}' cannot be converted", name != nullptr ? name : "?");
      return false;
    }
  }
}

void Converter::prepare(const Key& key) {
  if (scaler_ && key == key_) return;
  scaler_.reset(sws_alloc_context());
  if (!scaler_) fail("out of memory for a scaler");
  SwsContext* context = scaler_.get();
  const auto set = [&](const char* name, int64_t value) {
    av_opt_set_int(context, name, value, 0);
  };
  set("srcw", key.source_width);
  set("srch", key.source_height);
  set("src_format", key.source_format);
  set("dstw", key.width);
  set("dsth", key.height);
  set("dst_format", AV_PIX_FMT_GBRP);  // several times as fast as packed RGB
  set("sws_flags", filter_flags(key.filter));
  // 4:2:0 chroma lies between two lines, as FFmpeg's own scale filter takes it.
  if (av_pix_fmt_desc_get(key.source_format)->log2_chroma_h == 1) set("src_v_chr_pos", 128);
  const int* coefficients = sws_getCoefficients(key.matrix);
  if (sws_init_context(context, nullptr, nullptr) < 0) {
    scaler_.reset();
    fail("pictures of {}x{} cannot be scaled to {}x{}", key.source_width, key.source_height,
         key.width, key.height);
  }
  // Refused for RGB input, which needs no matrix.
  sws_setColorspaceDetails(context, coefficients, key.full_range, coefficients, 1, 0, 1 << 16,
                           1 << 16);
  key_ = key;
  scratch_stride_ = aligned(key.width);
  scratch_.reset(static_cast<uint8_t*>(
      av_malloc(static_cast<size_t>(scratch_stride_ * key.height * 3 + kAlignment))));
  if (!scratch_) fail("out of memory for a picture of {}x{}", key.width, key.height);
}

void Converter::convert(const AVFrame& frame, int rotation, const PixelLayout& layout,
                        std::span<uint8_t> pixels) {
  const bool lying = rotation % 2 != 0;
  const auto tagged = static_cast<AVPixelFormat>(frame.format);
  Key key{};
  key.source_width = frame.width;
  key.source_height = frame.height;
  // Scaled before it is turned: the filters are symmetric, and the small picture is cheaper to
  // turn.
  key.width = static_cast<int>(lying ? layout.height : layout.width);
  key.height = static_cast<int>(lying ? layout.width : layout.height);
  key.source_format = ffmpeg::without_range(tagged);
  key.filter = layout.filter;
  key.matrix = effective_matrix(frame.colorspace, frame.height);
  key.full_range = frame.color_range == AVCOL_RANGE_JPEG || ffmpeg::implies_full_range(tagged);
  prepare(key);

  // swscale's vector code may write past the end of a row. It writes into the caller's memory only
  // where rows are whole vectors; else into our own, so that every size takes the same code path.
  const bool direct = layout.planar && rotation == 0 && layout.width % kAlignment == 0 &&
                      reinterpret_cast<uintptr_t>(pixels.data()) % kAlignment == 0;
  uint8_t* base = direct ? pixels.data() : scratch_.get();
  const int64_t stride = direct ? layout.width : scratch_stride_;
  const int64_t plane = stride * key.height;
  const int row = static_cast<int>(stride);
  uint8_t* const planes[4] = {base + plane, base + 2 * plane, base, nullptr};  // G, B, R
  const int strides[4] = {row, row, row, 0};
  sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height, planes, strides);
  if (direct) return;
  for (int64_t c = 0; c < 3; ++c) {
    const Plane part{base + c * plane, stride,   key.height,
                     key.width,        rotation, layout.planar ? 1 : 3};
    copy_plane(part, pixels.data() + c * (layout.planar ? layout.height * layout.width : 1));
  }
}

}  // namespace praxino
