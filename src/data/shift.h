#pragma once
// Which shift between actions and motion explains the motion best.

#include <cstdint>
#include <vector>

#include "praxino/config/actions.h"
#include "praxino/data/actions.h"
#include "praxino/data/check.h"

namespace praxino {

/// The motion between consecutive frames of one stretch of a recording: entry i is from frame first
/// + i to the next; `values` is entries x kMotionValues, row-major.
struct MotionStretch {
  int64_t first = 0;
  std::vector<double> values;
  int64_t size() const;
};

/// The labelled recordings of one file.
struct MotionSeries {
  const ActionTable* actions = nullptr;  // borrowed
  std::vector<MotionStretch> stretches;
};

/// How much each block of time speaks for each shift: evidence adds up, over the blocks of any set
/// of files.
struct ShiftEvidence {
  std::vector<std::vector<double>>
      gains;  // blocks x shifts: squared error saved, in parts of all of it
  int64_t samples = 0;
  bool empty() const { return gains.empty(); }
};

inline constexpr int64_t kMaxShift = 5;  // shifts -kMaxShift .. kMaxShift

/// Ridge regression of motion on its own two past values and the actions at each shift,
/// cross-validated over blocks of time; the past takes up inertia, which would otherwise favour
/// late actions. All series share one set of coefficients. Empty where there are too few samples or
/// nothing varies.
ShiftEvidence gather_evidence(const std::vector<MotionSeries>& series,
                              const DatasetConfig& dataset);

/// The best shift of all evidence together and its bootstrap confidence. Deterministic.
ShiftEstimate judge_shift(const std::vector<ShiftEvidence>& evidence);

}  // namespace praxino
