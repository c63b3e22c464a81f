// `praxino`: reads the command line, runs one command, and turns whatever goes wrong into one line
// on stderr and an exit code: 0 done, 1 an error, 2 wrong usage or configuration, 3 an `expect:`
// line missed, 130 and 143 stopped by SIGINT and SIGTERM.

#include <c10/util/Exception.h>
#include <fmt/core.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"
#include "cli/thread_waiting.h"
#include "praxino/base/error.h"
#include "praxino/base/first_line.h"
#include "praxino/base/log.h"
#include "praxino/base/signals.h"
#include "praxino/base/version.h"
#include "praxino/config/suggest.h"

namespace praxino {

CLI::Option* add_overrides(CLI::App& command, std::vector<std::string>& overrides) {
  return command
      .add_option("overrides", overrides, "keys of the run file to set, such as optim.lr=1e-3")
      ->option_text("[key=value ...]");
}

namespace {

void add_commands(CLI::App& app, int& exit_code) {
  add_train_command(app, exit_code);
  add_eval_command(app, exit_code);
  add_rollout_command(app, exit_code);
  add_data_command(app, exit_code);
  add_config_command(app, exit_code);
  add_plan_command(app, exit_code);
  add_bench_command(app, exit_code);
  add_doctor_command(app, exit_code);
  add_completion_command(app, exit_code);
}

/// The innermost command that the line names, and its name as typed: "praxino config show".
struct Place {
  const CLI::App* app = nullptr;
  std::string name;
};

Place innermost(const CLI::App& root) {
  Place place{&root, root.get_name()};
  for (auto parsed = root.get_subcommands(); !parsed.empty();
       parsed = place.app->get_subcommands()) {
    place.app = parsed.front();
    place.name += " " + place.app->get_name();
  }
  return place;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return names;
}

std::vector<std::string> flag_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

/// One line for a command line that cannot be understood, with the nearest word that could.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  const Place place = innermost(app);
  const std::vector<std::string> unknown = app.remaining(true);
  if (unknown.empty()) return fmt::format("{}; see {} --help", error.what(), place.name);
  const std::string& word = unknown.front();
  const std::vector<std::string> commands = command_names(*place.app);
  const bool flag = word.starts_with('-');
  const char* kind = flag               ? "unknown flag"
                     : commands.empty() ? "unexpected argument"
                                        : "unknown command";
  const std::vector<std::string> words = flag ? flag_names(*place.app) : commands;
  const std::string_view near = nearest_word(word, {words.begin(), words.end()});
  return fmt::format("{} '{}'{}; see {} --help", kind, word,
                     near.empty() ? "" : fmt::format(", did you mean '{}'?", near), place.name);
}

/// Output that did not reach its file is an error like any other.
void flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
    fail("cannot write to standard output: {}", std::strerror(errno));
  }
}

int run(int argc, char** argv) {
  CLI::App app("Trains video world models and lets you act inside them.", "praxino");
  app.set_version_flag("--version", fmt::format("praxino {}", version()), "print the version");
  app.get_formatter()->column_width(16);
  app.require_subcommand(1);
  int exit_code = 0;
  add_commands(app, exit_code);
  app.footer(
      "Each command explains itself: praxino COMMAND --help");  // not below the commands themselves
  if (argc <= 1) {
    std::fputs(app.help().c_str(), stderr);
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) fail_usage("{}", usage_message(app, error));
    app.exit(error);  // --help and --version
  }
  flush_output();
  return exit_code;
}

int report(std::string_view text, int exit_code) {
  // Not fmt::print, which would throw where stderr is closed or full.
  const std::string line = fmt::format("praxino: {}\n", log::escape(text));
  std::fputs(line.c_str(), stderr);
  return exit_code;
}

}  // namespace
}  // namespace praxino

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an error of the write, told like any other
  praxino::wait_without_spinning(argc, argv);
  try {
    return praxino::run(argc, argv);
  } catch (const praxino::Error& error) {
    return praxino::report(error.what(), error.exit_code());
  } catch (const praxino::Stopped& stopped) {
    return praxino::report(stopped.what(), stopped.exit_code());
  } catch (const c10::Error& error) {
    return praxino::report(praxino::first_line(error.what_without_backtrace()), 1);
  } catch (const std::bad_alloc&) {
    return praxino::report("out of memory", 1);
  } catch (const std::exception& error) {
    return praxino::report(praxino::first_line(error.what()), 1);
  }
}
