// The measurements of `praxino bench ops`, case by case.
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <set>
#include <thread>

#include "bench/cases.h"
#include "bench/replay.h"
#include "bench/runner.h"
#include "bench/stopwatch.h"
#include "praxino/base/error.h"
#include "praxino/base/first_line.h"
#include "praxino/base/log.h"
#include "praxino/bench/ops.h"
#include "praxino/ops/kernels.h"
#include "praxino/ops/step_graph.h"

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

void settle(const Stopwatch& watch, double seconds) {
  watch.finish();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

/// Whether there is time for another case, which is then announced.
using Begins = std::function<bool(const std::string& name)>;

std::string full_name(const Case& c) { return fmt::format("{} {}", c.name, c.shape); }

/// The cases that begin; the others are left out.
std::vector<Case> measure_cases(const std::vector<Case>& cases, OpsReport& report, Stopwatch& watch,
                                const OpsOptions& options, const Begins& begins) {
  std::vector<Case> measured;
  for (const Case& c : cases) {
    if (!begins(full_name(c))) {
      report.left_out.push_back(c.name);
      continue;
    }
    settle(watch, options.pause_seconds);
    report.cases.push_back(measure_case(c, watch, options));
    measured.push_back(c);
  }
  return measured;
}

/// After all else, since a recording that fails may leave a device behind that fails, too.
void measure_short_calls(const std::vector<Case>& cases, OpsReport& report, Stopwatch& watch,
                         const OpsOptions& options, const Begins& begins) {
  const std::unique_ptr<ops::StepRecorder> recorder = ops::make_recorder(options.device);
  if (!recorder) return;
  for (size_t i = 0; i < report.cases.size(); ++i) {
    CaseResult& result = report.cases[i];
    const Times& ours = result.sides.front().forward;
    if (ours.repetitions == 0 || ours.median >= options.replay_below_seconds) continue;
    if (!begins(full_name(cases[i]) + ", replayed")) return;
    settle(watch, options.pause_seconds);
    measure_replays(cases[i], result, watch, *recorder, options);
  }
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

}  // namespace

std::vector<Case> all_cases(Scale scale, at::ScalarType type) {
  std::vector<Case> all;
  std::set<std::string> known;
  for (auto make : {attention_cases, row_cases, token_cases, loss_cases, optimizer_cases,
                    attention_step_cases}) {
    for (Case& c : make(scale, type)) {
      const bool added = known.insert(c.name + " " + c.shape).second;
      if (added || scale == Scale::kGpu) all.push_back(std::move(c));  // smaller sizes are equal
    }
  }
  return all;
}

OpsReport measure_ops(const OpsOptions& options,
                      const std::function<void(const std::string&)>& progress) {
  const auto begin = std::chrono::steady_clock::now();
  const Begins begins = [&](const std::string& name) {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    if (options.minutes > 0 && passed.count() / 60 >= options.minutes) return false;
    if (progress) progress(name);
    return true;
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
  report.ceilings.copy = report.ceilings.cold_copy;
  report.ceilings.product = report.ceilings.cold_product;
  try {
    const std::vector<Case> measured = measure_cases(cases, report, watch, options, begins);
    report.ceilings.copy = std::max(watch.copy_rate(), report.ceilings.copy);
    report.ceilings.product = std::max(watch.product_rate(), report.ceilings.product);
    measure_short_calls(measured, report, watch, options, begins);
  } catch (const std::exception& error) {  // a device that a case has broken: the rest is worth it
    log::warning("not measured to the end: {}", first_line(error));
  }
  return report;
}

}  // namespace praxino::bench
