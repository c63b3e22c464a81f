#pragma once
// Log lines for people, on stderr. Thread-safe. Machines read log.jsonl instead (train/run_log.h).
// Control characters in a message are escaped, so that a file name cannot forge a line.

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

namespace praxino::log {

enum class Level { kDebug, kInfo, kWarning, kError, kOff };

/// Lowest level that is printed; kInfo at start. PRAXINO_LOG=debug|info|warning|error|off sets it
/// too.
void set_level(Level level);
Level level();

/// Control characters (C0, DEL, C1) as "\\n", "\\t", "\\x1b", "\\u009b": for text that goes to a
/// terminal.
std::string escape(std::string_view text);

/// Prints one finished line. A live progress line (base/progress.h) is cleared first and drawn
/// again.
void write(Level level, std::string_view message);

template <class... Args>
void debug(fmt::format_string<Args...> text, Args&&... args) {
  if (level() <= Level::kDebug)
    write(Level::kDebug, fmt::format(text, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> text, Args&&... args) {
  if (level() <= Level::kInfo) write(Level::kInfo, fmt::format(text, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> text, Args&&... args) {
  if (level() <= Level::kWarning)
    write(Level::kWarning, fmt::format(text, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> text, Args&&... args) {
  if (level() <= Level::kError)
    write(Level::kError, fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace praxino::log
