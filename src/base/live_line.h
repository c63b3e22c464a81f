#pragma once
// stderr, shared by finished log lines and one live line below them. Internal to base; thread-safe.

#include <functional>
#include <string>

namespace praxino {

bool stderr_is_terminal();
int stderr_columns();  // width of the terminal; 80 when unknown

/// Draws `line` in place of the live line before it.
void show_live_line(std::string line);
void clear_live_line();

/// Runs `print` (which writes whole lines to stderr) with the live line out of the way.
void print_above_live_line(const std::function<void()>& print);

}  // namespace praxino
