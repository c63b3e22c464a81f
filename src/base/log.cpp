#include "praxino/base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/ansicolor_sink.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/live_line.h"

namespace praxino::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarning: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
    case Level::kOff: break;
  }
  return spdlog::level::off;
}

std::string_view prefix(Level level) {
  switch (level) {
    case Level::kDebug: return "debug: ";
    case Level::kWarning: return "warning: ";
    case Level::kError: return "error: ";
    default: return "";
  }
}

/// Never destroyed, so that destructors of other statics can still log.
spdlog::logger& logger() {
  static auto* instance = [] {
    // Colours only where stderr is a terminal; print_above_live_line() is the lock.
    auto sink = std::make_shared<spdlog::sinks::ansicolor_stderr_sink_st>();
    sink->set_color(spdlog::level::info, "");
    sink->set_color(spdlog::level::debug, sink->dark);
    auto* made = new spdlog::logger("praxino", std::move(sink));
    made->set_pattern("%H:%M:%S %^%v%$");
    made->set_level(spdlog::level::trace);
    return made;
  }();
  return *instance;
}

void print(Level level, std::string_view text) {
  print_above_live_line(
      [&] { logger().log(to_spdlog(level), spdlog::string_view_t(text.data(), text.size())); });
}

Level level_from_environment() {
  const char* value = std::getenv("PRAXINO_LOG");
  const std::string_view name = value == nullptr ? "info" : value;
  if (name == "debug") return Level::kDebug;
  if (name == "info" || name.empty()) return Level::kInfo;
  if (name == "warning") return Level::kWarning;
  if (name == "error") return Level::kError;
  if (name == "off") return Level::kOff;
  print(Level::kWarning,
        fmt::format("warning: PRAXINO_LOG={} is none of debug, info, warning, error, off; "
                    "using info",
                    escape(name)));
  return Level::kInfo;
}

std::atomic<Level>& current_level() {
  static std::atomic<Level> current = level_from_environment();
  return current;
}

}  // namespace

void set_level(Level level) { current_level() = level; }
Level level() { return current_level(); }

std::string escape(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (byte == '\n') {
      safe += "\\n";
    } else if (byte == '\t') {
      safe += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      safe += fmt::format("\\x{:02x}", byte);
    } else if (byte == 0xc2 && next >= 0x80 &&
               next <= 0x9f) {  // C1 controls as UTF-8 (U+009B is CSI)
      safe += fmt::format("\\u{:04x}", next);
      ++i;
    } else {
      safe += static_cast<char>(byte);
    }
  }
  return safe;
}

void write(Level level, std::string_view message) {
  if (level == Level::kOff || level < log::level()) return;
  print(level, std::string(prefix(level)) + escape(message));
}

}  // namespace praxino::log
