#pragma once
// Collectives between the ranks of one axis of the mesh, over c10d: NCCL for tensors on GPUs, Gloo
// for tensors on the CPU. Every rank of the group must call the same collectives in the same order.
//
// Tensors must be contiguous (c10::Error otherwise: Gloo would reduce the wrong numbers without a
// word), and of one type and size on all ranks. A collective that fails throws praxino::Error that
// names this rank, the group, the collective with its number, and the ranks that fell silent; the
// group cannot be used after that.

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace praxino {

enum class Reduce { kSum, kMax };

/// A collective under way. Keeps its tensors alive. Movable; not thread-safe. Dropped without a
/// wait() it still runs, but nobody hears of its failure.
class [[nodiscard]] Pending {
 public:
  struct State;
  Pending();  // nothing under way
  explicit Pending(std::unique_ptr<State> state);
  ~Pending();
  Pending(Pending&&) noexcept;
  Pending& operator=(Pending&&) noexcept;

  /// On the CPU: until the result is there. On a GPU: the current stream waits, the host does not.
  /// A second call does nothing. Throws praxino::Error (see above), on the CPU also after `limit`,
  /// where that is more than nothing and shorter than what the group allows.
  void wait(std::chrono::milliseconds limit = {});

 private:
  std::unique_ptr<State> state_;
};

/// By collectives that sum, and by those that only move.
struct PlannedBytes {
  double summed = 0;
  double moved = 0;
};

/// A group of ranks. Calls from one thread at a time. A group of one copies and returns at once.
class Communicator {
 public:
  struct Group;
  explicit Communicator(std::shared_ptr<Group> group);
  Communicator();  // a group of one

  int64_t rank() const;  // in this group
  int64_t size() const;
  const std::string& name() const;  // "data", "tensor", "context", "world", ...

  /// Of a group of Mesh::planned(): bytes that this rank would have sent so far, where each
  /// collective goes around a ring. 0 in a real group.
  PlannedBytes planned_bytes() const;

  /// Element by element over all ranks, in place: the same bits on every rank.
  Pending all_reduce(const at::Tensor& values, Reduce how = Reduce::kSum) const;
  /// out = this rank's slice of the sum of `in`. REQUIRES: in has size() times out's elements.
  Pending reduce_scatter(const at::Tensor& out, const at::Tensor& in) const;
  /// out = `in` of rank 0, rank 1, ... one after the other; `in` may be this rank's slice of `out`.
  Pending all_gather(const at::Tensor& out, const at::Tensor& in) const;
  /// Like reduce_scatter() and all_gather(), in place, where each rank has a segment of its own
  /// length of `flat`: rank r's ends where the next begins, `begins` names the end besides. A rank
  /// may have nothing. Of what reduce_segments() leaves, only this rank's segment is defined.
  std::vector<Pending> reduce_segments(const at::Tensor& flat,
                                       const std::vector<int64_t>& begins) const;
  std::vector<Pending> gather_segments(const at::Tensor& flat,
                                       const std::vector<int64_t>& begins) const;
  /// Cuts the first dim of `in` into pieces of `give` rows for rank 0, 1, ... and receives `take`
  /// rows from each into `out`. Empty counts: equal pieces.
  Pending all_to_all(const at::Tensor& out, const at::Tensor& in, std::vector<int64_t> take = {},
                     std::vector<int64_t> give = {}) const;
  Pending broadcast(const at::Tensor& values, int64_t from) const;
  Pending send(const at::Tensor& values, int64_t to, int tag = 0) const;
  Pending receive(const at::Tensor& values, int64_t from, int tag = 0) const;
  /// Returns when every rank has called it.
  void barrier() const;

  /// For host-side decisions, on a group of CPU tensors: the texts of all ranks, by rank.
  std::vector<std::string> all_gather_text(const std::string& text) const;

 private:
  std::shared_ptr<Group> group_;
};

}  // namespace praxino
