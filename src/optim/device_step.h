#pragma once
// An optimizer's step on a GPU: kernels that update all parameters at once, and the products of
// Muon between two of them. Equal to the formulas within rounding.

#include <ATen/core/Tensor.h>

#include <vector>

#include "optim/adamw.h"
#include "optim/muon.h"
#include "praxino/ops/parameter_update.h"
#include "praxino/optim/optimizer.h"

namespace praxino {

/// Scalars of a step, on the device.
struct StepScalars {
  at::Tensor loss;
  at::Tensor steps;  // the counter of steps taken
  at::Tensor rate;   // the factor of the learning rates
};

/// Shares weights and moments with what it is made from. Not thread-safe.
class DeviceStep {
 public:
  /// `muon` is borrowed, and `averages`, which may be null. What it averages beside these
  /// parameters is updated, too.
  DeviceStep(const OptimConfig& config, const Muon& muon, const AdamW& decayed, const AdamW& plain,
             Ema* averages);
  /// `gradients`: muon's, then decayed's, then plain's. Reads and writes device memory alone.
  /// `sum`: over ranks; may be empty.
  StepStats step(const std::vector<at::Tensor>& gradients, const StepScalars& scalars,
                 const SumOverRanks& sum) const;

 private:
  /// Parameters of one shape, whose products are batched.
  struct MuonGroup {
    ops::ParameterUpdate update;
    std::vector<size_t> members;  // positions in muon's gradients
    const Muon::Group* group;     // of muon
  };
  ops::StepValues judge(const std::vector<std::vector<at::Tensor>>& gradients,
                        const StepScalars& scalars, const SumOverRanks& sum) const;

  OptimConfig config_;
  Ema* averages_;
  const Muon& whole_muon_;
  std::vector<MuonGroup> muon_;
  ops::ParameterUpdate adamw_;
  size_t muon_count_;
};

}  // namespace praxino
