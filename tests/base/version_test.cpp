#include "praxino/base/version.h"

#include <gtest/gtest.h>

#include "praxino/base/error.h"
#include "support/error_text.h"

namespace praxino {
namespace {

TEST(Version, IsTheOneOfTheProject) { EXPECT_EQ(version(), PRAXINO_EXPECTED_VERSION); }

TEST(Error, FailureExitsWithOneAndUsageWithTwo) {
  EXPECT_EQ(Error("a").exit_code(), 1);
  EXPECT_EQ(Error("a", ErrorKind::kUsage).exit_code(), 2);
  EXPECT_EQ(testing::error_text([] { fail("{} of {}", 3, "four"); }), "3 of four");
  EXPECT_THROW(
      {
        try {
          fail_usage("frame {}", 7);
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::kUsage);
          EXPECT_STREQ(error.what(), "frame 7");
          throw;
        }
      },
      Error);
}

}  // namespace
}  // namespace praxino
