#pragma once
// What several ranks of one run decide together.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "praxino/checkpoint/store.h"
#include "praxino/config/run.h"
#include "praxino/eval/evaluate.h"
#include "praxino/layers/ranks.h"
#include "praxino/parallel/mesh.h"
#include "slow_ranks.h"

namespace praxino {

/// What every rank knows of the moment, the same on all of them.
struct Moment {
  int stop = 0;              // exit code that a stop signal to any rank asks for; 0: none came
  double elapsed = 0;        // seconds of training by rank 0's clock
  bool save_failed = false;  // on any rank
  /// What the step before took of each rank; to exchange(): of this rank alone.
  std::vector<RankPace> paces = {};
};

/// Calls on all ranks, in the same order. In a world of one everything is local.
class Ranks {
 public:
  /// Nothing: a world of one.
  explicit Ranks(std::shared_ptr<const Mesh> mesh);

  bool several() const { return mesh_ && mesh_->ranks() > 1; }
  bool first() const { return !several() || mesh_->first(); }
  int64_t data_rank() const { return several() ? mesh_->data().rank() : 0; }
  int64_t data_ranks() const { return several() ? mesh_->data().size() : 1; }
  const Mesh& mesh() const { return *mesh_; }  // REQUIRES: there is one
  /// Those that share one model: this rank's data coordinate.
  ModelRanks model_ranks() const;

  /// Throws praxino::Error on every rank, with a line of both texts that differs, where a rank's
  /// text is not that of rank 0.
  void require_equal(const std::string& what, const std::string& text) const;
  /// Runs `work` on rank 0 while the others wait; what it throws is thrown on all, all but
  /// Stopped as Error.
  void on_first(const std::function<void()>& work) const;
  /// Runs `work` on every rank; what it throws on one of them is thrown on all: Stopped as it is,
  /// all else as Error with the rank's number before it.
  void on_all(const std::function<void()>& work) const;
  /// Rank 0's number, or text, on all ranks.
  int64_t agree(int64_t number) const;
  std::string agree(const std::string& text) const;
  int64_t sum(int64_t number) const;
  /// The same where all ranks are training: one that is silent for parallel.timeout is an error.
  int64_t sum_in_training(int64_t number) const;

  /// Around each step: within it this rank must go on (Mesh::step_begins).
  void step_begins(int64_t step) const;
  void step_ends() const;
  /// Starts to exchange what this rank sees of the moment; moment() waits for the answer to the
  /// last exchange (before the first: nothing). A step lies between, so that nobody waits for the
  /// network. REQUIRES: several().
  void exchange(const Moment& seen);
  const Moment& moment();

  /// The data ranks as members of one evaluation; ranks that share a model do the same work.
  EvalTeam eval_team() const;
  /// The largest of all ranks' numbers.
  int64_t most(int64_t number) const;

  /// All ranks, as a checkpoint's thread sees them while others train.
  SaveGroup save_group() const;
  /// The mean of a few float32 scalars over the data axis, in place.
  void average(std::vector<at::Tensor>& scalars) const;

 private:
  int64_t reduced(int64_t number, Reduce how, std::chrono::milliseconds limit) const;

  std::shared_ptr<const Mesh> mesh_;
  Moment last_;
  at::Tensor exchanged_;
  Pending pending_;
};

/// What must be the same on all ranks of one run before its first step, as text: configuration,
/// version, the bytes of the program, and mesh.
std::string agreement(const RunConfig& config, const MeshShape& shape);

}  // namespace praxino
