#pragma once
// What the FFmpeg at hand can do, for `praxino doctor`. Pure and thread-safe.

#include <string>
#include <vector>

namespace praxino {

struct CodecSupport {
  std::string name;      // as FFmpeg spells it: "h264"
  bool decoder = false;  // this FFmpeg can decode it
};

struct VideoCapabilities {
  std::string libraries;             // "FFmpeg 5.1.9 (libavformat 59.27.100, ...)", as loaded
  std::vector<CodecSupport> codecs;  // the allow-list (video/index.h), in its order
  bool h264_encoder = false;         // an H.264 encoder for pictures of rollouts
};

VideoCapabilities video_capabilities();

}  // namespace praxino
