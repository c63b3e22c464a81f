#include "kernels/join_attention.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/thread.cuh"
#include "kernels/division.h"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kThreads = 128, kPiece = 8;
constexpr float kNothing = -__builtin_inff();  // the log-sum of a part without keys

struct Joining {
  JoinAttention to;
  Divisor heads, queries, pieces;
};

// A thread takes 16 bytes of a result: those of all parts, one after the other.
PRAXINO_KERNEL(kThreads) join_attention_kernel(Joining p) {
  const JoinAttention& to = p.to;
  const int64_t all = to.batch * to.queries * to.heads * p.pieces.by();
  for (int64_t i = block_index() * kThreads + thread_index(); i < all;
       i += grid_blocks() * kThreads) {
    const int64_t row = p.pieces.quotient(i), column = (i - row * p.pieces.by()) * kPiece;
    const int64_t token = p.heads.quotient(row), head = row - token * to.heads;
    const int64_t batch = p.queries.quotient(token), query = token - batch * to.queries;
    const int64_t of_part = to.queries * to.heads;
    const Bf16* result =
        to.results + (batch * to.parts * of_part + query * to.heads + head) * to.width + column;
    const float* lse = to.lse + batch * to.parts * of_part + head * to.queries + query;
    float best = kNothing;
    for (int64_t part = 0; part < to.parts; ++part) best = fmaxf(best, load(lse + part * of_part));
    Vector<kPiece> sum = {};
    float total = 0;
    for (int64_t part = 0; part < to.parts && best != kNothing; ++part) {
      const float weight = exp2_fast((load(lse + part * of_part) - best) * 1.44269504F);
      const Vector<kPiece> x = load_vector<kPiece>(result + part * of_part * to.width);
      total += weight;
      PRAXINO_UNROLL
      for (int j = 0; j < kPiece; ++j) sum.v[j] += weight * x.v[j];
    }
    const float inverse = total == 0 ? 0.0F : 1.0F / total;
    PRAXINO_UNROLL
    for (int j = 0; j < kPiece; ++j) sum.v[j] *= inverse;
    store_vector(to.out + row * to.width + column, sum);
  }
}

bool in_range(const JoinAttention& p) {
  const int64_t most = INT32_MAX;
  if (p.width != 64 && p.width != 128) return false;
  if (p.batch < 0 || p.queries < 0 || p.heads < 0 || p.parts < 1 || p.parts > most) return false;
  if (p.batch > most || p.queries > most || p.heads > most) return false;
  const int64_t tokens = p.batch * p.queries;
  return (p.heads == 0 || tokens <= most / p.heads / p.parts) && aligned_16(p.results) &&
         aligned_16(p.out);
}

}  // namespace

Status launch_join_attention(const JoinAttention& p, Stream stream) {
  if (!in_range(p)) return kRefused;
  const int64_t rows = p.batch * p.queries * p.heads, pieces = p.width / kPiece;
  if (rows == 0) return {};
  return launch(join_attention_kernel,
                {"join_attention", blocks_for((rows * pieces + kThreads - 1) / kThreads), kThreads},
                Joining{p, Divisor(p.heads), Divisor(p.queries), Divisor(pieces)}, stream);
}

}  // namespace praxino::kernels
