// Between the candidates of the search, by exact distances; and the rows that they do not decide.
#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/warp.cuh"
#include "kernels/nearest_code.h"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kThreads = 256;
constexpr int kChunk = 4096;    // rows that a block looks through
constexpr int kRowsAtOnce = 8;  // that it searches together, where there are so many
constexpr int64_t kUndecided = -1;

PRAXINO_DEVICE double add_square(double sum, float x, float c) {
  const double apart = static_cast<double>(x) - static_cast<double>(c);
  return sum + apart * apart;
}

// The squared distance, always in this order: what is equal has equal distances.
template <class T>
PRAXINO_DEVICE double squared_distance(const T* x, const float* entry, int64_t width) {
  double sum = 0;
  for (int64_t i = 0; i < width; i += 8) {
    const Vector<8> a = load_vector<8>(x + i), b = load_vector<8>(entry + i);
    PRAXINO_UNROLL
    for (int j = 0; j < 8; ++j) sum = add_square(sum, a.v[j], b.v[j]);
  }
  return sum;
}

struct Choice {
  double distance;
  int64_t code;
};

// Further than any entry.
PRAXINO_DEVICE Choice nothing(const NearestCode& p) {
  return {static_cast<double>(float_of(0x7f800000U)), p.codes};
}

PRAXINO_DEVICE void take_nearer(Choice& best, const Choice& other) {
  const bool nearer =
      other.distance < best.distance || (other.distance == best.distance && other.code < best.code);
  if (nearer) best = other;
}

PRAXINO_DEVICE Choice from_lane(const Choice& own, int distance) {
  return {shuffle_xor(own.distance, distance),
          static_cast<int64_t>(shuffle_xor(static_cast<double>(own.code), distance))};
}

// Not below the square root but for what score_error() allows; squares below 2^-126 vanish.
PRAXINO_DEVICE double length_of(double squares) {
  return static_cast<double>(sqrt_fast(static_cast<float>(squares))) + 0x1p-62;
}

template <class T>
PRAXINO_KERNEL(kThreads)
decide_codes_kernel(NearestCode p) {
  const NearestCodeParts parts = nearest_code_parts(p.rows, p.codes, p.width);
  const char* workspace = static_cast<const char*>(p.workspace);
  constexpr int64_t kRows = kThreads / kListsOfRow;
  const int lane = thread_index() % kListsOfRow;
  for (int64_t first = block_index() * kRows; first < p.rows; first += grid_blocks() * kRows) {
    const int64_t row = first + thread_index() / kListsOfRow;
    const bool exists = row < p.rows;
    const T* x = static_cast<const T*>(p.x) + row * p.width;
    double squares = 0, moved_squares = 0;
    for (int64_t i = 8 * lane; exists && i < p.width; i += 8 * kListsOfRow) {
      const Vector<8> value = load_vector<8>(x + i);
      PRAXINO_UNROLL
      for (int j = 0; j < 8; ++j) {
        const float rounded = to_float(Bf16{static_cast<uint16_t>(pack_bf16(value.v[j], 0.0F))});
        const double moved = static_cast<double>(value.v[j]) - static_cast<double>(rounded);
        squares += static_cast<double>(value.v[j]) * static_cast<double>(value.v[j]);
        moved_squares += moved * moved;
      }
    }
    Vector<4> list = {};
    if (exists) {
      list = load_vector<4>(reinterpret_cast<const float*>(workspace + parts.lists +
                                                           16 * (row * kListsOfRow + lane)));
    }
    float best = list.v[0];
    for (int distance = 1; distance < kListsOfRow; distance *= 2) {
      const float other = shuffle_xor(best, distance);
      best = other > best ? other : best;
      squares += shuffle_xor(squares, distance);
      moved_squares += shuffle_xor(moved_squares, distance);
    }
    const auto bounds = load_vector<4>(reinterpret_cast<const float*>(workspace + parts.bounds));
    const CodebookBounds book{bounds.v[0], bounds.v[1], bounds.v[2], 0};
    const double error = score_error(length_of(squares), length_of(moved_squares), book, p.width);
    const double lowest = static_cast<double>(best) - 2 * error;
    const uint32_t codes = bits_of(list.v[3]);
    Choice choice = nothing(p);
    // Both comparisons fail where something is not a number.
    const bool left_out = static_cast<double>(list.v[2]) < lowest;
    PRAXINO_UNROLL
    for (int i = 0; i < 2; ++i) {
      const bool may_be = !(static_cast<double>(list.v[i]) < lowest);
      const int64_t code = codes >> (16 * i) & 0xffffU;
      if (exists && may_be && code < p.codes)
        take_nearer(choice, {squared_distance(x, p.codebook + code * p.width, p.width), code});
    }
    float decided = left_out ? 1.0F : 0.0F;
    for (int distance = 1; distance < kListsOfRow; distance *= 2) {
      take_nearer(choice, from_lane(choice, distance));
      const float other = shuffle_xor(decided, distance);
      decided = other < decided ? other : decided;
    }
    if (exists && lane == 0) store(p.indices + row, decided > 0 ? choice.code : kUndecided);
  }
}

// Shared memory of the full search.
constexpr int kWarps = kThreads / kWarp;
constexpr int kRowsOfThread = kChunk / kThreads;  // a bit each
struct SearchMemory {
  double distances[kWarps * kRowsAtOnce];  // the nearest that each warp found
  double codes[kWarps * kRowsAtOnce];
  uint32_t flags[kThreads];  // which of a thread's rows are undecided
  uint32_t count;            // of undecided rows
  uint32_t none[3];
  uint32_t list[kChunk];  // of undecided rows, counted in the chunk
  float x[kRowsAtOnce * kMaxCodeWidth];
};
static_assert(kRowsOfThread <= 32 && sizeof(SearchMemory) <= 48 * 1024);

// Which rows of the chunk have no index yet.
PRAXINO_DEVICE uint32_t list_undecided(const NearestCode& p, int64_t chunk, SearchMemory* shared) {
  uint32_t flags = 0;
  for (int i = 0; i < kRowsOfThread; ++i) {
    const int64_t row = chunk * kChunk + i * kThreads + thread_index();
    if (row < p.rows && load(p.indices + row) == kUndecided) flags |= 1U << i;
  }
  store(shared->flags + thread_index(), flags);
  sync_block();
  if (thread_index() == 0) {
    uint32_t count = 0;
    for (int thread = 0; thread < kThreads; ++thread) {
      uint32_t left = load(shared->flags + thread);
      for (int i = 0; left != 0; ++i, left >>= 1) {
        if ((left & 1U) != 0)
          store(shared->list + count++, static_cast<uint32_t>(i * kThreads + thread));
      }
    }
    store(&shared->count, count);
  }
  sync_block();
  return load(&shared->count);
}

// `count` rows of the list from `first` on, at most kTogether, against every entry: an entry is
// read once for all of them.
template <class T, int kTogether>
PRAXINO_DEVICE void search_rows(const NearestCode& p, int64_t chunk, uint32_t first, uint32_t count,
                                SearchMemory* shared) {
  const int width = static_cast<int>(p.width);
  for (int i = thread_index(); i < kTogether * width; i += kThreads) {
    const auto which = static_cast<uint32_t>(i / width);
    const int64_t row = which < count ? chunk * kChunk + load(shared->list + first + which) : 0;
    const T* x = static_cast<const T*>(p.x) + row * p.width;
    store(shared->x + i, which < count ? load(x + i % width) : 0.0F);
  }
  sync_block();
  Choice best[kTogether];
  PRAXINO_UNROLL
  for (int r = 0; r < kTogether; ++r) best[r] = nothing(p);
  for (int64_t code = thread_index(); code < p.codes; code += kThreads) {
    double sum[kTogether] = {};
    for (int i = 0; i < width; i += 4) {
      const Vector<4> entry = load_vector<4>(p.codebook + code * width + i);
      PRAXINO_UNROLL
      for (int r = 0; r < kTogether; ++r) {
        const Vector<4> x = load_vector<4>(shared->x + r * width + i);
        PRAXINO_UNROLL
        for (int j = 0; j < 4; ++j) sum[r] = add_square(sum[r], x.v[j], entry.v[j]);
      }
    }
    PRAXINO_UNROLL
    for (int r = 0; r < kTogether; ++r) take_nearer(best[r], {sum[r], code});
  }
  PRAXINO_UNROLL
  for (int r = 0; r < kTogether; ++r) {
    for (int distance = 1; distance < kWarp; distance *= 2)
      take_nearer(best[r], from_lane(best[r], distance));
    if (lane_index() == 0) {
      store(shared->distances + warp_index() * kTogether + r, best[r].distance);
      store(shared->codes + warp_index() * kTogether + r, static_cast<double>(best[r].code));
    }
  }
  sync_block();
  const auto which = static_cast<uint32_t>(thread_index());
  if (which < count) {
    Choice choice = nothing(p);
    for (int warp = 0; warp < kWarps; ++warp) {
      const uint32_t at = static_cast<uint32_t>(warp * kTogether) + which;
      take_nearer(choice,
                  {load(shared->distances + at), static_cast<int64_t>(load(shared->codes + at))});
    }
    const bool finite = choice.distance < nothing(p).distance;
    store(p.indices + chunk * kChunk + load(shared->list + first + which),
          finite ? choice.code : int64_t{0});
  }
  sync_block();  // before the memory is used again
}

template <class T>
PRAXINO_KERNEL(kThreads)
search_undecided_kernel(NearestCode p) {
  auto* shared = reinterpret_cast<SearchMemory*>(shared_floats());
  const int64_t chunks = (p.rows + kChunk - 1) / kChunk;
  for (int64_t chunk = block_index(); chunk < chunks; chunk += grid_blocks()) {
    const uint32_t count = list_undecided(p, chunk, shared);
    constexpr uint32_t kMost = kRowsAtOnce, kFew = kMost / 2;  // the time is that of full hands
    for (uint32_t first = 0; first < count;) {
      const uint32_t left = count - first, now = left < kFew ? 1 : left < kMost ? left : kMost;
      if (now == 1) {
        search_rows<T, 1>(p, chunk, first, now, shared);
      } else {
        search_rows<T, kRowsAtOnce>(p, chunk, first, now, shared);
      }
      first += now;
    }
    sync_block();  // before the list is used again
  }
}

}  // namespace

Status launch_decide_codes(const NearestCode& p, Stream stream) {
  const bool is_float = p.element == Element::kFloat;
  constexpr int64_t kRows = kThreads / kListsOfRow;
  return launch(is_float ? decide_codes_kernel<float> : decide_codes_kernel<Bf16>,
                {"decide_codes", blocks_for((p.rows + kRows - 1) / kRows), kThreads}, p, stream);
}

Status launch_search_undecided(const NearestCode& p, Stream stream) {
  const bool is_float = p.element == Element::kFloat;
  return launch(is_float ? search_undecided_kernel<float> : search_undecided_kernel<Bf16>,
                {"search_undecided", blocks_for((p.rows + kChunk - 1) / kChunk), kThreads,
                 sizeof(SearchMemory)},
                p, stream);
}

}  // namespace praxino::kernels
