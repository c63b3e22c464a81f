// One evaluation by several members: whose clips are whose, and all figures on every member.
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cstring>
#include <sstream>

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
  std::vector<ClipPlan> plans = spread_clips(config, *dataset, spans, frames, config.eval.clips);
  if (!team.share_with_all) return read_clips(config, std::move(dataset), plans);

  // What one cannot decode, of which there may be others who can, nobody measures. Who has which
  // follows from what is left, so that all begin again.
  while (true) {
    const OwnRows rows = own_rows(team.member, team.members, std::ssize(plans));
    const auto begin = plans.begin() + rows.first;
    const DecodedClips own = decode_clips(config, dataset, {begin, begin + rows.count});
    std::string text;
    for (const size_t i : own.missing)
      text += std::to_string(static_cast<size_t>(rows.first) + i) + " ";
    std::vector<size_t> missing;
    for (const std::string& of_one : team.share_with_all(text)) {
      std::istringstream numbers(of_one);
      for (size_t i = 0; numbers >> i;) missing.push_back(i);
    }
    if (missing.empty()) {
      Clips clips = undecoded_clips(config, *dataset, plans);
      clips.frames = at::stack(own.frames);
      return {std::move(clips), rows.first};
    }
    leave_out(plans, std::move(missing), *dataset);
  }
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
