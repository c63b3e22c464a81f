#include "clips_baseline.h"

#include <memory>
#include <vector>

#include "praxino/base/error.h"
#include "video/ffmpeg.h"
#include "video/stopwatch.h"

namespace praxino::bench {
namespace {

void check(int error, const char* what) {
  if (error < 0) fail("baseline: {}: {}", what, ffmpeg::error_text(error));
}

struct Open {
  ffmpeg::UniqueInput container;
  ffmpeg::UniqueCodec codec;
  AVStream* stream = nullptr;
};

Open open_and_probe(const std::filesystem::path& file) {
  Open open;
  AVFormatContext* context = nullptr;
  check(avformat_open_input(&context, file.c_str(), nullptr, nullptr), "open");
  open.container.reset(context);
  check(avformat_find_stream_info(context, nullptr), "probe");
  const AVCodec* decoder = nullptr;
  const int number = av_find_best_stream(context, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
  check(number, "stream");
  open.stream = context->streams[number];
  open.codec.reset(avcodec_alloc_context3(decoder));
  check(avcodec_parameters_to_context(open.codec.get(), open.stream->codecpar), "parameters");
  open.codec->thread_count = 1;
  check(avcodec_open2(open.codec.get(), decoder, nullptr), "decoder");
  return open;
}

void walk_packets(const Open& open) {
  const ffmpeg::UniquePacket packet(av_packet_alloc());
  while (av_read_frame(open.container.get(), packet.get()) >= 0) av_packet_unref(packet.get());
}

// Two passes with swscale's fast settings: full-size RGB, then the small picture.
class TwoPasses {
 public:
  TwoPasses(const AVFrame& frame, int size)
      : size_(size), full_(static_cast<size_t>(frame.width * frame.height * 3 + 64)) {
    to_rgb_.reset(sws_getContext(
        frame.width, frame.height, static_cast<AVPixelFormat>(frame.format), frame.width,
        frame.height, AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr, nullptr, nullptr));
    to_size_.reset(sws_getContext(frame.width, frame.height, AV_PIX_FMT_RGB24, size, size,
                                  AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr, nullptr, nullptr));
    if (!to_rgb_ || !to_size_) fail("baseline: no scaler");
  }
  void convert(const AVFrame& frame, uint8_t* out) {
    uint8_t* full[4] = {full_.data(), nullptr, nullptr, nullptr};
    const int full_strides[4] = {frame.width * 3, 0, 0, 0};
    sws_scale(to_rgb_.get(), frame.data, frame.linesize, 0, frame.height, full, full_strides);
    uint8_t* small[4] = {out, nullptr, nullptr, nullptr};
    const int strides[4] = {size_ * 3, 0, 0, 0};
    sws_scale(to_size_.get(), full, full_strides, 0, frame.height, small, strides);
  }

 private:
  int size_;
  std::vector<uint8_t> full_;
  ffmpeg::UniqueScaler to_rgb_, to_size_;
};

}  // namespace

void read_clip_naively(const BaselineClip& clip, std::span<uint8_t> pixels, BaselineCost& cost) {
  double last = thread_seconds();
  const auto charge = [&](double& stage) {
    const double now = thread_seconds();
    stage += now - last;
    last = now;
  };
  const Open open = open_and_probe(clip.file);
  if (clip.scan) walk_packets(open);
  charge(cost.open);
  const AVRational frame_time = av_inv_q(open.stream->avg_frame_rate);
  const auto time_of = [&](int64_t n) {
    return av_rescale_q(n, frame_time, open.stream->time_base);
  };
  check(av_seek_frame(open.container.get(), open.stream->index, time_of(clip.first),
                      AVSEEK_FLAG_BACKWARD),
        "seek");

  const ffmpeg::UniquePacket packet(av_packet_alloc());
  const ffmpeg::UniqueFrame frame(av_frame_alloc());
  std::unique_ptr<TwoPasses> passes;
  int64_t done = 0;
  bool ended = false;
  while (done < clip.count) {
    const int got = avcodec_receive_frame(open.codec.get(), frame.get());
    charge(cost.decode);
    if (got == 0) {
      if (frame->best_effort_timestamp < time_of(clip.first + done)) continue;
      if (!passes) passes = std::make_unique<TwoPasses>(*frame, static_cast<int>(clip.size));
      passes->convert(*frame, pixels.data() + done++ * clip.size * clip.size * 3);
      charge(cost.convert);
      continue;
    }
    if (ended) fail("baseline: the clip at frame {} is not complete", clip.first);
    const int read = av_read_frame(open.container.get(), packet.get());
    charge(cost.demux);
    ended = read < 0;
    if (!ended && packet->stream_index != open.stream->index) {
      av_packet_unref(packet.get());
      continue;
    }
    check(avcodec_send_packet(open.codec.get(), ended ? nullptr : packet.get()), "decode");
    av_packet_unref(packet.get());
    charge(cost.decode);
  }
}

}  // namespace praxino::bench
