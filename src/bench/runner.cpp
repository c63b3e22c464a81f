#include "bench/runner.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn_like.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <cmath>

#include "praxino/ops/kernels.h"

namespace praxino::bench {
namespace {

using at::Tensor;

/// What made a tensor: a kernel, one of our loops, or LibTorch's operations. Without a graph that
/// would tell: the kernel that the operation takes.
std::string made_by(const Tensor& result, const std::string& tier) {
  if (result.grad_fn() == nullptr) return tier.empty() ? "" : fmt::format("kernel ({})", tier);
  std::string seen;
  std::vector<const torch::autograd::Node*> nodes = {result.grad_fn().get()};
  for (int depth = 0; depth < 3; ++depth) {  // below views of the result
    std::vector<const torch::autograd::Node*> next;
    for (const auto* node : nodes) {
      if (node == nullptr) continue;
      seen += node->name() + "\n";
      for (const auto& edge : node->next_edges()) next.push_back(edge.function.get());
    }
    nodes = std::move(next);
  }
  if (seen.find("praxino::ops::cuda::") != seen.npos)
    return tier.empty() ? "kernel" : fmt::format("kernel ({})", tier);
  return seen.find("praxino::ops::") != seen.npos ? "loops" : "formula";
}

/// The best tier that the operation has a trusted kernel of.
std::string trusted_tier(const Case& c, const OpsOptions& options) {
  const at::ScalarType type = c.type.value_or(options.type);
  for (const ops::KernelStatus& row : ops::kernel_table(options.device)) {
    if (row.op == c.op && row.type == type && row.state == ops::KernelState::kAgrees)
      return std::string(row.tier);
  }
  return {};
}

/// Of numbers: the largest difference, relative to the largest value. Of choices, such as indices:
/// the share that differs.
double error_of(const Tensor& got, const Tensor& want) {
  if (got.sizes() != want.sizes()) return std::nan("");
  if (!got.is_floating_point()) return got.ne(want).to(at::kFloat).mean().item<double>();
  const double scale = std::max(want.abs().max().item<double>(), 1e-30);
  return (got.to(at::kFloat) - want.to(at::kFloat)).abs().max().item<double>() / scale;
}

void prepare(Runner& runner, const Case& c, const Inputs& inputs) {
  const Side& side = *runner.side;
  runner.leaves = side.prepare ? side.prepare(inputs) : inputs;
  for (size_t i = 0; i < runner.leaves.size(); ++i) {
    Tensor leaf = runner.leaves[i].detach();
    // A library's layout may be a view of the inputs.
    if (side.prepare || c.in_place) leaf = leaf.clone();
    if (i < c.gradients) runner.asked.push_back(leaf.requires_grad_());
    runner.leaves[i] = leaf;
  }
  runner.run = side.bind ? side.bind(runner.leaves) : side.run;
  runner.result = runner.run(runner.leaves);
  if (runner.result.requires_grad()) runner.weight = at::randn_like(runner.result);
}

/// In the layout of the case; undefined where there is none to compare.
Tensor comparable(const Runner& runner) {
  if (!runner.result.defined() || (runner.side->prepare && !runner.side->restore)) return {};
  const Tensor result = runner.result.detach();
  return runner.side->restore ? runner.side->restore(result) : result;
}

/// With LibTorch's result; where it has no part, with the first other one.
void compare(std::vector<Runner>& runners) {
  Tensor want;
  for (Runner& runner : runners) {
    if (runner.out.name == "praxino" || want.defined()) continue;
    guarded(runner, [&] {
      if (const Tensor result = comparable(runner); result.defined()) want = result.clone();
    });
  }
  if (!want.defined()) return;
  for (Runner& runner : runners) {
    guarded(runner, [&] {
      if (const Tensor result = comparable(runner); result.defined())
        runner.out.error = error_of(result, want);
    });
  }
}

}  // namespace

Timed Runner::forward() const {
  Timed timed{.run = [this] {
    const at::NoGradGuard off;
    run(leaves);
  }};
  if (side->before) timed.before = [this] { side->before(leaves); };
  return timed;
}

Timed Runner::backward() const {
  return {.run = [this] {
    torch::autograd::grad({result}, asked, {weight}, /*retain_graph=*/true, /*create_graph=*/false,
                          /*allow_unused=*/true);
  }};
}

std::vector<Runner> make_runners(const Case& c, const OpsOptions& options) {
  std::vector<Runner> runners;
  for (const Side& side : c.sides) runners.push_back({.side = &side, .out = {.name = side.name}});
  Inputs inputs;
  for (Runner& runner : runners) {
    guarded(runner, [&] {
      if (inputs.empty()) inputs = c.inputs(at::TensorOptions(options.type).device(options.device));
      prepare(runner, c, inputs);
    });
  }
  compare(runners);
  const std::string tier = trusted_tier(c, options);
  for (Runner& runner : runners) {
    if (runner.out.name == "praxino" && runner.result.defined())
      runner.out.by = made_by(runner.result, tier);
  }
  return runners;
}

}  // namespace praxino::bench
