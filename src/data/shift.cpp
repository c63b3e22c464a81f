#include "data/shift.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "data/check_motion.h"
#include "data/shift_regression.h"
#include "praxino/base/random.h"

namespace praxino {
namespace {

constexpr int64_t kPast = 2;    // motions before the one that is explained
constexpr int64_t kBlock = 32;  // samples in a block: about as long as an action lasts, and longer
constexpr int64_t kMinSamples = 160;
constexpr int64_t kFolds = 5;
constexpr int64_t kShifts = 2 * kMaxShift + 1;
constexpr int64_t kMaxIndicators = 16;  // of one discrete field

// A moment whose motion is to be explained.
struct Sample {
  const MotionSeries* series;
  const MotionStretch* stretch;
  int64_t entry;  // in the stretch
  int64_t block;
};

std::vector<Sample> collect_samples(const std::vector<MotionSeries>& all, int64_t row_offset) {
  std::vector<Sample> samples;
  int64_t block = 0;
  for (const MotionSeries& series : all) {
    for (const MotionStretch& stretch : series.stretches) {
      int64_t in_block = 0;
      for (int64_t i = kPast; i < stretch.size(); ++i) {
        const int64_t row = stretch.first + i + row_offset;
        if (row < kMaxShift || row + kMaxShift >= series.actions->rows) continue;
        if (in_block == kBlock) {
          in_block = 0;
          ++block;
        }
        ++in_block;
        samples.push_back({&series, &stretch, i, block});
      }
      ++block;
    }
  }
  return samples;
}

// How one field enters the regression: its value, or an indicator for each of its commonest values
// but one.
struct Feature {
  int64_t field;
  bool indicator;
  float value;  // of the indicator
};

std::vector<Feature> list_features(const std::vector<MotionSeries>& all,
                                   const std::vector<ActionField>& fields) {
  std::vector<Feature> features;
  for (int64_t f = 0; f < static_cast<int64_t>(fields.size()); ++f) {
    if (fields[static_cast<size_t>(f)].kind != "discrete") {
      features.push_back({f, false, 0});
      continue;
    }
    std::map<float, int64_t> counts;
    for (const MotionSeries& series : all) {
      for (int64_t k = 0; k < series.actions->rows; ++k)
        ++counts[series.actions->row(k)[static_cast<size_t>(f)]];
    }
    std::vector<std::pair<int64_t, float>> common;
    for (const auto& [value, count] : counts) common.emplace_back(-count, value);
    std::sort(common.begin(), common.end());
    for (size_t i = 1; i < common.size() && i <= kMaxIndicators; ++i) {
      features.push_back({f, true, common[i].second});
    }
  }
  return features;
}

// The motion of each sample and, to its right, the motions before it: the newest first.
Matrix motion_rows(const std::vector<Sample>& samples, int64_t newest, int64_t count) {
  Matrix rows(static_cast<int64_t>(samples.size()), count * kMotionValues);
  auto out = rows.values.begin();
  for (const Sample& s : samples) {
    for (int64_t back = newest; back < newest + count; ++back) {
      const auto from = s.stretch->values.begin() + (s.entry - back) * kMotionValues;
      out = std::copy(from, from + kMotionValues, out);
    }
  }
  standardize(rows);
  return rows;
}

// The past motions with, to their right, the actions of the rows at `offset`.
Matrix explaining_rows(const Matrix& past, const std::vector<Sample>& samples,
                       const std::vector<Feature>& features, int64_t offset) {
  Matrix rows(past.rows, static_cast<int64_t>(features.size()));
  auto out = rows.values.begin();
  for (const Sample& s : samples) {
    const auto row = s.series->actions->row(s.stretch->first + s.entry + offset);
    for (const Feature& f : features) {
      const float value = row[static_cast<size_t>(f.field)];
      *out++ = f.indicator ? static_cast<double>(value == f.value) : static_cast<double>(value);
    }
  }
  standardize(rows);
  Matrix both(past.rows, past.columns + rows.columns);
  for (int64_t i = 0; i < past.rows; ++i) {
    const auto end = std::copy(past.row(i).begin(), past.row(i).end(), both.row(i).begin());
    std::copy(rows.row(i).begin(), rows.row(i).end(), end);
  }
  return both;
}

// The squared error that each sample was saved, each motion weighing the same: 1 a sample where all
// of it was. A motion that never varies has no error to save.
std::vector<double> sample_gains(const Matrix& base, const Matrix& errors) {
  std::vector<double> weights(static_cast<size_t>(base.columns));
  for (int64_t i = 0; i < base.rows; ++i) {
    for (size_t c = 0; c < weights.size(); ++c) weights[c] += base.row(i)[c];
  }
  const auto varying =
      std::count_if(weights.begin(), weights.end(), [](double sum) { return sum > 0; });
  for (double& w : weights) {
    if (w > 0) w = static_cast<double>(base.rows) / (w * static_cast<double>(varying));
  }
  std::vector<double> gains(static_cast<size_t>(base.rows));
  for (int64_t i = 0; i < base.rows; ++i) {
    for (size_t c = 0; c < weights.size(); ++c) {
      gains[static_cast<size_t>(i)] += weights[c] * (base.row(i)[c] - errors.row(i)[c]);
    }
  }
  return gains;
}

std::vector<double> add_up(const std::vector<const std::vector<double>*>& blocks) {
  std::vector<double> sums(kShifts);
  for (const std::vector<double>* gains : blocks) {
    for (size_t s = 0; s < sums.size(); ++s) sums[s] += (*gains)[s];
  }
  return sums;
}

int64_t best_shift(const std::vector<double>& sums) {
  return std::max_element(sums.begin(), sums.end()) - sums.begin() - kMaxShift;
}

}  // namespace

int64_t MotionStretch::size() const { return static_cast<int64_t>(values.size()) / kMotionValues; }

ShiftEvidence gather_evidence(const std::vector<MotionSeries>& series,
                              const DatasetConfig& dataset) {
  const int64_t offset = dataset.alignment == "action_before_frame" ? 1 : 0;
  const std::vector<Sample> samples = collect_samples(series, offset);
  const auto count = static_cast<int64_t>(samples.size());
  if (count < kMinSamples) return {};
  const std::vector<Feature> features = list_features(series, dataset.actions);
  if (features.empty()) return {};

  std::vector<int64_t> fold;
  for (const Sample& s : samples) fold.push_back(s.block % kFolds);
  const Matrix motion = motion_rows(samples, 0, 1);
  const Matrix past = motion_rows(samples, 1, kPast);
  const Matrix base = held_out_errors(past, motion, fold, kFolds);
  ShiftEvidence evidence;
  evidence.samples = count;
  evidence.gains.assign(static_cast<size_t>(samples.back().block + 1),
                        std::vector<double>(kShifts));
  for (int64_t shift = 0; shift < kShifts; ++shift) {
    const Matrix x = explaining_rows(past, samples, features, offset + shift - kMaxShift);
    const std::vector<double> gains = sample_gains(base, held_out_errors(x, motion, fold, kFolds));
    for (size_t i = 0; i < samples.size(); ++i) {
      evidence.gains[static_cast<size_t>(samples[i].block)][static_cast<size_t>(shift)] += gains[i];
    }
  }
  return evidence;
}

ShiftEstimate judge_shift(const std::vector<ShiftEvidence>& evidence) {
  constexpr int kResamples = 1000;
  constexpr double kLeastExplained = 0.01;
  std::vector<const std::vector<double>*> blocks;
  int64_t samples = 0;
  for (const ShiftEvidence& e : evidence) {
    samples += e.samples;
    for (const auto& gains : e.gains) blocks.push_back(&gains);
  }
  ShiftEstimate estimate;
  if (blocks.empty()) {
    estimate.reason = "too few labelled frames";
    return estimate;
  }
  const std::vector<double> sums = add_up(blocks);
  estimate.best = best_shift(sums);
  for (int64_t s = -kMaxShift; s <= kMaxShift; ++s) {
    estimate.scores.push_back(
        {s, sums[static_cast<size_t>(s + kMaxShift)] / static_cast<double>(samples)});
  }
  Random random(derive_seed(0, "data check", blocks.size()));
  auto resample = blocks;
  int agree = 0;
  for (int i = 0; i < kResamples; ++i) {
    for (auto& block : resample) {
      block = blocks[static_cast<size_t>(random.integer(static_cast<int64_t>(blocks.size())))];
    }
    agree += best_shift(add_up(resample)) == estimate.best;
  }
  estimate.confidence = static_cast<double>(agree) / kResamples;
  const double explained = *std::max_element(sums.begin(), sums.end());
  estimate.known = explained >= kLeastExplained * static_cast<double>(samples);
  if (!estimate.known) estimate.reason = "the actions explain next to nothing of the motion";
  return estimate;
}

}  // namespace praxino
