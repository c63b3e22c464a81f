// The measurements of `praxino bench ops`, case by case.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn_like.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <thread>

#include "bench/cases.h"
#include "bench/stopwatch.h"
#include "praxino/base/error.h"
#include "praxino/bench/ops.h"
#include "praxino/ops/kernels.h"

namespace praxino::bench {
namespace {

using at::Tensor;

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

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
  for (const ops::KernelStatus& row : ops::kernel_table(options.device)) {
    if (row.op == c.op && row.type == options.type && row.state == ops::KernelState::kAgrees)
      return std::string(row.tier);
  }
  return {};
}

/// One side of a case, ready to be timed.
struct Runner {
  const Side* side = nullptr;
  SideResult out = {};
  Inputs leaves = {};
  Inputs asked = {};   // the leaves that get gradients
  Tensor result = {};  // with its graph
  Tensor weight = {};  // its gradient
  std::vector<double> forward = {}, backward = {};

  void forward_once() const {
    const at::NoGradGuard off;
    side->run(leaves);
  }
  void backward_once() const {
    torch::autograd::grad({result}, asked, {weight}, true, false, true);
  }
};

double relative_error(const Tensor& got, const Tensor& want) {
  if (got.sizes() != want.sizes()) return std::nan("");
  const double scale = std::max(want.abs().max().item<double>(), 1e-30);
  return (got.to(at::kFloat) - want).abs().max().item<double>() / scale;
}

Runner prepare(const Side& side, const Case& c, const Inputs& inputs) {
  Runner runner{.side = &side, .out = {.name = side.name}};
  runner.leaves = side.prepare ? side.prepare(inputs) : inputs;
  for (size_t i = 0; i < runner.leaves.size(); ++i) {
    Tensor leaf = runner.leaves[i].detach();
    if (side.prepare) leaf = leaf.clone();  // a library's layout may be a view of the inputs
    if (i < c.gradients) runner.asked.push_back(leaf.requires_grad_());
    runner.leaves[i] = leaf;
  }
  runner.result = side.run(runner.leaves);
  if (runner.result.requires_grad()) runner.weight = at::randn_like(runner.result);
  return runner;
}

/// Says what went wrong instead of times.
template <class Step>
void guarded(Runner& runner, Step step) {
  if (!runner.out.failed.empty()) return;
  try {
    step();
  } catch (const std::exception& error) {
    runner.out.failed = first_line(error.what());
    if (runner.out.failed.empty()) runner.out.failed = "failed without a word";
  }
}

std::vector<Runner> prepare_all(const Case& c, const OpsOptions& options) {
  const Inputs inputs = c.inputs(at::TensorOptions(options.type).device(options.device));
  const std::string tier = trusted_tier(c, options);
  std::vector<Runner> runners;
  Tensor want;
  for (const Side& side : c.sides) {
    Runner runner{.side = &side, .out = {.name = side.name}};
    guarded(runner, [&] { runner = prepare(side, c, inputs); });
    if (runner.result.defined() && side.name == "LibTorch")
      want = runner.result.detach().to(at::kFloat);
    runners.push_back(std::move(runner));
  }
  for (Runner& runner : runners) {
    if (!runner.result.defined()) continue;
    runner.out.by = runner.side->name == "praxino" ? made_by(runner.result, tier) : "";
    // Another layout of the same values is compared by whoever has a test for it.
    if (want.defined() && !runner.side->prepare)
      runner.out.error = relative_error(runner.result.detach(), want);
  }
  return runners;
}

/// Rounds over all sides, in turn from the first and from the last, so that no side always follows
/// the same one.
void measure_all(std::vector<Runner>& runners, Stopwatch& watch, const OpsOptions& options) {
  constexpr int64_t kRounds = 3;
  const int64_t each = (options.repetitions + kRounds - 1) / kRounds;
  for (int64_t round = 0; round < kRounds; ++round) {
    for (Runner& runner : runners) {
      guarded(runner, [&] {
        const double seconds = options.warm_up_seconds / (round == 0 ? 1 : kRounds);
        watch.warm_up([&] { runner.forward_once(); }, seconds);
        for (const double s : watch.sample([&] { runner.forward_once(); }, each))
          runner.forward.push_back(s);
        if (!runner.result.requires_grad()) return;
        watch.warm_up([&] { runner.backward_once(); }, seconds);
        for (const double s : watch.sample([&] { runner.backward_once(); }, each))
          runner.backward.push_back(s);
      });
    }
    std::ranges::reverse(runners);
  }
}

CaseResult measure_case(const Case& c, Stopwatch& watch, const OpsOptions& options) {
  CaseResult result{.name = c.name,
                    .op = c.op,
                    .shape = c.shape,
                    .forward = c.forward,
                    .backward = c.backward,
                    .sides = {}};
  std::vector<Runner> runners = prepare_all(c, options);
  measure_all(runners, watch, options);
  for (const Side& side : c.sides) {
    Runner& runner =
        *std::ranges::find_if(runners, [&](const Runner& r) { return r.side == &side; });
    if (runner.out.failed.empty()) {
      runner.out.forward = times_of(runner.forward);
      if (!runner.backward.empty()) runner.out.backward = times_of(runner.backward);
    }
    result.sides.push_back(runner.out);
  }
  return result;
}

std::vector<Case> chosen_cases(const OpsOptions& options) {
  const Scale scale = options.small              ? Scale::kTest
                      : options.device.is_cuda() ? Scale::kGpu
                                                 : Scale::kCpu;
  std::vector<Case> cases = all_cases(scale, options.type);
  std::string names;
  for (const Case& c : cases) names += (names.empty() ? "" : ", ") + c.name;
  std::erase_if(cases, [&](const Case& c) { return c.name.find(options.only) == c.name.npos; });
  if (cases.empty()) fail_usage("no case has '{}' in its name; there are {}", options.only, names);
  for (Case& c : cases) {
    if (options.ours_alone) c.sides.resize(1);
  }
  return cases;
}

void settle(const Stopwatch& watch, double seconds) {
  watch.finish();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

}  // namespace

std::vector<Case> all_cases(Scale scale, at::ScalarType type) {
  std::vector<Case> all;
  for (auto make : {row_cases, attention_cases}) {
    for (Case& c : make(scale, type)) all.push_back(std::move(c));
  }
  return all;
}

OpsReport measure_ops(const OpsOptions& options,
                      const std::function<void(const std::string&)>& progress) {
  const auto begin = std::chrono::steady_clock::now();
  const auto minutes = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / 60;
  };
  const std::vector<Case> cases = chosen_cases(options);
  ops::check_kernels(options.device);
  OpsReport report{.device = options.device_name,
                   .libraries = fmt::format("LibTorch {}", TORCH_VERSION)};
  Stopwatch watch(options);
  settle(watch, options.pause_seconds);
  report.ceilings.cold_copy = watch.copy_rate();
  settle(watch, options.pause_seconds);
  report.ceilings.cold_product = watch.product_rate();
  for (const Case& c : cases) {
    if (options.minutes > 0 && minutes() >= options.minutes) {
      report.left_out.push_back(c.name);
      continue;
    }
    if (progress) progress(fmt::format("{} {}", c.name, c.shape));
    settle(watch, options.pause_seconds);
    report.cases.push_back(measure_case(c, watch, options));
  }
  report.ceilings.copy = std::max(watch.copy_rate(), report.ceilings.cold_copy);
  report.ceilings.product = std::max(watch.product_rate(), report.ceilings.cold_product);
  return report;
}

}  // namespace praxino::bench
