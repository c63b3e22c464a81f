#include <ATen/ops/ones.h>
#include <praxino/base/version.h>
#include <praxino/ops/norm.h>
#include <praxino/video/capabilities.h>

#include <cstdio>

int main() {
  const at::Tensor y = praxino::ops::swiglu(at::ones({2, 6}));
  std::printf("praxino %s with %s\n", std::string(praxino::version()).c_str(),
              praxino::video_capabilities().libraries.c_str());
  return y.size(-1) == 3 ? 0 : 1;
}
