#include "kernels/sum_rows.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/thread.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kThreads = 128;

struct Level {
  const float* rows;
  int64_t count;
  int64_t width;
  float* to[2];     // where part 0 and part 1 of group 0 go
  int64_t between;  // floats from one group's sums to the next's
};

// A block a group, a thread a column.
PRAXINO_KERNEL(kThreads) sum_rows_kernel(Level p) {
  const int64_t columns = 2 * p.width, first = block_index() * kSummedRows;
  const int64_t end = first + kSummedRows < p.count ? first + kSummedRows : p.count;
  for (int64_t column = thread_index(); column < columns; column += kThreads) {
    float sum = 0;
    for (int64_t row = first; row < end; ++row) sum += load(p.rows + row * columns + column);
    float* to = column < p.width ? p.to[0] + column : p.to[1] + column - p.width;
    store(to + block_index() * p.between, sum);
  }
}

}  // namespace

Status launch_sum_rows(const SumRows& p, Stream stream) {
  if (p.count < 0 || p.width < 1) return kRefused;
  const int64_t columns = 2 * p.width;
  float* rows = p.rows;
  for (int64_t count = p.count;;) {
    const int64_t groups = count <= kSummedRows ? 1 : (count + kSummedRows - 1) / kSummedRows;
    float* next = rows + count * columns;
    Level level{rows, count, p.width, {p.results[0], p.results[1]}, 0};
    if (groups > 1) {
      level.to[0] = next;
      level.to[1] = next + p.width;
      level.between = columns;
    }
    const Status status = launch(sum_rows_kernel, {"sum_rows", groups, kThreads}, level, stream);
    if (!status.ok() || groups == 1) return status;
    rows = next;
    count = groups;
  }
}

}  // namespace praxino::kernels
