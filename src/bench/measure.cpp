// The measurements of `praxino bench ops`, case by case.
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>

#include "bench/cases.h"
#include "bench/runner.h"
#include "bench/stopwatch.h"
#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/bench/ops.h"
#include "praxino/ops/kernels.h"

namespace praxino::bench {
namespace {

constexpr int64_t kRounds = 3;

/// Rounds over all sides, in turn from the first and from the last, so that no side always follows
/// the same one.
void measure_all(std::vector<Runner>& runners, Stopwatch& watch, const OpsOptions& options) {
  const Sampling sampling{.repetitions = (options.repetitions + kRounds - 1) / kRounds,
                          .least = 2,
                          .seconds = options.seconds / kRounds};
  for (int64_t round = 0; round < kRounds; ++round) {
    const double warm_up = options.warm_up_seconds / (round == 0 ? 1 : kRounds);
    const auto measure = [&](const Timed& timed, std::vector<double>& samples) {
      watch.warm_up(timed, warm_up);
      for (const double s : watch.sample(timed, sampling)) samples.push_back(s);
    };
    const auto both = [&](Runner& runner) {
      guarded(runner, [&] {
        measure(runner.forward(), runner.forward_samples);
        if (runner.has_backward()) measure(runner.backward(), runner.backward_samples);
      });
    };
    if (round % 2 == 0) {
      std::ranges::for_each(runners, both);
    } else {
      std::for_each(runners.rbegin(), runners.rend(), both);
    }
  }
}

CaseResult measure_case(const Case& c, Stopwatch& watch, const OpsOptions& options) {
  CaseResult result{.name = c.name,
                    .op = c.op,
                    .shape = c.shape,
                    .forward = c.forward,
                    .backward = c.backward,
                    .sides = {}};
  std::vector<Runner> runners = make_runners(c, options);
  measure_all(runners, watch, options);
  for (Runner& runner : runners) {
    if (runner.out.failed.empty()) {
      runner.out.forward = times_of(runner.forward_samples);
      if (!runner.backward_samples.empty()) runner.out.backward = times_of(runner.backward_samples);
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
  for (auto make : {attention_cases, row_cases, token_cases, loss_cases, optimizer_cases,
                    attention_step_cases}) {
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
  report.ceilings.copy = report.ceilings.cold_copy;
  report.ceilings.product = report.ceilings.cold_product;
  try {
    report.ceilings.copy = std::max(watch.copy_rate(), report.ceilings.copy);
    report.ceilings.product = std::max(watch.product_rate(), report.ceilings.product);
  } catch (const std::exception& error) {  // a device that a case has broken: the rest is worth it
    log::warning("the ceilings are those of the start: {}", error.what());
  }
  return report;
}

}  // namespace praxino::bench
