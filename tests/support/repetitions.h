#pragma once
// How often a test repeats what must give equal bits. PRAXINO_REPETITIONS says less where each
// repetition is slow, such as under compute-sanitizer. How many faults a test tries, which more of
// find more: as many as fit into every run, unless a variable names another number.

#include <cstdint>
#include <cstdlib>

namespace praxino::testing {

inline int repetitions(int usual) {
  const char* wish = std::getenv("PRAXINO_REPETITIONS");
  const int number = wish == nullptr ? usual : std::atoi(wish);
  return number > 0 && number < usual ? number : usual;
}

/// `usual`, or what the environment variable says: PRAXINO_KILLS, PRAXINO_FLIPS.
inline int64_t faults(const char* variable, int64_t usual) {
  const char* wish = std::getenv(variable);
  return wish == nullptr ? usual : std::atoll(wish);
}

}  // namespace praxino::testing
