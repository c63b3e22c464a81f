#include "praxino/parallel/exchange.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

namespace praxino {
namespace {

using Counts = std::vector<int64_t>;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

int64_t longest(const Counts& counts) { return *std::ranges::max_element(counts); }

int64_t begin_of(const Counts& counts, int64_t rank) {
  return std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
}

int64_t count_of(const Counts& counts, int64_t rank) { return counts[static_cast<size_t>(rank)]; }

std::vector<int64_t> with_length(at::IntArrayRef sizes, int64_t dim, int64_t length) {
  std::vector<int64_t> changed = sizes.vec();
  changed[static_cast<size_t>(dim)] = length;
  return changed;
}

at::Tensor piece_of(const at::Tensor& whole, int64_t dim, const Counts& counts, int64_t rank) {
  return whole.narrow(dim, begin_of(counts, rank), count_of(counts, rank));
}

// A collective of equal pieces: the shorter ones travel with room at their end.
at::Tensor padded(const at::Tensor& piece, int64_t dim, int64_t length) {
  if (piece.size(dim) == length) return piece.contiguous();
  at::Tensor room = at::zeros(with_length(piece.sizes(), dim, length), piece.options());
  room.narrow(dim, 0, piece.size(dim)).copy_(piece);
  return room;
}

at::Tensor gathered(const at::Tensor& piece, int64_t dim, const Counts& counts,
                    const Communicator& group) {
  return start_gather(piece, dim, counts, group).wait();
}

at::Tensor scattered(const at::Tensor& whole, int64_t dim, const Counts& counts,
                     const Communicator& group) {
  return start_scatter_sum(whole, dim, counts, group).wait();
}

at::Tensor switched(const at::Tensor& piece, int64_t joined, const Counts& joined_counts,
                    int64_t cut, const Counts& cut_counts, const Communicator& group) {
  std::vector<at::Tensor> leaving;
  Counts give, take;
  std::vector<std::vector<int64_t>> arriving;  // shapes
  for (int64_t rank = 0; rank < group.size(); ++rank) {
    leaving.push_back(piece_of(piece, cut, cut_counts, rank).reshape(-1));
    give.push_back(leaving.back().numel());
    arriving.push_back(
        with_length(with_length(piece.sizes(), joined, count_of(joined_counts, rank)), cut,
                    count_of(cut_counts, group.rank())));
    take.push_back(c10::multiply_integers(arriving.back()));
  }
  const at::Tensor in = at::cat(leaving);
  const at::Tensor out =
      at::empty({std::accumulate(take.begin(), take.end(), int64_t{0})}, piece.options());
  group.all_to_all(out, in, take, give).wait();
  std::vector<at::Tensor> pieces = out.split_with_sizes(take);
  for (size_t rank = 0; rank < pieces.size(); ++rank) {
    pieces[rank] = pieces[rank].view(arriving[rank]);
  }
  return at::cat(pieces, joined);
}

/// What a function of this file keeps for its backward pass: captured by value.
struct Exchange : torch::autograd::Function<Exchange> {
  using Move = std::function<at::Tensor(const at::Tensor&)>;
  struct Held : torch::CustomClassHolder {
    explicit Held(Move m) : move(std::move(m)) {}
    Move move;
  };
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const Move& there,
                            const Move& back) {
    ctx->saved_data["back"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(back));
    return there(x);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(ctx->saved_data["back"].toCapsule());
    return {held->move(grads[0]), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor PendingTensor::wait() {
  pending_.wait();
  // What it holds is let go of at once.
  return std::exchange(finish_, {})();
}

PendingTensor start_gather(const at::Tensor& piece, int64_t dim, const Counts& counts,
                           const Communicator& group) {
  if (group.size() == 1) return {{}, [piece] { return piece; }};
  const at::Tensor own = padded(piece, dim, longest(counts));
  std::vector<int64_t> sizes = own.sizes().vec();
  sizes.insert(sizes.begin(), group.size());
  const at::Tensor all = at::empty(sizes, own.options());
  return {group.all_gather(all, own), [own, all, dim, counts] {
            std::vector<at::Tensor> pieces = all.unbind(0);
            for (size_t rank = 0; rank < pieces.size(); ++rank) {
              pieces[rank] = pieces[rank].narrow(dim, 0, counts[rank]);
            }
            return at::cat(pieces, dim);
          }};
}

PendingTensor start_scatter_sum(const at::Tensor& whole, int64_t dim, const Counts& counts,
                                const Communicator& group) {
  if (group.size() == 1) return {{}, [whole] { return whole; }};
  const int64_t length = longest(counts);
  std::vector<int64_t> sizes = with_length(whole.sizes(), dim, length);
  const at::Tensor own = at::empty(sizes, whole.options());
  sizes.insert(sizes.begin(), group.size());
  const bool even = std::ranges::all_of(counts, [&](int64_t count) { return count == length; });
  const at::Tensor all =
      even ? at::empty(sizes, whole.options()) : at::zeros(sizes, whole.options());
  for (int64_t rank = 0; rank < group.size(); ++rank) {
    all.select(0, rank)
        .narrow(dim, 0, count_of(counts, rank))
        .copy_(piece_of(whole, dim, counts, rank));
  }
  return {group.reduce_scatter(own, all), [own, all, dim, count = count_of(counts, group.rank())] {
            return own.narrow(dim, 0, count);
          }};
}

at::Tensor gather_pieces(const at::Tensor& piece, int64_t dim, const Counts& counts,
                         const Communicator& group) {
  if (group.size() == 1) return piece;
  return Exchange::apply(
      piece, [=](const at::Tensor& x) { return gathered(x, dim, counts, group); },
      [=](const at::Tensor& grad) { return scattered(grad, dim, counts, group); });
}

at::Tensor scatter_sum(const at::Tensor& whole, int64_t dim, const Counts& counts,
                       const Communicator& group) {
  if (group.size() == 1) return whole;
  return Exchange::apply(
      whole, [=](const at::Tensor& x) { return scattered(x, dim, counts, group); },
      [=](const at::Tensor& grad) { return gathered(grad, dim, counts, group); });
}

at::Tensor switch_pieces(const at::Tensor& piece, int64_t joined, const Counts& joined_counts,
                         int64_t cut, const Counts& cut_counts, const Communicator& group) {
  if (group.size() == 1) return piece;
  return Exchange::apply(
      piece,
      [=](const at::Tensor& x) {
        return switched(x, joined, joined_counts, cut, cut_counts, group);
      },
      [=](const at::Tensor& grad) {
        return switched(grad, cut, cut_counts, joined, joined_counts, group);
      });
}

at::Tensor gather_result(const at::Tensor& piece, int64_t dim, const Counts& counts,
                         const Communicator& group) {
  if (group.size() == 1) return piece;
  return Exchange::apply(
      piece, [=](const at::Tensor& x) { return gathered(x, dim, counts, group); },
      [=](const at::Tensor& grad) { return piece_of(grad, dim, counts, group.rank()); });
}

}  // namespace praxino
