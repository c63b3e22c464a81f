// One evaluation by several members: whose clips are whose, and all figures on every member.
#include <algorithm>
#include <cstring>

#include "eval/per_clip.h"
#include "praxino/base/error.h"

namespace praxino {
namespace {

std::string to_bytes(const PerClip& figures) {
  std::string bytes;
  for (const auto& [name, values] : figures) {
    const size_t before = bytes.size();
    bytes.resize(before + values.size() * sizeof(double));
    std::memcpy(bytes.data() + before, values.data(), values.size() * sizeof(double));
  }
  return bytes;
}

}  // namespace

OwnRows own_rows(int64_t member, int64_t members, int64_t clips) {
  const int64_t count = std::min(clips, std::max((clips + members - 1) / members, kEvalPictures));
  return {.first = std::min(member * count, clips - count), .count = count};
}

EvalClips load_eval_clips(const RunConfig& config, std::shared_ptr<const Dataset> dataset,
                          const std::vector<Span>& spans, const EvalTeam& team) {
  const int64_t frames = config.eval.context + config.eval.horizon;
  const std::vector<ClipPlan> plans =
      spread_clips(config, *dataset, spans, frames, config.eval.clips);
  if (team.members == 1) return read_clips(config, std::move(dataset), plans);

  OwnRows rows = own_rows(team.member, team.members, static_cast<int64_t>(plans.size()));
  Clips all = undecoded_clips(config, *dataset, plans);
  bool complete = false;
  try {
    const auto begin = plans.begin() + rows.first;
    const Clips own = read_clips(config, dataset, {begin, begin + rows.count});
    complete = own.count() == rows.count;
    all.frames = own.frames;
  } catch (const Error&) {  // none of its own can be decoded
  }
  const std::vector<std::string> missing = team.share(complete ? "" : "clips");
  if (std::ranges::all_of(missing, &std::string::empty)) return {std::move(all), rows.first};
  // Which ones are left out decides whose are whose: everybody looks at all of them.
  all = read_clips(config, std::move(dataset), plans);
  rows = own_rows(team.member, team.members, all.count());
  all.frames = all.frames.narrow(0, rows.first, rows.count).clone();
  return {std::move(all), rows.first};
}

PerClip of_all_clips(const PerClip& own, const EvalClips& clips, const EvalTeam& team) {
  if (team.members == 1) return own;
  const std::vector<std::string> parts = team.share(to_bytes(own));
  PerClip all = own;
  for (auto& [name, values] : all) values.resize(static_cast<size_t>(clips.count()));
  // Of a clip that several members have the first one's figures count.
  for (int64_t member = team.members - 1; member >= 0; --member) {
    const OwnRows rows = own_rows(member, team.members, clips.count());
    const size_t bytes = static_cast<size_t>(rows.count) * sizeof(double);
    const std::string& part = parts[static_cast<size_t>(member)];
    if (part.size() != bytes * all.size()) {
      fail("member {} of an evaluation sent {} bytes of figures, not {}", member, part.size(),
           bytes * all.size());
    }
    const char* from = part.data();
    for (auto& [name, values] : all) {
      std::memcpy(values.data() + rows.first, from, bytes);
      from += bytes;
    }
  }
  return all;
}

}  // namespace praxino
