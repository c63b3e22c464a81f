#include "video/ffmpeg.h"

#include <cstdarg>
#include <mutex>

#include "praxino/base/log.h"

namespace praxino::ffmpeg {
namespace {

constexpr size_t kLargestAllocation = size_t{1} << 30;

std::string& message() {
  thread_local std::string text;
  return text;
}

void keep_message(void* object, int level, const char* format, va_list arguments) {
  const bool wanted = level <= AV_LOG_ERROR;
  if (!wanted && (level > AV_LOG_WARNING || log::level() > log::Level::kDebug)) return;
  char line[256];
  int print_prefix = 0;
  av_log_format_line2(object, level, format, arguments, line, sizeof line, &print_prefix);
  std::string text = line;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.empty()) return;
  log::debug("ffmpeg: {}", text);
  if (wanted && message().empty()) message() = std::move(text);
}

}  // namespace

std::string error_text(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof text);
  return text;
}

void prepare() {
  static std::once_flag once;
  std::call_once(once, [] {
    av_log_set_callback(keep_message);
    av_max_alloc(kLargestAllocation);
  });
}

const std::string& reported_cause() { return message(); }
void forget_cause() { message().clear(); }

bool implies_full_range(AVPixelFormat format) {
  return format == AV_PIX_FMT_YUVJ420P || format == AV_PIX_FMT_YUVJ422P ||
         format == AV_PIX_FMT_YUVJ444P || format == AV_PIX_FMT_YUVJ440P ||
         format == AV_PIX_FMT_YUVJ411P;
}

AVPixelFormat without_range(AVPixelFormat format) {
  switch (format) {
    case AV_PIX_FMT_YUVJ420P: return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P: return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P: return AV_PIX_FMT_YUV444P;
    case AV_PIX_FMT_YUVJ440P: return AV_PIX_FMT_YUV440P;
    case AV_PIX_FMT_YUVJ411P: return AV_PIX_FMT_YUV411P;
    default: return format;
  }
}

}  // namespace praxino::ffmpeg
