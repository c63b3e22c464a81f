#include "video/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace praxino {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kContainers[] = "mov,mp4,matroska,webm,avi,mpegts";
// Words of FFmpeg's messages by which a limit is told from damage.
constexpr char kTooManyPixels[] = "exceeds specified max pixel count";
constexpr char kTooManyStreams[] = "exceeds max_streams";
constexpr int kIoBytes = 64 << 10;

bool admitted_codec(AVCodecID id) {
  switch (id) {
    case AV_CODEC_ID_H264:
    case AV_CODEC_ID_HEVC:
    case AV_CODEC_ID_VP8:
    case AV_CODEC_ID_VP9:
    case AV_CODEC_ID_AV1:
    case AV_CODEC_ID_MPEG4:
    case AV_CODEC_ID_MPEG2VIDEO:
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MJPEG:
    case AV_CODEC_ID_FFV1: return true;
    default: return false;
  }
}

// A container that refers to another file does not get it.
int refuse_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EPERM);
}

VideoFault fault_of(int error) {
  const std::string& message = ffmpeg::reported_cause();
  const auto says = [&](const char* words) { return message.find(words) != std::string::npos; };
  if (error == AVERROR_EXIT) return VideoFault::kTimeout;
  if (says(kTooManyPixels) || says(kTooManyStreams) || error == AVERROR(ERANGE) ||
      says("exceeds size limit")) {
    return VideoFault::kLimit;
  }
  if (error == AVERROR_PATCHWELCOME || error == AVERROR(ENOSYS)) return VideoFault::kUnsupported;
  return VideoFault::kCorrupt;
}

}  // namespace

void fail_video(VideoFault fault, const std::filesystem::path& file, const std::string& what) {
  throw VideoError(fault, fmt::format("{}: {}", file.string(), what));
}

void fail_ffmpeg(int error, const std::filesystem::path& file, const std::string& what) {
  const VideoFault fault = fault_of(error);
  std::string reason =
      fault == VideoFault::kTimeout ? "the time limit passed" : ffmpeg::error_text(error);
  if (!ffmpeg::reported_cause().empty()) reason += " (" + ffmpeg::reported_cause() + ")";
  fail_video(fault, file, what + ": " + reason);
}

struct Source::Input {
  int fd = -1;
  int64_t position = 0;
  struct stat status {};
  Clock::time_point deadline = Clock::time_point::max();

  ~Input() {
    if (fd >= 0) ::close(fd);
  }
  bool late() const { return Clock::now() > deadline; }

  static int read(void* opaque, uint8_t* buffer, int size) {
    auto& self = *static_cast<Input*>(opaque);
    if (self.late()) return AVERROR_EXIT;
    ssize_t got = 0;
    do {
      got = ::pread(self.fd, buffer, static_cast<size_t>(size), self.position);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return AVERROR(errno);
    if (got == 0) return AVERROR_EOF;
    self.position += got;
    return static_cast<int>(got);
  }

  static int64_t seek(void* opaque, int64_t offset, int whence) {
    auto& self = *static_cast<Input*>(opaque);
    switch (whence & ~AVSEEK_FORCE) {
      case AVSEEK_SIZE: return self.status.st_size;
      case SEEK_CUR: offset += self.position; break;
      case SEEK_END: offset += self.status.st_size; break;
      case SEEK_SET: break;
      default: return AVERROR(EINVAL);
    }
    if (offset < 0) return AVERROR(EINVAL);
    return self.position = offset;
  }

  static int interrupted(void* opaque) { return static_cast<Input*>(opaque)->late() ? 1 : 0; }
};

Source::Source(std::filesystem::path file, const VideoLimits& limits, const std::string& container)
    : file_(std::move(file)), limits_(limits), input_(std::make_unique<Input>()) {
  ffmpeg::prepare();
  // O_NONBLOCK: opening a pipe that nobody writes to must not wait.
  input_->fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (input_->fd < 0)
    fail_video(VideoFault::kUnsupported, file_,
               fmt::format("cannot be opened: {}", std::strerror(errno)));
  if (::fstat(input_->fd, &input_->status) != 0) {
    fail_video(VideoFault::kUnsupported, file_,
               fmt::format("cannot be examined: {}", std::strerror(errno)));
  }
  if (!S_ISREG(input_->status.st_mode))
    fail_video(VideoFault::kUnsupported, file_, "is not a regular file");
  if (input_->status.st_size == 0) fail_video(VideoFault::kCorrupt, file_, "is empty");
  if (!container.empty()) format_ = av_find_input_format(container.c_str());
  open();
}

Source::~Source() = default;

void Source::open() {
  container_.reset();
  input_->position = 0;
  ffmpeg::forget_cause();
  auto* buffer = static_cast<uint8_t*>(av_malloc(kIoBytes));
  io_.reset(
      avio_alloc_context(buffer, kIoBytes, 0, input_.get(), Input::read, nullptr, Input::seek));
  if (!io_) {
    av_free(buffer);
    fail_ffmpeg(AVERROR(ENOMEM), file_, "cannot be opened");
  }
  if (format_ == nullptr) probe_container();
  check_admitted();

  AVFormatContext* context = avformat_alloc_context();
  if (context == nullptr) fail_ffmpeg(AVERROR(ENOMEM), file_, "cannot be opened");
  context->pb = io_.get();
  context->flags |= AVFMT_FLAG_CUSTOM_IO;
  // Times exactly as stored: FFmpeg's guesses for missing ones depend on what was read before, so
  // they change after a seek. And raw packets, except where the container does not delimit frames.
  context->flags |= AVFMT_FLAG_NOFILLIN;
  if (std::strcmp(format_->name, "mpegts") != 0) context->flags |= AVFMT_FLAG_NOPARSE;
  context->io_open = refuse_open;
  context->interrupt_callback = {Input::interrupted, input_.get()};
  context->protocol_whitelist = av_strdup("");
  context->format_whitelist = av_strdup(kContainers);
  context->max_streams = static_cast<int>(limits_.max_streams);
  AVDictionary* options = nullptr;
  av_dict_set(&options, "enable_drefs", "0", 0);
  av_dict_set(&options, "use_absolute_path", "0", 0);
  const int error =
      avformat_open_input(&context, "", format_, &options);  // frees the context when it fails
  av_dict_free(&options);
  if (error < 0) fail_ffmpeg(error, file_, "the container cannot be read");
  container_.reset(context);
  choose_stream();
}

void Source::probe_container() {
  const int score = av_probe_input_buffer2(io_.get(), &format_, "", nullptr, 0, 0);
  if (score == AVERROR_EXIT) fail_ffmpeg(score, file_, "the container cannot be recognised");
  if (score < 0 || format_ == nullptr) {
    format_ = nullptr;
    fail_video(VideoFault::kUnsupported, file_,
               fmt::format("is no video file of a known container (admitted: {})", kContainers));
  }
}

void Source::check_admitted() const {
  if (av_match_list(format_->name, kContainers, ',') <= 0) {
    fail_video(VideoFault::kUnsupported, file_,
               fmt::format("its container '{}' is not admitted (admitted: {})", format_->name,
                           kContainers));
  }
}

void Source::choose_stream() {
  if (container_->nb_streams > static_cast<uint64_t>(limits_.max_streams)) {
    fail_video(
        VideoFault::kLimit, file_,
        fmt::format("has {} streams, more than {}", container_->nb_streams, limits_.max_streams));
  }
  const bool too_many = ffmpeg::reported_cause().find(kTooManyStreams) != std::string::npos;
  if (container_->nb_streams == 0 && !too_many) {
    fail_video(VideoFault::kCorrupt, file_, "its header has no streams: it is cut off or damaged");
  }
  stream_ = -1;
  int64_t best = -1;
  for (unsigned i = 0; i < container_->nb_streams; ++i) {
    AVStream& candidate = *container_->streams[i];
    candidate.discard = AVDISCARD_ALL;
    const AVCodecParameters& codec = *candidate.codecpar;
    if (codec.codec_type != AVMEDIA_TYPE_VIDEO ||
        (candidate.disposition & AV_DISPOSITION_ATTACHED_PIC))
      continue;
    const int64_t area = int64_t{codec.width} * codec.height;
    const int64_t rank =
        area + (candidate.disposition & AV_DISPOSITION_DEFAULT ? int64_t{1} << 62 : 0);
    if (rank > best) {
      best = rank;
      stream_ = static_cast<int>(i);
    }
  }
  if (stream_ < 0) {
    fail_video(too_many ? VideoFault::kLimit : VideoFault::kUnsupported, file_,
               "has no video stream");
  }
  AVStream& chosen = *container_->streams[stream_];
  chosen.discard = AVDISCARD_DEFAULT;
  if (!admitted_codec(chosen.codecpar->codec_id)) {
    fail_video(VideoFault::kUnsupported, file_,
               fmt::format("its codec '{}' is not admitted", codec_name()));
  }
  const int64_t pixels = int64_t{chosen.codecpar->width} * chosen.codecpar->height;
  if (pixels > limits_.max_pixels) {
    fail_video(VideoFault::kLimit, file_,
               fmt::format("its frames have {}x{} pixels, more than {} in all",
                           chosen.codecpar->width, chosen.codecpar->height, limits_.max_pixels));
  }
  const AVCodecDescriptor* descriptor = avcodec_descriptor_get(chosen.codecpar->codec_id);
  intra_only_ = descriptor != nullptr && (descriptor->props & AV_CODEC_PROP_INTRA_ONLY) != 0;
}

void Source::set_deadline(double seconds) {
  input_->deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(seconds));
}

void Source::check_deadline() const {
  if (input_->late()) fail_video(VideoFault::kTimeout, file_, "the time limit passed");
}

bool Source::read(AVPacket& packet, PacketFacts& facts) {
  for (;;) {
    check_deadline();
    av_packet_unref(&packet);
    const int error = av_read_frame(container_.get(), &packet);
    if (error == AVERROR_EOF) return false;
    if (error < 0) fail_ffmpeg(error, file_, "the container cannot be read on");
    if (packet.stream_index != stream_) continue;
    if (packet.size > limits_.max_packet_bytes) {
      fail_video(VideoFault::kLimit, file_,
                 fmt::format("a packet has {} bytes, more than {}", packet.size,
                             limits_.max_packet_bytes));
    }
    // avi says "show the last frame on" by a packet without bytes; to a decoder that would mean the
    // end.
    if (packet.size > 0 && packet.data != nullptr) break;
  }
  facts.pts = packet.pts;
  facts.dts = packet.dts;
  facts.byte = packet.pos;
  facts.duration = packet.duration;
  facts.key = intra_only_ || (packet.flags & AV_PKT_FLAG_KEY);
  facts.discard = packet.flags & AV_PKT_FLAG_DISCARD;
  facts.corrupt = packet.flags & AV_PKT_FLAG_CORRUPT;
  return true;
}

bool Source::seek_time(int64_t time) {
  ffmpeg::forget_cause();
  return av_seek_frame(container_.get(), stream_, time, AVSEEK_FLAG_BACKWARD) >= 0;
}

bool Source::seek_byte(int64_t byte) {
  ffmpeg::forget_cause();
  return av_seek_frame(container_.get(), stream_, byte, AVSEEK_FLAG_BYTE) >= 0;
}

void Source::reopen() { open(); }

bool Source::container_is(const char* name) const {
  return av_match_name(name, container_name()) > 0;
}
uint64_t Source::file_size() const { return static_cast<uint64_t>(input_->status.st_size); }
int64_t Source::file_mtime_ns() const {
  return int64_t{input_->status.st_mtim.tv_sec} * 1'000'000'000 + input_->status.st_mtim.tv_nsec;
}

}  // namespace praxino
