#include "praxino/ops/upload.h"

#include "support/tensors.h"

namespace praxino::ops {
namespace {

TEST(Upload, CopiesNothingOnTheCpu) {
  const at::Tensor host = testing::normal({3}, 1);
  EXPECT_TRUE(upload(host, at::Device(at::kCPU)).is_same(host));
}

}  // namespace
}  // namespace praxino::ops
