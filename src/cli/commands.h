#pragma once
// The commands of `praxino`, one function a command in <command>_command.cpp. Each adds its
// subcommand to `app` with a description of one line and a callback that does the work. The
// callback reports success by leaving `exit_code` alone, a missed `expect:` or a stop signal by
// setting it, and everything that goes wrong by throwing praxino::Error; only main catches.
// `exit_code` outlives the parsing of `app`.

#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace praxino {

void add_train_command(CLI::App& app, int& exit_code);
void add_eval_command(CLI::App& app, int& exit_code);
void add_rollout_command(CLI::App& app, int& exit_code);
void add_data_command(CLI::App& app, int& exit_code);
void add_config_command(CLI::App& app, int& exit_code);
void add_plan_command(CLI::App& app, int& exit_code);
void add_bench_command(CLI::App& app, int& exit_code);
void add_doctor_command(CLI::App& app, int& exit_code);
void add_completion_command(CLI::App& app, int& exit_code);

/// Below `praxino bench`.
void add_bench_ops_command(CLI::App& bench);
void add_bench_train_command(CLI::App& bench, int& exit_code);

/// Adds the positional arguments `key=value ...` that override keys of a run file. Shell completion
/// offers run keys for every command that has them. `overrides` outlives the parsing of `command`.
CLI::Option* add_overrides(CLI::App& command, std::vector<std::string>& overrides);

}  // namespace praxino
