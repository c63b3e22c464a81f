#pragma once
// Calls that are too short to be timed one by one: many of them in one recorded step, each on
// operands of its own, timed together.

#include <vector>

#include "bench/cases.h"
#include "bench/stopwatch.h"
#include "praxino/bench/ops.h"
#include "praxino/ops/step_graph.h"

namespace praxino::bench {

/// How many calls one step holds, of operands of so many bytes: 4 to 32.
int64_t calls_of_replay(double bytes);

/// Measures the forward pass of all sides of the case again, as SideResult::replayed. Sides that
/// failed, that need work before each call, or that cannot be recorded are left as they are.
void measure_replays(const Case& c, CaseResult& result, Stopwatch& watch,
                     ops::StepRecorder& recorder, const OpsOptions& options);

}  // namespace praxino::bench
