// `praxino completion bash`: a script that completes commands, flags, run keys and their choices.
// Everything it needs is written into it, so that pressing TAB starts no program.

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "praxino/config/load.h"
#include "praxino/config/run.h"

namespace praxino {
namespace {

/// The choices of every key that has some, as lines of a bash `case`.
struct ChoiceVisitor {
  std::string prefix;
  std::string cases;

  template <class T>
  void operator()(const Field& field, T& value) {
    const std::string key = prefix + std::string(field.key);
    if constexpr (Section<T>) {
      std::string outer = std::exchange(prefix, key + ".");
      visit_fields(*this, value);
      prefix = std::move(outer);
    } else if constexpr (std::same_as<T, bool>) {
      cases += fmt::format("        {}) words='true false' ;;\n", key);
    } else if (field.choices.size() != 0) {
      cases += fmt::format("        {}) words='{}' ;;\n", key, fmt::join(field.choices, " "));
    }
  }
};

std::string choice_cases() {
  RunConfig config;
  ChoiceVisitor visitor;
  visit_fields(visitor, config);
  return visitor.cases;
}

/// What one command offers, and all commands below it.
void describe(const CLI::App& app, const std::string& path, std::string& paths,
              std::string& cases) {
  std::vector<std::string> commands;
  std::vector<std::string> flags;
  bool overrides = false;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    overrides = overrides || option->get_single_name() == "overrides";
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(command->get_name());
    const std::string below = path.empty() ? command->get_name() : path + " " + command->get_name();
    paths += below + "|";
    describe(*command, below, paths, cases);
  }
  cases += fmt::format("    '{}') commands='{}' flags='{}' overrides={} ;;\n", path,
                       fmt::join(commands, " "), fmt::join(flags, " "), overrides ? 1 : 0);
}

// bash cuts words at '=' (COMP_WORDBREAKS), so `optim.kind=mu` arrives as three words.
constexpr std::string_view kScript =
    R"bash(# bash completion for praxino. Load it with: source <(praxino completion bash)
_praxino() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before='' path='' key='' next i
  local commands='' flags='' overrides=0 words='' arguments=0
  ((COMP_CWORD > 0)) && before=${{COMP_WORDS[COMP_CWORD - 1]}}
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="${{path:+$path }}${{COMP_WORDS[i]}}"
    if [[ '{paths}' == *"|$next|"* ]]; then
      path=$next
    elif [[ ${{COMP_WORDS[i]}} != -* ]]; then
      arguments=$((arguments + 1))
    fi
  done
  case $path in
{cases}  esac
  COMPREPLY=()
  if [[ $word == '=' ]]; then
    key=$before word=''
  elif [[ $before == '=' ]]; then
    key=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  if [[ -n $key ]]; then
    if ((overrides)); then
      case $key in
{choices}      esac
    fi
  elif [[ $word == -* ]]; then
    words=$flags
  elif [[ -n $commands ]]; then
    words=$commands
  elif ((overrides && arguments > 0)) && [[ $before != --* ]]; then
    words='{keys}'
    compopt -o nospace 2>/dev/null || true
  else
    compopt -o filenames 2>/dev/null || true
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
    return
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
complete -F _praxino praxino
)bash";

std::string bash_script(const CLI::App& app) {
  std::string paths = "|";
  std::string cases;
  describe(app, "", paths, cases);
  std::string keys;
  for (const std::string& key : all_keys()) keys += key + "= ";
  return fmt::format(kScript, fmt::arg("paths", paths), fmt::arg("cases", cases),
                     fmt::arg("keys", keys), fmt::arg("choices", choice_cases()));
}

}  // namespace

void add_completion_command(CLI::App& app, int&) {
  CLI::App* completion = app.add_subcommand("completion", "print a script for shell completion");
  completion->require_subcommand(1);
  completion->add_subcommand("bash", "for bash: source <(praxino completion bash)")
      ->callback([&app] { fmt::print("{}", bash_script(app)); });
}

}  // namespace praxino
