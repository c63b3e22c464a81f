#include "kernels/device_info.h"

#include <gtest/gtest.h>

namespace praxino::kernels {
namespace {

TEST(DeviceInfo, TheRuntimeKnowsItsVersion) {
  CudaVersions versions;
  cuda_versions(versions);
  EXPECT_GE(versions.runtime, 13000);
}

TEST(DeviceInfo, EveryVisibleDeviceCanBeDescribed) {
  int count = 0;
  const Status status = device_count(count);
  if (!status.ok()) GTEST_SKIP() << "no usable GPU: " << status_text(status);
  for (int device = 0; device < count; ++device) {
    DeviceInfo info;
    ASSERT_TRUE(device_info(device, info).ok());
    EXPECT_STRNE(info.name, "");
    EXPECT_GT(info.memory_bytes, 0u);
    EXPECT_GE(info.major, 1);
  }
}

TEST(DeviceInfo, ADeviceThatDoesNotExistIsAStatusNotACrash) {
  DeviceInfo info;
  const Status status = device_info(4096, info);
  EXPECT_FALSE(status.ok());
  EXPECT_STRNE(status_text(status), "");
}

}  // namespace
}  // namespace praxino::kernels
