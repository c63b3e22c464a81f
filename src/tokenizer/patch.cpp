#include "patch.h"

namespace praxino {
namespace {

constexpr int64_t kChannels = 3;

}  // namespace

PatchTokenizer::PatchTokenizer(int64_t patch, std::array<int64_t, 2> size)
    : patch_(patch),
      grid_{
          .rows = size[0] / patch, .columns = size[1] / patch, .width = kChannels * patch * patch} {
}

// B T C Y X -> B T (rows columns) (C patch patch)
Tokens PatchTokenizer::encode(const at::Tensor& frames) const {
  const int64_t b = frames.size(0), t = frames.size(1);
  const at::Tensor values =
      frames.view({b, t, kChannels, grid_.rows, patch_, grid_.columns, patch_})
          .permute({0, 1, 3, 5, 2, 4, 6})
          .to(at::kFloat)
          .reshape({b, t, grid_.count(), grid_.width});
  return {.values = values * (2.0 / 255.0) - 1.0, .grid = grid_};
}

at::Tensor PatchTokenizer::decode(const at::Tensor& values) const {
  const int64_t b = values.size(0), t = values.size(1);
  return ((values + 1.0) * (255.0 / 2.0))
      .round()
      .clamp(0, 255)
      .to(at::kByte)
      .view({b, t, grid_.rows, grid_.columns, kChannels, patch_, patch_})
      .permute({0, 1, 4, 2, 5, 3, 6})
      .reshape({b, t, kChannels, grid_.rows * patch_, grid_.columns * patch_});
}

}  // namespace praxino
