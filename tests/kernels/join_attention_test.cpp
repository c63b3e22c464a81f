// Attention over parts of the keys, joined, executed on the CPU, against the formula over all keys.
#include "kernels/join_attention.h"

#include <gtest/gtest.h>

#include "kernels/frame_attention_runs.h"

namespace praxino::kernels {
namespace {

using namespace testing;

// A cache: every query sees every key.
FrameMask cache(int queries, int keys) {
  return {.tokens = std::max(queries, keys), .queries = queries, .keys = keys};
}

// The parts as sequences whose queries are the same rows, then joined. Dense operands.
Doubles in_parts(const AttentionInputs& in, int parts, uint64_t seed) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed), .interruption = 0.001});
  AttentionShape s = in.shape;
  const int64_t token_q = s.heads * s.width, token_k = s.key_heads * s.width;
  const int64_t whole_q = s.mask.queries * token_q, part_k = s.mask.keys / parts * token_k;
  const auto bits = [](const Doubles& x) {
    std::vector<Bf16> to;
    for (const double value : x) to.push_back(rounded<Bf16>(value));
    return to;
  };
  const size_t size = in.q.size(), rows = size / static_cast<size_t>(s.width);
  Bf16* results = cuda.allocate<Bf16>(size * static_cast<size_t>(parts), "results");
  float* lse = cuda.allocate<float>(rows * static_cast<size_t>(parts), "lse");
  const Bf16 *q = cuda.upload(bits(in.q), "q"), *k = cuda.upload(bits(in.k), "k"),
             *v = cuda.upload(bits(in.v), "v");
  s.mask = cache(in.shape.mask.queries, in.shape.mask.keys / parts);
  s.batch = parts;
  const HeadStrides queries{.batch = 0, .token = token_q, .head = s.width};
  const HeadStrides keys{.batch = part_k, .token = token_k, .head = s.width};
  const HeadStrides out{.batch = whole_q, .token = token_q, .head = s.width};
  for (int64_t b = 0; b < in.shape.batch;
       ++b) {  // a batch row after the other: their queries differ
    const FrameAttention p{.q = {q + b * whole_q, queries},
                           .k = {k + b * parts * part_k, keys},
                           .v = {v + b * parts * part_k, keys},
                           .out = {results + b * parts * whole_q, out},
                           .lse = lse + b * parts * whole_q / s.width,
                           .norm = {},
                           .shape = s};
    EXPECT_TRUE(launch_frame_attention(p, nullptr).ok());
  }
  Bf16* joined = cuda.allocate<Bf16>(size, "out");
  EXPECT_TRUE(launch_join_attention({.results = results,
                                     .lse = lse,
                                     .out = joined,
                                     .batch = in.shape.batch,
                                     .parts = parts,
                                     .queries = s.mask.queries,
                                     .heads = s.heads,
                                     .width = s.width},
                                    nullptr)
                  .ok());
  return exact(cuda.download(joined, size));
}

TEST(JoinAttentionKernel, EqualsTheFormulaOverAllKeys) {
  for (const auto& [width, parts, keys] : {std::tuple{64, 3, 231}, {64, 1, 37}, {128, 2, 134}}) {
    const AttentionInputs in =
        attention_inputs(shape_of(width, parts == 3 ? 2 : 1, 2, 1, cache(13, keys)));
    const Doubles want = AttentionFormula(in, false).results().out;
    const Doubles rounded = AttentionFormula(in, true).results().out;
    const Doubles got = in_parts(in, parts, 1);
    expect_near(got, want, rounded, "out");
    EXPECT_EQ(in_parts(in, parts, 2), got);
  }
}

struct Join {
  std::vector<Bf16> results;
  std::vector<float> lse;
  int64_t batch, parts, queries, heads;
};

std::vector<Bf16> joined(const Join& in) {
  CudaOnCpu cuda({.multiprocessors = 1});
  const auto size = static_cast<size_t>(in.batch * in.queries * in.heads * 64);
  Bf16* out = cuda.allocate<Bf16>(size, "out");
  const JoinAttention p{.results = cuda.upload(in.results, "results"),
                        .lse = cuda.upload(in.lse, "lse"),
                        .out = out,
                        .batch = in.batch,
                        .parts = in.parts,
                        .queries = in.queries,
                        .heads = in.heads,
                        .width = 64};
  EXPECT_TRUE(launch_join_attention(p, nullptr).ok());
  return cuda.download(out, size);
}

// More rows than the grid has threads, several heads, queries and batch rows: each by hand.
TEST(JoinAttentionKernel, WeighsEachRowByItsOwnSums) {
  constexpr int64_t kBatch = 3, kParts = 4, kQueries = 37, kHeads = 7;
  const Join in{normal<Bf16>(kBatch * kParts * kQueries * kHeads * 64, 1),
                normal<float>(kBatch * kParts * kQueries * kHeads, 2, 60),
                kBatch,
                kParts,
                kQueries,
                kHeads};
  Doubles want;
  for (int64_t row = 0; row < kBatch * kQueries * kHeads; ++row) {
    const int64_t b = row / (kQueries * kHeads), q = row / kHeads % kQueries, h = row % kHeads;
    for (int64_t i = 0; i < 64; ++i) {
      double sum = 0, total = 0;
      for (int64_t s = 0; s < kParts; ++s) {
        const int64_t part = (b * kParts + s) * kQueries * kHeads;
        const double weight =
            std::exp(double{in.lse[static_cast<size_t>(part + h * kQueries + q)]});
        total += weight;
        sum += weight *
               double{to_float(in.results[static_cast<size_t>((part + q * kHeads + h) * 64 + i)])};
      }
      want.push_back(sum / total);
    }
  }
  const Doubles got = exact(joined(in));
  EXPECT_LE(distance(got, want), bound<Bf16>(want));
}

TEST(JoinAttentionKernel, LeavesOutPartsWithoutKeysAndGivesZerosWhereThereAreNone) {
  const float none = -std::numeric_limits<float>::infinity();
  Join in{normal<Bf16>(3 * 2 * 64, 1), {none, none, 1, none, none, none}, 1, 3, 2, 1};
  // Query 0 has seen keys in part 1 alone, query 1 nowhere.
  const std::vector<Bf16> got = joined(in);
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(to_float(got[i]), to_float(in.results[2 * 64 + i]));
    EXPECT_EQ(to_float(got[64 + i]), 0.0F);
  }
}

TEST(JoinAttentionKernel, DoesNotLaunchForNoRowsAndRefusesWhatItDoesNotTake) {
  CudaOnCpu cuda;
  const JoinAttention good{.parts = 2, .queries = 3, .heads = 2, .width = 64};
  EXPECT_TRUE(launch_join_attention(good, nullptr).ok());
  const auto refused = [&](auto change) {
    JoinAttention p = good;
    change(p);
    EXPECT_EQ(launch_join_attention(p, nullptr).code, kRefused.code);
  };
  refused([](JoinAttention& p) { p.width = 96; });
  refused([](JoinAttention& p) { p.parts = 0; });
  refused([](JoinAttention& p) { p.batch = -1; });
  refused([](JoinAttention& p) { p.batch = int64_t{1} << 30; });
  refused([](JoinAttention& p) { p.out = reinterpret_cast<Bf16*>(uintptr_t{18}); });
  refused([](JoinAttention& p) { p.results = reinterpret_cast<const Bf16*>(uintptr_t{2}); });
  EXPECT_EQ(cuda.launches(), 0);
}

TEST(PartsOfKeys, FillADeviceInOneRound) {
  const auto parts = [](int64_t batch, int64_t heads, int queries, int keys, int chip = 132) {
    return parts_of_keys(shape_of(64, batch, heads, heads, cache(queries, keys)), chip);
  };
  EXPECT_EQ(parts(1, 16, 256, 8192), 4);
  EXPECT_EQ(parts(1, 8, 256, 8192), 8);
  EXPECT_EQ(parts(1, 2, 1, 8192), 16);
  EXPECT_EQ(parts(1, 16, 256, 8192, 31), 1);
  EXPECT_EQ(parts(8, 16, 256, 8192), 1);
  EXPECT_EQ(parts(1, 8, 256, 1024), 4);     // of 256 keys
  EXPECT_EQ(parts(1, 8, 256, 8191), 1);     // prime
  EXPECT_EQ(parts(1, 8, 257, 3 * 700), 5);  // three tiles of queries a head; parts divide the keys
  AttentionShape windowed = shape_of(64, 1, 8, 8, causal(256, 32, 0, 0, 31 * 256));
  EXPECT_EQ(parts_of_keys(windowed, 132), 8);  // the newest frame of a sequence sees all, too
  windowed.mask.window = 4;
  EXPECT_EQ(parts_of_keys(windowed, 132), 1);
  EXPECT_EQ(parts_of_keys(shape_of(64, 1, 8, 8, causal(256, 8, 0, 0)), 132), 1);
  for (const int64_t heads : {1, 3, 16}) {
    for (int keys = 0; keys < 6000; keys += 97) {
      const int64_t n = parts(1, heads, 200, keys);
      EXPECT_EQ(keys % n, 0);
      EXPECT_TRUE(n == 1 || (keys / n >= kFewestKeysOfPart && n * heads * 2 <= 132));
    }
  }
}

}  // namespace
}  // namespace praxino::kernels
