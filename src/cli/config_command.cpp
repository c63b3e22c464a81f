#include <fmt/core.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "praxino/base/error.h"
#include "praxino/config/load.h"

namespace praxino {
namespace {

struct Arguments {
  std::string run;
  std::vector<std::string> overrides;
  std::string filter;
};

/// The entries of describe_keys() that contain `filter`: a key is a line with two blanks in front,
/// and what is said about it follows with more. Empty when there are none.
std::string matching_keys(const std::string& filter) {
  std::istringstream lines(describe_keys());
  std::string found;
  std::string entry;
  const auto finish_entry = [&] {
    if (entry.find(filter) != std::string::npos) found += entry;
    entry.clear();
  };
  for (std::string line; std::getline(lines, line);) {
    const size_t blanks = line.find_first_not_of(' ');
    if (blanks == 2 || blanks == 0) finish_entry();
    if (!entry.empty() || blanks == 2) entry += line + '\n';
  }
  finish_entry();
  return found;
}

void print_keys(const std::string& filter) {
  const std::string text = filter.empty() ? describe_keys() : matching_keys(filter);
  if (text.empty())
    fail_usage("no key or its meaning contains '{}'; praxino config keys lists all", filter);
  fmt::print("{}", text);
}

}  // namespace

void add_config_command(CLI::App& app, int&) {
  CLI::App* config = app.add_subcommand("config", "show the resolved run, explain every key");
  config->require_subcommand(1);
  const auto arguments = std::make_shared<Arguments>();

  CLI::App* show =
      config->add_subcommand("show", "print the run as it would train, defaults included");
  show->add_option("run", arguments->run, "the run file")->required()->option_text("RUN.yaml");
  add_overrides(*show, arguments->overrides);
  show->callback(
      [arguments] { fmt::print("{}", to_yaml(load_run(arguments->run, arguments->overrides))); });

  CLI::App* keys =
      config->add_subcommand("keys", "every key with default, range and when to change it");
  keys->add_option("filter", arguments->filter, "only keys with this in their name or meaning")
      ->option_text("[TEXT]");
  keys->callback([arguments] { print_keys(arguments->filter); });
}

}  // namespace praxino
