#pragma once
// The launcher that praxino brings along: starts the ranks of one machine as copies of this
// program, watches them, and starts all of them again when one dies.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace praxino {

struct SpawnOptions {
  int64_t ranks = 1;
  std::vector<std::string> arguments = {};  // of every rank, the program's path first
  std::function<int64_t()> progress = {};   // grows while work is kept: the newest checkpoint
  int64_t fruitless = 3;                    // starts without progress, then it gives up; 1: once
  std::chrono::milliseconds grace{3000};    // for the others to end by themselves when one died
};

/// Runs the ranks with torchrun's variables in their environment (parallel/launch.h) and returns
/// the exit code of the whole: 0 when all ended with 0; 2, 3, 130 and 143 as a rank gives them;
/// otherwise all are started again, until `fruitless` starts in a row have made no progress, which
/// gives 1. SIGINT and SIGTERM go on to every rank, whose code is then returned. The ranks get
/// SIGTERM, too, when this process dies. One at a time in a process.
int run_ranks(const SpawnOptions& options);

}  // namespace praxino
