#include "patch.h"

#include "praxino/ops/patch.h"

namespace praxino {
namespace {

constexpr int64_t kChannels = 3;

}  // namespace

PatchTokenizer::PatchTokenizer(int64_t patch, std::array<int64_t, 2> size)
    : patch_(patch),
      grid_{
          .rows = size[0] / patch, .columns = size[1] / patch, .width = kChannels * patch * patch} {
}

Tokens PatchTokenizer::encode(const at::Tensor& frames) const {
  return {.values = ops::patchify(frames, patch_, at::kFloat), .grid = grid_};
}

at::Tensor PatchTokenizer::decode(const at::Tensor& values) const {
  return ops::unpatchify(values, {.rows = grid_.rows, .columns = grid_.columns, .patch = patch_});
}

}  // namespace praxino
