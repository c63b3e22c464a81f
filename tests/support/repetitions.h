#pragma once
// How often a test repeats what must give equal bits. PRAXINO_REPETITIONS says less where each
// repetition is slow, such as under compute-sanitizer.

#include <cstdlib>

namespace praxino::testing {

inline int repetitions(int usual) {
  const char* wish = std::getenv("PRAXINO_REPETITIONS");
  const int number = wish == nullptr ? usual : std::atoi(wish);
  return number > 0 && number < usual ? number : usual;
}

}  // namespace praxino::testing
