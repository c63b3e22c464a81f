// PNG, by FFmpeg's encoder.

#include <cstring>
#include <string_view>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/video/writer.h"
#include "video/ffmpeg.h"

namespace praxino {
namespace {

void check(int error, const char* what) {
  if (error < 0) fail("a PNG picture: {}: {}", what, ffmpeg::error_text(error));
}

ffmpeg::UniqueFrame to_frame(const Frames& frames, int64_t t) {
  ffmpeg::UniqueFrame frame(av_frame_alloc());
  frame->width = static_cast<int>(frames.width);
  frame->height = static_cast<int>(frames.height);
  frame->format = AV_PIX_FMT_RGB24;
  check(av_frame_get_buffer(frame.get(), 0), "out of memory");
  const int64_t row = frames.width * 3;
  for (int64_t y = 0; y < frames.height; ++y) {
    std::memcpy(frame->data[0] + y * frame->linesize[0], frames.frame(t).data() + y * row,
                static_cast<size_t>(row));
  }
  return frame;
}

}  // namespace

std::vector<uint8_t> encode_png(const Frames& frames, int64_t t) {
  ffmpeg::prepare();
  if (frames.channels != 3 || frames.height < 1 || frames.width < 1 || frames.height > 1 << 15 ||
      frames.width > 1 << 15) {
    fail("a picture of {}x{} pixels with {} channels cannot become a PNG", frames.width,
         frames.height, frames.channels);
  }
  if (t < 0 || t >= frames.count) fail("picture {} of {} cannot become a PNG", t, frames.count);
  const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
  if (codec == nullptr) fail("this FFmpeg has no PNG encoder");
  ffmpeg::UniqueCodec encoder(avcodec_alloc_context3(codec));
  encoder->width = static_cast<int>(frames.width);
  encoder->height = static_cast<int>(frames.height);
  encoder->pix_fmt = AV_PIX_FMT_RGB24;
  encoder->time_base = {1, 1};
  encoder->thread_count = 1;
  check(avcodec_open2(encoder.get(), codec, nullptr), "the encoder cannot be started");
  const ffmpeg::UniqueFrame frame = to_frame(frames, t);
  const ffmpeg::UniquePacket packet(av_packet_alloc());
  check(avcodec_send_frame(encoder.get(), frame.get()), "cannot be encoded");
  check(avcodec_receive_packet(encoder.get(), packet.get()), "cannot be encoded");
  return {packet->data, packet->data + packet->size};
}

void write_png(const std::filesystem::path& path, const Frames& frames, int64_t t) {
  const std::vector<uint8_t> bytes = encode_png(frames, t);
  write_file_atomic(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace praxino
