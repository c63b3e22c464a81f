#pragma once
// One container file, opened the defended way: our own descriptor of a regular file behind a custom
// AVIOContext, no other file or protocol reachable, only the admitted containers, every cost
// finite, nothing probed.

#include <cstdint>
#include <filesystem>
#include <string>

#include "praxino/video/index.h"
#include "video/ffmpeg.h"

namespace praxino {

/// What the container says about one packet: enough to know a frame again after any seek.
struct PacketFacts {
  int64_t pts = AV_NOPTS_VALUE;
  int64_t dts = AV_NOPTS_VALUE;
  int64_t byte = -1;
  int64_t duration = 0;
  bool key = false;
  bool discard = false;  // outside the edit list: decoded, not shown
  bool corrupt = false;
  int64_t ordinal = 0;  // how many packets went into the decoder before it

  /// Grows in decode order.
  int64_t decode_time() const { return dts != AV_NOPTS_VALUE ? dts : pts; }
};

[[noreturn]] void fail_video(VideoFault fault, const std::filesystem::path& file,
                             const std::string& what);
/// Throws for an FFmpeg error number: the fault from the number and FFmpeg's last message.
[[noreturn]] void fail_ffmpeg(int error, const std::filesystem::path& file,
                              const std::string& what);

/// Not thread-safe. All functions throw VideoError naming the file.
class Source {
 public:
  /// `container`: FFmpeg's name of it, where an index knows it; empty: found out from the first
  /// bytes.
  Source(std::filesystem::path file, const VideoLimits& limits, const std::string& container = "");
  ~Source();
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  /// From now on every read fails with kTimeout after so many seconds.
  void set_deadline(double seconds);
  void check_deadline() const;

  /// The next packet of the video stream; false at the end of the file.
  bool read(AVPacket& packet, PacketFacts& facts);
  /// Whether the container could seek to a time of the stream, or to a byte of the file.
  bool seek_time(int64_t time);
  bool seek_byte(int64_t byte);
  /// Opens the container again, at its first packet.
  void reopen();

  const AVStream& stream() const { return *container_->streams[stream_]; }
  int stream_number() const { return stream_; }
  const char* container_name() const { return container_->iformat->name; }
  bool container_is(const char* name) const;
  const char* codec_name() const { return avcodec_get_name(stream().codecpar->codec_id); }
  uint64_t file_size() const;
  int64_t file_mtime_ns() const;
  const std::filesystem::path& file() const { return file_; }

 private:
  struct Input;
  void open();
  void probe_container();
  void check_admitted() const;
  void choose_stream();

  std::filesystem::path file_;
  VideoLimits limits_;
  std::unique_ptr<Input> input_;
  ffmpeg::UniqueIo io_;
  ffmpeg::UniqueInput container_;  // closed before io_
  const AVInputFormat* format_ = nullptr;
  int stream_ = -1;
  bool intra_only_ = false;
};

}  // namespace praxino
