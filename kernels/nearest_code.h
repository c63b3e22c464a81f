#pragma once
// The nearest entry of a codebook for each row, without the matrix of all distances (the operation:
// include/praxino/ops/quantize.h). Products in bfloat16 on tensor cores find the candidates, exact
// distances decide between them: the result is that of a search in double, ties to the lowest index
// (kernels/codebook_grid.h says why). Equal bits whatever the device. Pointers are to device memory
// aligned to 16 bytes and may not overlap. The launcher only queues work on the stream; it is
// thread-safe.

#include "kernels/codebook_grid.h"
#include "kernels/launch.h"

namespace praxino::kernels {

struct NearestCode {
  const void* x = nullptr;          // rows x width
  const float* codebook = nullptr;  // codes x width
  int64_t* indices = nullptr;       // rows
  void* workspace = nullptr;        // nearest_code_parts(rows, codes, width).end bytes
  int64_t rows = 0;
  int64_t codes = 0;
  int64_t width = 0;
  Element element = Element::kFloat;  // of x
};
/// Any number of rows, 0 included; 1 to 65,536 codes; widths that are multiples of 16 up to 256;
/// pointers aligned to 16 bytes. kRefused otherwise. A distance that is not a number is never the
/// smallest; a row that has no other gets index 0.
Status launch_nearest_code(const NearestCode& params, Stream stream);

inline bool nearest_code_in_range(const NearestCode& p) {
  return codebook_in_range(p.rows, p.codes, p.width) && aligned_16(p.x) && aligned_16(p.codebook) &&
         aligned_16(p.workspace);
}

// Its steps, in this order: the codebook rounded and measured, candidates, decisions, and at last
// the rows that candidates did not decide, whose index is -1 until then.
Status launch_prepare_codebook(const NearestCode& params, Stream stream);
Status launch_search_codebook(const NearestCode& params, Stream stream);
Status launch_decide_codes(const NearestCode& params, Stream stream);
Status launch_search_undecided(const NearestCode& params, Stream stream);

}  // namespace praxino::kernels
