#include "praxino/video/capabilities.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace praxino {
namespace {

using ::testing::StartsWith;

TEST(VideoCapabilities, NamesTheLibrariesThatAreLoaded) {
  EXPECT_THAT(video_capabilities().libraries, StartsWith("FFmpeg "));
}

TEST(VideoCapabilities, CoversTheAllowList) {
  std::map<std::string, bool> decoders;
  for (const CodecSupport& codec : video_capabilities().codecs)
    decoders[codec.name] = codec.decoder;
  EXPECT_EQ(decoders.size(), 10u);
  // FFmpeg's own decoders, which no build leaves out
  for (const char* name : {"h264", "mpeg4", "mpeg2video", "mjpeg", "ffv1"})
    EXPECT_TRUE(decoders[name]) << name;
}

}  // namespace
}  // namespace praxino
