#pragma once
// Runs a command as a person would and keeps what it says.

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "support/temporary_folder.h"

namespace praxino::testing {

struct CommandResult {
  int exit_code = -1;  // 128 + signal for a command that a signal ended
  std::string out;
  std::string err;
};

/// A shell command line, such as "praxino --help"; `praxino` is the one that this build made.
inline CommandResult run_command(const std::string& line) {
  const TemporaryFolder folder;
  const auto contents = [&folder](const char* name) {
    std::ostringstream text;
    text << std::ifstream(folder / name).rdbuf();
    return text.str();
  };
  const std::string binary = PRAXINO_BINARY;
  const std::string script = "PATH='" + binary.substr(0, binary.rfind('/')) + "':\"$PATH\"\n{ " +
                             line + "\n} >'" + (folder / "out").string() + "' 2>'" +
                             (folder / "err").string() + "' </dev/null";
  const int status = std::system(script.c_str());  // NOLINT(cert-env33-c): the shell is the point
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return {code, contents("out"), contents("err")};
}

}  // namespace praxino::testing
