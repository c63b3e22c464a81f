#include "video/decoder.h"

#include <array>

namespace praxino {
namespace {

// The decoders that run in software on every machine, by name, so that no hardware wrapper slips
// in.
const AVCodec* find_decoder(AVCodecID id) {
  static constexpr std::array kAv1 = {"libdav1d", "libaom-av1"};
  if (id == AV_CODEC_ID_AV1) {
    for (const char* name : kAv1) {
      if (const AVCodec* codec = avcodec_find_decoder_by_name(name)) return codec;
    }
    return nullptr;
  }
  return avcodec_find_decoder_by_name(avcodec_get_name(id));
}

}  // namespace

Decoder::Decoder(const Source& source, const VideoLimits& limits, int reorder_depth)
    : file_(source.file()) {
  const AVCodecParameters& parameters = *source.stream().codecpar;
  const AVCodec* decoder = find_decoder(parameters.codec_id);
  if (decoder == nullptr) {
    fail_video(VideoFault::kUnsupported, file_,
               fmt::format("this FFmpeg has no decoder for '{}'", source.codec_name()));
  }
  codec_.reset(avcodec_alloc_context3(decoder));
  if (!codec_) fail_ffmpeg(AVERROR(ENOMEM), file_, "the decoder cannot be made");
  ffmpeg::forget_cause();
  int error = avcodec_parameters_to_context(codec_.get(), &parameters);
  if (error < 0) fail_ffmpeg(error, file_, "the codec parameters are damaged");
  codec_->thread_count = 1;
  codec_->max_pixels = limits.max_pixels;
  if (reorder_depth > 0) codec_->has_b_frames = reorder_depth;
  error = avcodec_open2(codec_.get(), decoder, nullptr);
  if (error < 0) fail_ffmpeg(error, file_, "the decoder cannot be started");
}

int Decoder::send(AVPacket& packet, PacketFacts facts) {
  facts.ordinal = next_ordinal_++;
  sent_[static_cast<size_t>(facts.ordinal % kMemory)] = facts;
  packet.pts = packet.dts = facts.ordinal;
  packet.flags &=
      ~AV_PKT_FLAG_DISCARD;  // decoders with delay drop the wrong frame; callers look at the facts
  ffmpeg::forget_cause();
  return avcodec_send_packet(codec_.get(), &packet);
}

void Decoder::send_end() { avcodec_send_packet(codec_.get(), nullptr); }

int Decoder::receive(AVFrame& frame, PacketFacts& facts) {
  const int error = avcodec_receive_frame(codec_.get(), &frame);
  if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return 0;
  if (error < 0) return error;
  const int64_t ordinal = frame.pts;
  if (ordinal < 0 || ordinal >= next_ordinal_ || next_ordinal_ - ordinal > kMemory) {
    fail_video(VideoFault::kCorrupt, file_, "the decoder gave a picture that belongs to no packet");
  }
  facts = sent_[static_cast<size_t>(ordinal % kMemory)];
  return 1;
}

void Decoder::flush() { avcodec_flush_buffers(codec_.get()); }

void Decoder::skip_unreferenced(bool skip) {
  switch (codec_->codec_id) {
    case AV_CODEC_ID_H264:  // nal_ref_idc == 0: no picture at all refers to it
    case AV_CODEC_ID_MPEG4:
    case AV_CODEC_ID_MPEG2VIDEO:
    case AV_CODEC_ID_MPEG1VIDEO:
      codec_->skip_frame = skip ? AVDISCARD_NONREF : AVDISCARD_DEFAULT;
      break;
    // hevc: a "sub-layer non-reference" picture may still be used by a higher temporal layer.
    default: break;
  }
}

bool is_damaged(const AVFrame& frame) {
  return (frame.flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame.decode_error_flags != 0;
}

}  // namespace praxino
