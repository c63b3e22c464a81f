#pragma once
// The sides of a case with their inputs on the device, ready to be timed.

#include <ATen/core/Tensor.h>

#include <exception>
#include <string>
#include <vector>

#include "bench/cases.h"
#include "bench/stopwatch.h"
#include "praxino/base/first_line.h"
#include "praxino/bench/ops.h"

namespace praxino::bench {

struct Runner {
  const Side* side = nullptr;
  SideResult out = {};
  Function run = {};
  Inputs leaves = {};
  Inputs asked = {};       // the leaves that get gradients
  at::Tensor result = {};  // with its graph
  at::Tensor weight = {};  // its gradient
  std::vector<double> forward_samples = {}, backward_samples = {};

  /// One call without a graph; one gradient of the result, of all leaves that get one.
  Timed forward() const;
  Timed backward() const;
  bool has_backward() const { return result.defined() && result.requires_grad(); }
};

/// One for each side, in their order, each of which has run once; results are compared with
/// LibTorch's, or else with the first rival's. A side that cannot says why in `out.failed`.
std::vector<Runner> make_runners(const Case& c, const OpsOptions& options);

/// Does the step; where it throws, the runner says what went wrong instead of times. A runner that
/// has failed before does nothing.
template <class Step>
void guarded(Runner& runner, Step step) {
  if (!runner.out.failed.empty()) return;
  try {
    step();
  } catch (const std::exception& error) {
    runner.out.failed = first_line(error);
    if (runner.out.failed.empty()) runner.out.failed = "failed without a word";
  }
}

}  // namespace praxino::bench
