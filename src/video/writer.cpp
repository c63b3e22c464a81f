#include "praxino/video/writer.h"

#include <cstring>
#include <vector>

#include "praxino/base/error.h"
#include "video/convert.h"
#include "video/ffmpeg.h"
#include "video/output.h"

namespace praxino {
namespace {

int even(int64_t size) { return static_cast<int>(size + size % 2); }

AVRational rate_of(const Rational& fps) {
  return {static_cast<int>(fps.numerator), static_cast<int>(fps.denominator)};
}

}  // namespace

struct VideoWriter::State {
  State(std::filesystem::path target, const VideoWriterOptions& wanted);

  void check_options() const;
  void open_encoder();
  void set_quality();
  void open_muxer();
  void open_scaler();
  void fill_picture(std::span<const uint8_t> rgb);
  void encode(const AVFrame* frame);
  void check(int error, const char* what) const {
    if (error < 0) fail("{}: {}: {}", path.string(), what, ffmpeg::error_text(error));
  }

  std::filesystem::path path;
  VideoWriterOptions options;
  FileOutput output;
  ffmpeg::UniqueOutput muxer;
  ffmpeg::UniqueCodec encoder;
  ffmpeg::UniqueScaler scaler;
  ffmpeg::UniqueFrame frame;
  ffmpeg::UniquePacket packet;
  std::vector<uint8_t> padded;
  int64_t count = 0;
  bool finished = false;
};

VideoWriter::State::State(std::filesystem::path target, const VideoWriterOptions& wanted)
    : path(std::move(target)),
      options(wanted),
      output((ffmpeg::prepare(), path)),
      frame(av_frame_alloc()),
      packet(av_packet_alloc()) {
  check_options();
  open_encoder();
  open_muxer();
  open_scaler();
}

void VideoWriter::State::check_options() const {
  if (options.height < 1 || options.width < 1 || options.height > 1 << 14 ||
      options.width > 1 << 14) {
    fail("{}: a video of {}x{} pixels cannot be written", path.string(), options.width,
         options.height);
  }
  constexpr int64_t kLargest = 1 << 30;
  if (options.fps <= Rational(0) || options.fps.numerator > kLargest ||
      options.fps.denominator > kLargest) {
    fail("{}: a frame rate of {} cannot be written", path.string(), options.fps.str());
  }
  if (options.quality < 0 || options.quality > 51)
    fail("{}: quality is {}, it must be 0 to 51", path.string(), options.quality);
  if (options.key_every < 1 || options.key_every > 100'000)
    fail("{}: key_every is {}", path.string(), options.key_every);
}

void VideoWriter::State::open_encoder() {
  const AVCodec* codec = avcodec_find_encoder_by_name("libx264");
  if (codec == nullptr) codec = avcodec_find_encoder_by_name("mpeg4");
  if (codec == nullptr)
    fail("{}: this FFmpeg has neither libx264 nor mpeg4 to write video with", path.string());
  encoder.reset(avcodec_alloc_context3(codec));
  if (!encoder) fail("{}: out of memory", path.string());
  encoder->width = even(options.width);
  encoder->height = even(options.height);
  encoder->pix_fmt = AV_PIX_FMT_YUV420P;
  encoder->framerate = rate_of(options.fps);
  encoder->time_base = {encoder->framerate.den, encoder->framerate.num};
  encoder->gop_size = static_cast<int>(options.key_every);
  encoder->max_b_frames = options.b_frames ? 3 : 0;
  encoder->color_range = AVCOL_RANGE_MPEG;
  encoder->colorspace = effective_matrix(AVCOL_SPC_UNSPECIFIED, encoder->height);
  encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  if (options.deterministic) {
    encoder->thread_count = 1;
    encoder->flags |= AV_CODEC_FLAG_BITEXACT;
  }
  set_quality();
  check(avcodec_open2(encoder.get(), codec, nullptr), "the encoder cannot be started");
}

void VideoWriter::State::set_quality() {
  if (encoder->codec_id == AV_CODEC_ID_H264) {
    av_opt_set_int(encoder->priv_data, "crf", options.quality, 0);
    av_opt_set_int(encoder.get(), "sc_threshold", 0,
                   AV_OPT_SEARCH_CHILDREN);  // key frames where they were asked for
    return;
  }
  encoder->flags |= AV_CODEC_FLAG_QSCALE;
  encoder->global_quality = FF_QP2LAMBDA * (1 + options.quality * 30 / 51);
}

void VideoWriter::State::open_muxer() {
  AVFormatContext* context = nullptr;
  check(avformat_alloc_output_context2(&context, nullptr, "mp4", nullptr),
        "the mp4 writer cannot be started");
  muxer.reset(context);
  context->pb = output.io();
  context->flags |= AVFMT_FLAG_CUSTOM_IO;
  if (options.deterministic) context->flags |= AVFMT_FLAG_BITEXACT;
  AVStream* stream = avformat_new_stream(context, nullptr);
  if (stream == nullptr) fail("{}: out of memory", path.string());
  check(avcodec_parameters_from_context(stream->codecpar, encoder.get()),
        "the mp4 writer cannot be started");
  stream->time_base = encoder->time_base;
  stream->avg_frame_rate = encoder->framerate;
  check(avformat_write_header(context, nullptr), "the mp4 header cannot be written");
}

void VideoWriter::State::open_scaler() {
  frame->width = encoder->width;
  frame->height = encoder->height;
  frame->format = encoder->pix_fmt;
  frame->color_range = encoder->color_range;
  frame->colorspace = encoder->colorspace;
  check(av_frame_get_buffer(frame.get(), 0), "out of memory");
  constexpr int kFlags = SWS_AREA | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_BITEXACT;
  scaler.reset(sws_getContext(frame->width, frame->height, AV_PIX_FMT_RGB24, frame->width,
                              frame->height, AV_PIX_FMT_YUV420P, kFlags, nullptr, nullptr,
                              nullptr));
  if (!scaler)
    fail("{}: pictures of {}x{} cannot be converted", path.string(), frame->width, frame->height);
  const int* coefficients = sws_getCoefficients(encoder->colorspace);
  sws_setColorspaceDetails(scaler.get(), coefficients, 1, coefficients, 0, 0, 1 << 16, 1 << 16);
}

// A last row or column of an odd size is repeated: 4:2:0 has even sizes only.
void VideoWriter::State::fill_picture(std::span<const uint8_t> rgb) {
  const int64_t row = options.width * 3;
  const int64_t padded_row = int64_t{encoder->width} * 3;
  const uint8_t* source = rgb.data();
  if (row != padded_row || options.height != encoder->height) {
    padded.resize(static_cast<size_t>(padded_row * encoder->height));
    for (int64_t y = 0; y < encoder->height; ++y) {
      const uint8_t* from = rgb.data() + std::min(y, options.height - 1) * row;
      uint8_t* to = padded.data() + y * padded_row;
      std::memcpy(to, from, static_cast<size_t>(row));
      if (padded_row > row) std::memcpy(to + row, from + row - 3, 3);
    }
    source = padded.data();
  }
  check(av_frame_make_writable(frame.get()), "out of memory");
  const uint8_t* const planes[4] = {source, nullptr, nullptr, nullptr};
  const int strides[4] = {static_cast<int>(padded_row), 0, 0, 0};
  sws_scale(scaler.get(), planes, strides, 0, encoder->height, frame->data, frame->linesize);
}

void VideoWriter::State::encode(const AVFrame* picture) {
  check(avcodec_send_frame(encoder.get(), picture), "a frame cannot be encoded");
  for (;;) {
    const int error = avcodec_receive_packet(encoder.get(), packet.get());
    if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return;
    check(error, "a frame cannot be encoded");
    AVStream* stream = muxer->streams[0];
    packet->duration = 1;
    av_packet_rescale_ts(packet.get(), encoder->time_base, stream->time_base);
    packet->stream_index = 0;
    check(av_interleaved_write_frame(muxer.get(), packet.get()), "a frame cannot be written");
  }
}

VideoWriter::VideoWriter(std::filesystem::path path, const VideoWriterOptions& options)
    : state_(std::make_unique<State>(std::move(path), options)) {}
VideoWriter::~VideoWriter() = default;
VideoWriter::VideoWriter(VideoWriter&&) noexcept = default;

void VideoWriter::add(std::span<const uint8_t> rgb) {
  State& s = *state_;
  const auto bytes = static_cast<size_t>(s.options.height * s.options.width * 3);
  if (s.finished) fail("{}: a frame was added after the end", s.path.string());
  if (rgb.size() != bytes)
    fail("{}: a frame has {} bytes, {} are needed", s.path.string(), rgb.size(), bytes);
  s.fill_picture(rgb);
  s.frame->pts = s.count++;
  s.encode(s.frame.get());
}

void VideoWriter::finish() {
  State& s = *state_;
  if (s.finished) return;
  if (s.count == 0) fail("{}: a video needs at least one frame", s.path.string());
  s.encode(nullptr);
  s.check(av_write_trailer(s.muxer.get()), "the mp4 index cannot be written");
  s.output.commit();
  s.finished = true;
}

void write_mp4(const std::filesystem::path& path, const Frames& frames, const Rational& fps,
               int quality) {
  if (frames.channels != 3)
    fail("{}: frames have {} channels, 3 are needed", path.string(), frames.channels);
  VideoWriterOptions options;
  options.height = frames.height;
  options.width = frames.width;
  options.fps = fps;
  options.quality = quality;
  VideoWriter writer(path, options);
  for (int64_t t = 0; t < frames.count; ++t) writer.add(frames.frame(t));
  writer.finish();
}

}  // namespace praxino
