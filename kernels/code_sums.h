#pragma once
// How many rows chose each entry of a codebook, and the sum of them (the operation:
// include/praxino/ops/quantize.h), from rows sorted by their choice. Deterministic: a chunk of
// sorted rows adds up its runs of one entry each in their order, and what of an entry lies in
// several chunks is added up in theirs. No atomics; the order follows from the choices alone.
// Pointers are to device memory and may not overlap. The launcher only queues work on the stream;
// it is thread-safe.

#include "kernels/code_runs.h"
#include "kernels/launch.h"

namespace praxino::kernels {

struct CodeSums {
  const void* x = nullptr;          // rows x width
  const int64_t* sorted = nullptr;  // the rows' codes, ascending; not in 0 .. codes - 1: left out
  const int64_t* order = nullptr;   // which row of x each of them is
  int64_t* counts = nullptr;        // codes
  float* sums = nullptr;            // codes x width
  float* workspace = nullptr;       // code_sums_workspace(rows, width) floats
  int64_t rows = 0;
  int64_t codes = 0;
  int64_t width = 0;
  Element element = Element::kFloat;  // of x
};
/// Any number of rows, 0 included; codes and width from 1 to 2^20. kRefused otherwise.
Status launch_code_sums(const CodeSums& params, Stream stream);

}  // namespace praxino::kernels
