#include "bench/replay.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <exception>

#include "bench/runner.h"
#include "praxino/base/first_line.h"
#include "praxino/base/log.h"

namespace praxino::bench {
namespace {

Times replayed(const std::vector<const Runner*>& calls, Stopwatch& watch,
               ops::StepRecorder& recorder, const OpsOptions& options) {
  std::vector<at::Tensor> results;  // of their own memory, too
  const auto step = [&] {
    const at::NoGradGuard off;
    for (const Runner* call : calls) results.push_back(call->run(call->leaves));
  };
  const std::unique_ptr<ops::RecordedStep> recorded = recorder.record(step);
  const Timed timed{.run = [&] { recorded->replay(); }};
  watch.warm_up(timed, options.warm_up_seconds);
  std::vector<double> samples = watch.sample(
      timed, {.repetitions = options.repetitions, .least = 6, .seconds = options.seconds});
  watch.finish();
  for (double& sample : samples) sample /= static_cast<double>(calls.size());
  return times_of(std::move(samples));
}

}  // namespace

int64_t calls_of_replay(double bytes) {
  constexpr double kMostBytes = 2e9;  // of operands and results of one side
  return static_cast<int64_t>(std::clamp(std::floor(kMostBytes / std::max(bytes, 1.0)), 4.0, 32.0));
}

void measure_replays(const Case& c, CaseResult& result, Stopwatch& watch,
                     ops::StepRecorder& recorder, const OpsOptions& options) {
  std::vector<std::vector<Runner>> calls;
  for (int64_t i = calls_of_replay(c.forward.bytes); i > 0; --i) {
    calls.push_back(make_runners(c, options));
    for (Runner& runner : calls.back()) runner.result = at::Tensor();  // with its graph
  }
  for (size_t i = 0; i < c.sides.size(); ++i) {
    SideResult& side = result.sides[i];
    if (!side.failed.empty() || c.sides[i].before) continue;
    std::vector<const Runner*> of_side;
    for (const std::vector<Runner>& call : calls) of_side.push_back(&call[i]);
    try {
      side.replayed = replayed(of_side, watch, recorder, options);
    } catch (const std::exception& error) {
      log::warning("{} {}: not replayed: {}", c.name, side.name, first_line(error));
    }
  }
}

}  // namespace praxino::bench
