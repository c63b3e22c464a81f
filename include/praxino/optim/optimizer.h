#pragma once
// Optimizers over Parameters: Muon for matrices inside the blocks, AdamW for the rest
// (docs/recipes.md). What needs the values of a step (clipping, skipping) is decided on the device.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "praxino/config/run.h"
#include "praxino/layers/parameters.h"
#include "praxino/parallel/communicator.h"

namespace praxino {

/// What happened in a step. Scalars stay on the device, so that logging never waits for it.
struct StepStats {
  at::Tensor gradient_norm;  // over all gradients, before clipping
  at::Tensor skipped;  // 1.0 when loss or gradients were not finite and nothing changed, else 0.0
  double learning_rate = 0;  // of config.lr's group
};

/// Adds float32 scalars up over the ranks that keep the other parameters, in place; every rank then
/// has the same bits. Empty: this process keeps all of them.
using SumOverRanks = std::function<void(const at::Tensor&)>;

/// Where the parameters are a rank's share of a model.
struct OptimizerRanks {
  SumOverRanks sum = {};
  Communicator tensor = {};  // those that hold the other parts of sliced matrices
};

/// Owns the moments. Not thread-safe. At most four virtual functions.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// The next steps are taken at `rate` times the peak learning rates; 1 at first.
  virtual void set_rate(double rate) = 0;
  /// One step from the gradients of the parameters, at the rate that was set. `loss` (a scalar)
  /// joins the finiteness check: where it or the gradient norm is not finite, weights,
  /// moments and step count keep every bit (decided on the device, no synchronisation).
  /// A gradient that is not defined counts as zero: decay and momentum go on. All of them undefined
  /// is a programming error (c10::Error). Gradients are cleared to undefined afterwards.
  virtual StepStats step(const at::Tensor& loss) = 0;
  /// set_rate() and step().
  StepStats step(const at::Tensor& loss, double rate) {
    set_rate(rate);
    return step(loss);
  }
  /// True where step() reads and writes device memory alone, so that its work may be recorded and
  /// replayed (praxino/ops/step_graph.h): from the first step on, on a GPU whose kernels serve.
  virtual bool recordable() const = 0;
  /// Everything but the weights, by name: "momentum.<parameter>", "exp_avg.<parameter>",
  /// "exp_avg_sq.<parameter>", "steps". The tensors are the live ones: copy into them to restore.
  virtual std::vector<std::pair<std::string, at::Tensor>> state() const = 0;
};

class Ema;

/// Manages the parameters that require a gradient now; the others are frozen and left alone.
/// `parameters` is borrowed and must outlive the optimizer. Where they are a rank's share of a
/// model, `ranks` makes the gradient norm, and so clipping and skipping, that of the whole model,
/// and gives Muon whole matrices; the loss must then be the same on every rank, and the ranks of
/// ranks.tensor must hold parts of the same matrices. `averages` is borrowed, too, and may be off:
/// where it is given, step() updates it, so that a GPU does both in one pass over memory; and so it
/// does with the copies that the parameters keep (praxino/layers/weight_copies.h). On a GPU whose
/// kernels serve, a step is a handful of launches (praxino/ops/parameter_update.h).
std::unique_ptr<Optimizer> make_optimizer(const OptimConfig& config, const Parameters& parameters,
                                          const OptimizerRanks& ranks = {},
                                          Ema* averages = nullptr);

/// The learning-rate factor in [0, 1] at `progress` (0 at the first step, 1 at the end of the run)
/// for step number `step` (from 0; warm-up counts steps).
double schedule_factor(const OptimConfig& config, int64_t step, double progress);

/// Exponential moving average of the weights, in float32: e <- decay * e + (1 - decay) * w,
/// unchanged to the bit after a skipped step. Early on decay is min(decay, (1 + n) / (10 + n))
/// after n updates, so that the start is forgotten. Not thread-safe.
class Ema {
 public:
  /// Borrows `parameters`; the average starts as a copy of them. decay 0: off, everything below is
  /// a no-op and averages() is empty.
  Ema(double decay, const Parameters& parameters);
  /// `skipped` is StepStats::skipped of the step just taken. An optimizer that was given these
  /// averages has called it already.
  void update(const at::Tensor& skipped);
  /// For an optimizer that averages in its own pass: the averages of `parameters`, handles of those
  /// given at construction. From now on the caller updates them and counts in updates(), and calls
  /// update_rest() where it would have called update(). Empty when off.
  std::vector<at::Tensor> lend(const std::vector<at::Tensor>& parameters);
  /// The averages that are not lent, at the given weight of the live values.
  void update_rest(const at::Tensor& skipped, const at::Tensor& weight);
  double decay() const { return decay_; }
  bool enabled() const { return decay_ > 0; }
  /// The live averages by parameter name, and how many updates they have seen (a float32 scalar;
  /// undefined when off): copy into both to restore.
  std::vector<std::pair<std::string, at::Tensor>> averages() const;
  at::Tensor updates() const { return updates_; }
  /// Exchanges the averaged weights with the live ones (call again to undo). While they are
  /// exchanged, update() and averages() are programming errors (c10::Error).
  void swap();

 private:
  double decay_;
  bool swapped_ = false;
  const Parameters* parameters_;
  std::vector<at::Tensor> average_;
  std::vector<bool> lent_;  // by parameter
  at::Tensor updates_;
};

}  // namespace praxino
