#include "praxino/data/check.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "data/check_file.h"
#include "praxino/base/error.h"
#include "praxino/base/progress.h"
#include "praxino/base/threads.h"

namespace praxino {
namespace {

constexpr double kFrozenShare = 0.25;  // of a file: more is a problem

// Files judge for themselves where they are long enough; the others share one set of coefficients.
void judge_shifts(const Dataset& dataset, std::vector<Examined>& files, CheckReport& report) {
  std::vector<ShiftEvidence> evidence;
  std::vector<MotionSeries> rest;
  for (size_t i = 0; i < files.size(); ++i) {
    Examined& file = files[i];
    if (!file.check.labelled || !file.check.refused.empty()) continue;
    const MotionSeries series{&dataset.files()[i].actions, std::move(file.motion)};
    ShiftEvidence own = gather_evidence({series}, dataset.config());
    file.check.shift = judge_shift({own});
    if (own.empty()) {
      rest.push_back(series);
    } else {
      evidence.push_back(std::move(own));
    }
  }
  evidence.push_back(gather_evidence(rest, dataset.config()));
  report.shift = judge_shift(evidence);
}

std::string shift_remedy(const std::string& alignment, int64_t best) {
  if (alignment == "action_at_frame" && best == 1) {
    return "as if dataset.yaml should say `alignment: action_before_frame`";
  }
  if (alignment == "action_before_frame" && best == -1) {
    return "as if dataset.yaml should say `alignment: action_at_frame`";
  }
  if (best < 0) return fmt::format("insert {} at the start of the sidecars", -best);
  return fmt::format("drop the first {} of the sidecars", best);
}

std::string shift_problem(const std::string& who, const CheckReport& report,
                          const ShiftEstimate& shift) {
  const int64_t rows = std::abs(shift.best);
  return fmt::format("{}: the actions come {} {} too {} (confidence {:.2f}): {}", who, rows,
                     rows == 1 ? "row" : "rows", shift.best < 0 ? "early" : "late",
                     shift.confidence, shift_remedy(report.alignment, shift.best));
}

void list_file_problems(const CheckReport& report, const FileCheck& file,
                        std::vector<std::string>& problems) {
  if (!file.refused.empty()) {
    // Most reasons begin with the path already.
    problems.push_back(file.refused.find(file.name) != std::string::npos
                           ? file.refused
                           : fmt::format("{}: {}", file.name, file.refused));
    return;
  }
  if (!file.gaps.empty()) {
    problems.push_back(
        fmt::format("{}: about {} frames are missing at {} gaps in time, the first after frame {}",
                    file.name, file.frames_missing(), file.gaps.size(), file.gaps[0].frame));
  }
  if (!file.bunched.empty()) {
    problems.push_back(
        fmt::format("{}: {} frames share nearly one time with the next, the first is frame {}",
                    file.name, file.bunched.size(), file.bunched[0]));
  }
  if (static_cast<double>(file.frames_frozen()) >
      kFrozenShare * static_cast<double>(file.frames_examined)) {
    problems.push_back(fmt::format("{}: the picture stands still in {} of {} frames", file.name,
                                   file.frames_frozen(), file.frames_examined));
  }
  const int64_t common = report.shift.wrong() ? report.shift.best : 0;
  if (file.shift.wrong() && file.shift.best != common) {
    problems.push_back(shift_problem(file.name, report, file.shift));
  }
}

void list_problems(CheckReport& report) {
  if (!report.failure.empty()) report.problems.push_back(report.failure);
  if (report.shift.wrong())
    report.problems.push_back(shift_problem("all files", report, report.shift));
  for (const FileCheck& file : report.files) list_file_problems(report, file, report.problems);
}

void check_files(const Dataset& dataset, const CheckOptions& options, CheckReport& report) {
  const auto count = static_cast<int64_t>(dataset.files().size());
  std::vector<Examined> files(dataset.files().size());
  Progress progress("checking", count);
  std::mutex progress_mutex;
  int64_t done = 0;
  parallel_for_each(count, options.workers, [&](int64_t i) {
    files[static_cast<size_t>(i)] =
        examine(dataset.files()[static_cast<size_t>(i)], options.frames_per_file);
    const std::scoped_lock lock(progress_mutex);
    progress.update(++done);
  });
  judge_shifts(dataset, files, report);
  for (Examined& file : files) report.files.push_back(std::move(file.check));
  std::stable_partition(report.files.begin(), report.files.end(),
                        [](const FileCheck& file) { return file.refused.empty(); });
}

}  // namespace

int64_t FileCheck::frames_missing() const {
  int64_t sum = 0;
  for (const TimeGap& gap : gaps) sum += gap.frames_missing;
  return sum;
}

int64_t FileCheck::frames_frozen() const {
  int64_t sum = 0;
  for (const FrozenRun& run : frozen) sum += run.last - run.first + 1;
  return sum;
}

int64_t CheckReport::usable() const {
  return std::count_if(files.begin(), files.end(),
                       [](const FileCheck& file) { return file.refused.empty(); });
}

CheckReport check_dataset(const std::filesystem::path& folder, const CheckOptions& options) {
  CheckReport report;
  report.folder = folder.string();
  try {
    const Dataset dataset = Dataset::open(folder, options.workers);
    report.alignment = dataset.config().alignment;
    check_files(dataset, options, report);
    for (const RefusedFile& file : dataset.refused()) {
      FileCheck check;
      check.name = file.name;
      check.refused = file.reason;
      report.files.push_back(std::move(check));
    }
  } catch (const Error& error) {
    report.failure = error.what();
  }
  list_problems(report);
  return report;
}

int check_exit_code(const CheckReport& report, bool strict) {
  return report.usable() == 0 || (strict && !report.problems.empty()) ? 1 : 0;
}

}  // namespace praxino
