#include "kernels/nearest_code.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/warp.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kThreads = 256;

template <class T>
PRAXINO_DEVICE T* part(const NearestCode& p, int64_t offset) {
  return reinterpret_cast<T*>(static_cast<char*>(p.workspace) + offset);
}

// A team of padded width / 8 lanes an entry: rounds it, and measures both.
PRAXINO_KERNEL(kThreads) prepare_codebook_kernel(NearestCode p) {
  const NearestCodeParts parts = nearest_code_parts(p.rows, p.codes, p.width);
  const int padded = padded_code_width(p.width), lanes = padded / 8, lane = thread_index() % lanes;
  const int64_t teams = kThreads / lanes, count = padded_codes(p.codes);
  // The same number of rounds for every thread: lanes meet in them.
  for (int64_t first = block_index() * teams; first < count; first += grid_blocks() * teams) {
    const int64_t code = first + thread_index() / lanes;
    const int column = lane * 8;
    Vector<8> value = {};
    if (code < p.codes && column < p.width)
      value = load_vector<8>(p.codebook + code * p.width + column);
    float squares = 0, rounded_squares = 0, moved_squares = 0;
    PRAXINO_UNROLL
    for (int i = 0; i < 8; ++i) {
      const float rounded = to_float(Bf16{static_cast<uint16_t>(pack_bf16(value.v[i], 0.0F))});
      const float moved = value.v[i] - rounded;
      squares += value.v[i] * value.v[i];
      rounded_squares += rounded * rounded;
      moved_squares += moved * moved;
    }
    squares = group_sum(squares, lanes);
    rounded_squares = group_sum(rounded_squares, lanes);
    moved_squares = group_sum(moved_squares, lanes);
    if (code >= count) continue;
    store_vector(part<Bf16>(p, parts.book) + code * padded + column, value);
    if (lane != 0) continue;
    const bool exists = code < p.codes;
    store(part<float>(p, parts.halves) + code, exists ? -0.5F * squares : float_of(0xff800000U));
    float* spread = part<float>(p, parts.spreads) + 2 * code;
    store(spread, rounded_squares);
    store(spread + 1, moved_squares);
  }
}

PRAXINO_DEVICE float larger(float a, float b) { return b > a ? b : a; }

// One block: the largest of all entries, a little above their rounding.
PRAXINO_KERNEL(kThreads) bound_codebook_kernel(NearestCode p) {
  const NearestCodeParts parts = nearest_code_parts(p.rows, p.codes, p.width);
  float most[3] = {};
  for (int64_t code = thread_index(); code < p.codes; code += kThreads) {
    const float* spread = part<float>(p, parts.spreads) + 2 * code;
    most[0] = larger(most[0], load(spread));
    most[1] = larger(most[1], load(spread + 1));
    most[2] = larger(most[2], -load(part<float>(p, parts.halves) + code));
  }
  float* shared = shared_floats();
  PRAXINO_UNROLL
  for (int i = 0; i < 3; ++i) {
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
      most[i] = larger(most[i], shuffle_xor(most[i], distance));
    if (lane_index() == 0) store(shared + i * (kThreads / kWarp) + warp_index(), most[i]);
  }
  sync_block();
  if (thread_index() != 0) return;
  PRAXINO_UNROLL
  for (int i = 0; i < 3; ++i) {
    for (int warp = 0; warp < kThreads / kWarp; ++warp)
      most[i] = larger(most[i], load(shared + i * (kThreads / kWarp) + warp));
  }
  // Squares of what is below 2^-63 vanish; 256 of them make 2^-59.
  constexpr float kSlack = 1.001F, kVanished = 0x1p-58F;
  store_vector(part<float>(p, parts.bounds),
               Vector<4>{{kSlack * sqrt_fast(most[0]) + kVanished,
                          kSlack * sqrt_fast(most[1]) + kVanished, kSlack * most[2], 0}});
}

}  // namespace

Status launch_prepare_codebook(const NearestCode& p, Stream stream) {
  const int64_t teams = kThreads / (padded_code_width(p.width) / 8);
  const int64_t blocks = blocks_for((padded_codes(p.codes) + teams - 1) / teams);
  const Status status =
      launch(prepare_codebook_kernel, {"prepare_codebook", blocks, kThreads}, p, stream);
  if (!status.ok()) return status;
  return launch(bound_codebook_kernel,
                {"bound_codebook", 1, kThreads, 3 * (kThreads / kWarp) * sizeof(float)}, p, stream);
}

Status launch_nearest_code(const NearestCode& p, Stream stream) {
  if (!nearest_code_in_range(p)) return kRefused;
  if (p.rows == 0) return {};
  Status status = launch_prepare_codebook(p, stream);
  if (status.ok()) status = launch_search_codebook(p, stream);
  if (status.ok()) status = launch_decide_codes(p, stream);
  if (status.ok()) status = launch_search_undecided(p, stream);
  return status;
}

}  // namespace praxino::kernels
