#pragma once
// How a block walks over the chunks of an optimizer's parameters (kernels/parameter_chunks.h).

#include "kernels/device/raw_vectors.cuh"
#include "kernels/device/thread.cuh"
#include "kernels/parameter_chunks.h"

namespace praxino::kernels::device {

/// What a thread moves together: kUpdateVector elements in two halves, or one.
template <int N, class T>
PRAXINO_DEVICE Vector<N> load_piece(const T* from, Site site = PRAXINO_HERE) {
  if constexpr (N == 1) {
    return load_vector<1>(from, site);
  } else {
    return floats_of(load_halves(from, {0, kHalvesApart}, kWarpElements, site));
  }
}
template <class T, int N>
PRAXINO_DEVICE void store_piece(T* to, const Vector<N>& from, Site site = PRAXINO_HERE) {
  if constexpr (N == 1) {
    store(to, from.v[0], site);
  } else {
    store_halves(to, {0, kHalvesApart}, kWarpElements, from, site);
  }
}

/// Calls piece<N>(first element) for all elements of a chunk, N of them at a time: kUpdateVector
/// where the parameter's pointers are `aligned`, 1 in the tail and elsewhere.
template <class Piece>
PRAXINO_DEVICE void for_pieces(const ChunkElements& elements, bool aligned, Piece piece) {
  const int64_t tail = tail_of(elements, aligned);
  constexpr int kHalf = kUpdateVector / 2;
  for (int64_t at = elements.begin + warp_index() * kWarpElements + lane_index() * kHalf; at < tail;
       at += kUpdateThreads * kUpdateVector)
    piece.template operator()<kUpdateVector>(at);
  for (int64_t at = tail + thread_index(); at < elements.end; at += kUpdateThreads)
    piece.template operator()<1>(at);
}

/// Calls run(parameter's number, the parameter, elements of the chunk) for the block's chunks.
template <class Run>
PRAXINO_DEVICE void for_chunks(const ParameterList& list, Run run, Site site = PRAXINO_HERE) {
  for (int64_t i = block_index(); i < list.chunk_count; i += grid_blocks()) {
    const ParameterChunk chunk = load_raw(list.chunks + i, site);
    UpdatedParameter parameter = load_raw(list.parameters + chunk.parameter, site);
    parameter.weight = in_global(parameter.weight);
    parameter.first = in_global(parameter.first);
    parameter.second = in_global(parameter.second);
    parameter.average = in_global(parameter.average);
    parameter.copy = in_global(parameter.copy);
    run(chunk.parameter, parameter, elements_of(chunk, parameter.count), i);
  }
}

}  // namespace praxino::kernels::device
