#include <fmt/core.h>

#include <algorithm>

#include "eval/per_clip.h"
#include "praxino/eval/evaluate.h"
#include "praxino/eval/metrics.h"

namespace praxino {

std::vector<std::string> metric_names(const RunConfig& config, bool with_actions) {
  std::vector<std::string> plain = {"loss", "psnr_tokenizer"};
  std::vector<std::string> ahead = {"psnr", "psnr_copy", "psnr_gain_over_copy", "psnr_per_frame",
                                    "psnr_per_frame_copy"};
  const auto& size = config.data.size;
  if (std::min(size[0], size[1]) >= eval::kSsimWindow) ahead.emplace_back("ssim");
  if (with_actions) {
    plain.insert(plain.end(), {"action_shuffle_ratio", "no_action_gap"});
    ahead.insert(ahead.end(), {"psnr_random_actions", "delta_psnr"});
  }
  for (const std::string& name : ahead) {
    plain.push_back(name);
    for (const int64_t h : measured_horizons(config.eval.horizon))
      plain.push_back(fmt::format("{}@{}", name, h));
  }
  std::vector<std::string> names = {"eval/n"};
  for (const std::string& name : plain) {
    for (const char* end : {"", "/low", "/high"}) names.push_back("eval/" + name + end);
  }
  return names;
}

}  // namespace praxino
