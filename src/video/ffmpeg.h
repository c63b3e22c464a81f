#pragma once
// The one door to FFmpeg (5.1 to 7): its headers, owners for its objects, and every difference
// between its versions as a named function. No other file asks for a version number.

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

#include <cstdint>
#include <memory>
#include <string>

namespace praxino::ffmpeg {

/// Calls an FFmpeg function that frees through a pointer to the pointer.
template <auto kFree>
struct FreeByAddress {
  template <class T>
  void operator()(T* object) const {
    kFree(&object);
  }
};

/// Calls an FFmpeg function that frees the pointer itself.
template <auto kFree>
struct FreeByPointer {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};

inline void free_io(AVIOContext** io) {
  if (*io != nullptr) av_freep(&(*io)->buffer);
  avio_context_free(io);
}

using UniqueInput = std::unique_ptr<AVFormatContext, FreeByAddress<avformat_close_input>>;
using UniqueOutput = std::unique_ptr<AVFormatContext, FreeByPointer<avformat_free_context>>;
using UniqueIo = std::unique_ptr<AVIOContext, FreeByAddress<free_io>>;
using UniqueCodec = std::unique_ptr<AVCodecContext, FreeByAddress<avcodec_free_context>>;
using UniquePacket = std::unique_ptr<AVPacket, FreeByAddress<av_packet_free>>;
using UniqueFrame = std::unique_ptr<AVFrame, FreeByAddress<av_frame_free>>;
using UniqueScaler = std::unique_ptr<SwsContext, FreeByPointer<sws_freeContext>>;
using UniqueBytes = std::unique_ptr<uint8_t, FreeByPointer<av_free>>;

// 7.0 made the bytes of a write callback const.
#if LIBAVFORMAT_VERSION_MAJOR >= 61
using WrittenBytes = const uint8_t*;
#else
using WrittenBytes = uint8_t*;
#endif

// 6.1 moved the picture's properties from fields to flags.
#ifdef AV_FRAME_FLAG_KEY
inline bool is_key(const AVFrame& frame) { return (frame.flags & AV_FRAME_FLAG_KEY) != 0; }
inline bool is_interlaced(const AVFrame& frame) {
  return (frame.flags & AV_FRAME_FLAG_INTERLACED) != 0;
}
#else
inline bool is_key(const AVFrame& frame) { return frame.key_frame != 0; }
inline bool is_interlaced(const AVFrame& frame) { return frame.interlaced_frame != 0; }
#endif

/// The nine numbers of the stream's display matrix, nullptr when it has none.
inline const int32_t* display_matrix(const AVStream& stream) {
  constexpr size_t kBytes = 9 * sizeof(int32_t);
#if LIBAVCODEC_VERSION_INT >= \
    AV_VERSION_INT(60, 31, 102)  // 6.1: side data lives with the codec parameters
  const AVPacketSideData* side =
      av_packet_side_data_get(stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data,
                              AV_PKT_DATA_DISPLAYMATRIX);
  return side != nullptr && side->size >= kBytes ? reinterpret_cast<const int32_t*>(side->data)
                                                 : nullptr;
#else
  size_t size = 0;
  const uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  return data != nullptr && size >= kBytes ? reinterpret_cast<const int32_t*>(data) : nullptr;
#endif
}

/// FFmpeg's words for an error number.
std::string error_text(int error);

/// Takes FFmpeg's own messages off stderr, once per process: they go to log::debug, and the first
/// error since forget_cause() is kept for each thread. Also bounds the size of a single allocation
/// by FFmpeg.
void prepare();
/// What FFmpeg complained about first on this thread since forget_cause(), "" if nothing: later
/// complaints are usually consequences.
const std::string& reported_cause();
void forget_cause();

/// A pixel format without the obsolete "full range" twin: yuvj420p is yuv420p; the range is a
/// property of its own.
AVPixelFormat without_range(AVPixelFormat format);
bool implies_full_range(AVPixelFormat format);

}  // namespace praxino::ffmpeg
