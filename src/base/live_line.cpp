#include "base/live_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <utility>

namespace praxino {
namespace {

std::mutex mutex;

std::string& live_line() {
  static auto* line =
      new std::string;  // never destroyed: log lines may come from other destructors
  return *line;
}

void erase() {
  if (!live_line().empty()) std::fputs("\r\x1b[2K", stderr);
}

void draw() {
  if (!live_line().empty()) std::fputs(live_line().c_str(), stderr);
}

}  // namespace

bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

int stderr_columns() {
  struct winsize size = {};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

void show_live_line(std::string line) {
  const std::lock_guard lock(mutex);
  erase();
  live_line() = std::move(line);
  draw();
}

void clear_live_line() { show_live_line({}); }

void print_above_live_line(const std::function<void()>& print) {
  const std::lock_guard lock(mutex);
  erase();
  print();
  draw();
}

}  // namespace praxino
