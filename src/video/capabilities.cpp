#include "praxino/video/capabilities.h"

#include <fmt/core.h>

#include "video/ffmpeg.h"

namespace praxino {
namespace {

std::string library_version(const char* name, unsigned version) {
  return fmt::format("{} {}.{}.{}", name, AV_VERSION_MAJOR(version), AV_VERSION_MINOR(version),
                     AV_VERSION_MICRO(version));
}

// FFmpeg's own AV1 decoder only works on GPUs, so one of the two software libraries must be there.
bool can_decode(const std::string& codec) {
  if (codec != "av1") return avcodec_find_decoder_by_name(codec.c_str()) != nullptr;
  return avcodec_find_decoder_by_name("libdav1d") != nullptr ||
         avcodec_find_decoder_by_name("libaom-av1") != nullptr;
}

}  // namespace

VideoCapabilities video_capabilities() {
  VideoCapabilities result;
  result.libraries = fmt::format("FFmpeg {} ({}, {}, {})", av_version_info(),
                                 library_version("libavformat", avformat_version()),
                                 library_version("libavcodec", avcodec_version()),
                                 library_version("libswscale", swscale_version()));
  for (const char* codec : {"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video",
                            "mpeg1video", "mjpeg", "ffv1"}) {
    result.codecs.push_back({codec, can_decode(codec)});
  }
  result.h264_encoder = avcodec_find_encoder(AV_CODEC_ID_H264) != nullptr;
  return result;
}

}  // namespace praxino
