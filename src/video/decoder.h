#pragma once
// One software decoder on one thread that knows which packet each frame came from: packets are
// numbered on the way in, so no frame's identity rests on timestamps that decoders pass through,
// repair or guess.

#include <array>
#include <filesystem>

#include "video/source.h"

namespace praxino {

/// Not thread-safe. Throws VideoError naming the file.
class Decoder {
 public:
  /// reorder_depth: frames the decoder may hold back to bring them into order, 0: as the stream
  /// says.
  Decoder(const Source& source, const VideoLimits& limits, int reorder_depth);

  /// Feeds one packet (its times are overwritten). Negative: FFmpeg's error, the decoder could not
  /// use it. REQUIRES: receive() has not returned a picture since the last send.
  int send(AVPacket& packet, PacketFacts facts);
  void send_end();
  /// 1: the next picture in presentation order; 0: feed more, or all is out after send_end();
  /// negative: an error.
  int receive(AVFrame& frame, PacketFacts& facts);
  /// Forgets everything, for use after a seek.
  void flush();

  /// Frames that no other frame refers to may be dropped from now on instead of decoded. Only some
  /// codecs can say.
  void skip_unreferenced(bool skip);
  int reorder_depth() const { return codec_->has_b_frames; }

 private:
  static constexpr int64_t kMemory = 256;  // more than any decoder holds back
  const std::filesystem::path& file_;
  ffmpeg::UniqueCodec codec_;
  std::array<PacketFacts, kMemory> sent_;
  int64_t next_ordinal_ = 0;
};

/// FFmpeg marked the picture as made from damaged or missing data.
bool is_damaged(const AVFrame& frame);

}  // namespace praxino
