#include "cli/thread_waiting.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>

namespace praxino {

void wait_without_spinning(int argc, char** argv) {
  constexpr std::array<std::string_view, 4> kComputing = {"train", "eval", "rollout", "bench"};
  bool computing = false;
  for (const std::string_view command : kComputing)
    computing = computing || (argc > 1 && command == argv[1]);
  if (!computing || std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  if (setenv("OMP_WAIT_POLICY", "passive", 1) == 0) execv("/proc/self/exe", argv);
}

}  // namespace praxino
