#pragma once
// What `praxino doctor` sees of the machine. The parsers are pure, so that tests can show them
// machines that are not at hand; the functions that read the real machine are thread-safe.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace praxino {

struct Processor {
  std::string name;
  bool avx2 = false;
  bool avx512 = false;
  bool amx = false;  // AMX tiles for bf16
};

/// From the text of /proc/cpuinfo (x86 and Arm).
Processor parse_processor(std::string_view cpuinfo);

/// MemTotal and MemAvailable of /proc/meminfo in bytes; 0 where the text lacks them.
struct Memory {
  uint64_t total = 0;
  uint64_t available = 0;
};
Memory parse_memory(std::string_view meminfo);

Processor this_processor();
Memory this_memory();

/// "24.0 GiB"
std::string format_bytes(uint64_t bytes);

}  // namespace praxino
