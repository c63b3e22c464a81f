// The two faces of a CheckReport: text and JSON.

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "praxino/base/progress.h"
#include "praxino/data/check.h"

namespace praxino {
namespace {

using Json = nlohmann::ordered_json;

std::string shift_text(const ShiftEstimate& shift) {
  if (!shift.known) return "?";
  return fmt::format("{:+d} ({:.0f} %)", shift.best, 100 * shift.confidence);
}

std::string file_line(const FileCheck& f, size_t name_width) {
  const std::string size = fmt::format("{}x{}", f.width, f.height);
  return fmt::format("  {:<{}}  {:>8}  {:>9}  {:>6.2f}  {:>7}  {:>6}  {}\n", f.name, name_width,
                     f.frames, size, f.fps, f.frames_missing(), f.frames_frozen(),
                     f.labelled ? shift_text(f.shift) : "no actions");
}

std::string shift_paragraph(const CheckReport& report) {
  if (!report.shift.known) {
    return fmt::format("alignment: cannot tell whether `{}` is right: {}\n", report.alignment,
                       report.shift.reason);
  }
  std::string text =
      fmt::format("alignment `{}`: best shift {}; motion explained at each shift of the rows:\n ",
                  report.alignment, shift_text(report.shift));
  for (const ShiftScore& score : report.shift.scores) {
    text += fmt::format(" {:+d}: {:.1f} %", score.shift, 100 * score.explained);
  }
  return text + "\n";
}

std::string table(const CheckReport& report) {
  size_t name_width = 4;
  int64_t frames = 0;
  double seconds = 0;
  for (const FileCheck& f : report.files) {
    name_width = std::max(name_width, f.name.size());
    frames += f.frames;
    seconds += f.seconds;
  }
  std::string text = fmt::format("{}: {} usable files, {} frames, {}\n", report.folder,
                                 report.usable(), frames, format_duration(seconds));
  text += fmt::format("  {:<{}}  {:>8}  {:>9}  {:>6}  {:>7}  {:>6}  {}\n", "file", name_width,
                      "frames", "size", "fps", "missing", "frozen", "shift");
  for (const FileCheck& f : report.files) {
    text += f.refused.empty() ? file_line(f, name_width)
                              : fmt::format("  {:<{}}  refused\n", f.name, name_width);
  }
  return text;
}

Json shift_json(const ShiftEstimate& shift) {
  Json scores = Json::array();
  for (const ShiftScore& score : shift.scores) {
    scores.push_back({{"shift", score.shift}, {"explained", score.explained}});
  }
  return {{"known", shift.known},           {"reason", shift.reason}, {"best", shift.best},
          {"confidence", shift.confidence}, {"wrong", shift.wrong()}, {"scores", scores}};
}

Json file_json(const FileCheck& f) {
  if (!f.refused.empty()) return {{"name", f.name}, {"refused", f.refused}};
  Json gaps = Json::array();
  for (const TimeGap& gap : f.gaps) {
    gaps.push_back(
        {{"frame", gap.frame}, {"seconds", gap.seconds}, {"frames_missing", gap.frames_missing}});
  }
  Json frozen = Json::array();
  for (const FrozenRun& run : f.frozen)
    frozen.push_back({{"first", run.first}, {"last", run.last}});
  return {{"name", f.name},
          {"frames", f.frames},
          {"height", f.height},
          {"width", f.width},
          {"seconds", f.seconds},
          {"fps", f.fps},
          {"frames_examined", f.frames_examined},
          {"labelled", f.labelled},
          {"gaps", gaps},
          {"bunched", f.bunched},
          {"frozen", frozen},
          {"shift", shift_json(f.shift)}};
}

}  // namespace

std::string to_text(const CheckReport& report) {
  const bool labelled = std::any_of(report.files.begin(), report.files.end(),
                                    [](const FileCheck& f) { return f.labelled; });
  std::string text;
  if (report.failure.empty()) text += table(report);
  if (labelled) text += shift_paragraph(report);
  if (report.problems.empty()) return text + "nothing is wrong\n";
  text += fmt::format("{} {}:\n", report.problems.size(),
                      report.problems.size() == 1 ? "problem" : "problems");
  for (const std::string& problem : report.problems) text += fmt::format("  - {}\n", problem);
  return text;
}

std::string to_json(const CheckReport& report) {
  Json files = Json::array();
  for (const FileCheck& file : report.files) files.push_back(file_json(file));
  const Json json = {{"folder", report.folder},
                     {"failure", report.failure},
                     {"usable", report.usable()},
                     {"alignment", report.alignment},
                     {"problems", report.problems},
                     {"shift", shift_json(report.shift)},
                     {"files", files}};
  // File names may hold any bytes; JSON may not.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace praxino
