#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>

#include "praxino/base/hash.h"
#include "praxino/base/random.h"
#include "praxino/checkpoint/store.h"
#include "save_group.h"
#include "support/error_text.h"
#include "support/repetitions.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::error_text;
using ::testing::HasSubstr;
using testing::is_small_state;
using ::testing::IsEmpty;
using testing::names_in;
using testing::overwrite;
using testing::save_as_ranks;
using testing::TemporaryFolder;

/// Two whole checkpoints, of steps 1 and 2, of one rank or of three; the newer one gets damaged.
class DamageTest : public ::testing::TestWithParam<int64_t> {
 protected:
  DamageTest() {
    for (const int64_t step : {1, 2}) save_as_ranks(run_ / "checkpoints", GetParam(), step, 20);
  }

  /// The damaged file is named, by verification and by loading, and the other checkpoint is used.
  void expect_found(const std::string& name, const std::string& what) {
    const std::vector<std::string> found = verify_checkpoint(newest_);
    ASSERT_EQ(found.size(), 1) << what;
    EXPECT_THAT(found[0], HasSubstr((newest_ / name).string())) << what;
    EXPECT_THAT(error_text([&] { store_.load(2); }), HasSubstr(name)) << what;
    ::testing::internal::CaptureStderr();
    const auto state = store_.load_newest();
    EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr(name)) << what;
    ASSERT_TRUE(state.has_value()) << what;
    EXPECT_EQ(state->step, 1) << what;
    EXPECT_TRUE(is_small_state(*state, 20)) << what;
  }

  /// The text of manifest.json with a seal that fits it.
  static std::string sealed(const std::string& body) {
    return body + " \"seal\": \"" + xxh3_128(body).hex() + "\"\n}\n";
  }

  TemporaryFolder run_;
  CheckpointStore store_{run_ / "checkpoints"};
  const fs::path newest_ = store_.directory(2);
};

TEST_P(DamageTest, IsFoundWhereverOneBitFlips) {
  const int64_t flips = testing::faults("PRAXINO_FLIPS", 10);
  Random random(derive_seed(1, "flips", 0));
  for (const std::string& name : names_in(newest_)) {
    const std::string whole = read_file(newest_ / name);
    for (int64_t i = 0; i < flips; ++i) {
      std::string flipped = whole;
      const auto at = static_cast<size_t>(random.integer(static_cast<int64_t>(whole.size())));
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << random.integer(8)));
      overwrite(newest_ / name, flipped);
      expect_found(name, name + ", byte " + std::to_string(at));
    }
    overwrite(newest_ / name, whole);
  }
  EXPECT_THAT(verify_checkpoint(newest_), IsEmpty());
}

TEST_P(DamageTest, IsFoundInAFileThatIsCutShortEmptyLongerOrMissing) {
  for (const std::string& name : names_in(newest_)) {
    const std::string whole = read_file(newest_ / name);
    for (const std::string& text :
         {whole.substr(0, whole.size() - 1), whole + " ", std::string()}) {
      overwrite(newest_ / name, text);
      expect_found(name, name + " with " + std::to_string(text.size()) + " bytes");
    }
    fs::remove(newest_ / name);
    expect_found(name, name + " is missing");
    overwrite(newest_ / name, whole);
  }
}

TEST_P(DamageTest, IsFoundWhenAFileIsALinkOrAFolder) {
  fs::rename(newest_ / "state.json", run_ / "elsewhere");
  fs::create_symlink(run_ / "elsewhere", newest_ / "state.json");
  expect_found("state.json", "a link");
  fs::remove(newest_ / "state.json");
  fs::create_directory(newest_ / "state.json");
  expect_found("state.json", "a folder");
}

TEST_P(DamageTest, IsNotAFileThatTheManifestDoesNotList) {
  overwrite(newest_ / "extra.safetensors", "not read");
  EXPECT_THAT(verify_checkpoint(newest_), IsEmpty());
  EXPECT_TRUE(is_small_state(store_.load(2), 20));
}

TEST_P(DamageTest, OfEveryCheckpointIsAnErrorThatNamesTheNewest) {
  for (const int64_t step : {1, 2}) {
    for (const std::string& name : names_in(store_.directory(step))) {
      if (name.starts_with("model")) fs::remove(store_.directory(step) / name);
    }
  }
  EXPECT_THAT(
      error_text([&] { store_.load_newest(); }),
      AllOf(HasSubstr("none of the 2 checkpoints"), HasSubstr((newest_ / "model").string())));
}

TEST_P(DamageTest, IsAnyHostileManifestHoweverWellSealed) {
  const std::string head = "{\"format\": \"praxino-checkpoint\", \"version\": 1, \"step\": 2, ";
  const std::string layout =
      "{\"format\": \"praxino-checkpoint\", \"version\": 2, \"step\": 2, \"layout\": {\"ranks\": ";
  const auto entry = [](std::string_view name, std::string_view size, std::string_view hash) {
    return fmt::format(R"({{"name": {}, "size": {}, "xxh3_128": {}}})", name, size, hash);
  };
  const std::string zeros = fmt::format("\"{:032}\"", 0);
  const std::vector<std::string> bodies = {
      "",
      "{",
      "[1, 2",
      std::string(100'000, '['),
      head,
      head + "\"files\": 7,",
      head + "\"files\": [7],",
      head + "\"files\": [{}],",
      head + "\"files\": [" + entry("\"../../etc/passwd\"", "1", zeros) + "],",
      head + "\"files\": [" + entry("\"/etc/passwd\"", "1", zeros) + "],",
      head + "\"files\": [" + entry("\"a\\u0000b\"", "1", zeros) + "],",
      head + "\"files\": [" + entry("\"manifest.json\"", "1", zeros) + "],",
      head + "\"files\": [" + entry(fmt::format("\"{:010000}\"", 0), "1", zeros) + "],",
      head + "\"files\": [" + entry("\"a\"", "-1", zeros) + "],",
      head + "\"files\": [" + entry("\"a\"", "1e400", zeros) + "],",
      head + "\"files\": [" + entry("\"a\"", "99999999999999999999999", zeros) + "],",
      head + "\"files\": [" + entry("\"a\"", "1", "\"xyz\"") + "],",
      head + "\"files\": [" + entry("\"a\"", "1", "[]") + "],",
      head + "\"files\": [" + entry("\"state.json\"", "12", zeros) + ", " +
          entry("\"state.json\"", "12", zeros) + "],",
      "{\"format\": \"zip\", \"version\": 1, \"step\": 2, \"files\": [],",
      "{\"format\": \"praxino-checkpoint\", \"version\": 2, \"step\": 2, \"files\": [],",
      "{\"format\": \"praxino-checkpoint\", \"version\": 3, \"step\": 2, \"files\": [],",
      layout + "\"4\"}, \"files\": [],",
      layout + "1}, \"files\": [],",
      layout + "100000}, \"files\": [],",
      layout + "2}, \"files\": [" + entry("\"a-00001-of-00002.safetensors\"", "1", zeros) + "],",
      layout + "2}, \"files\": [" + entry("\"a-00000-of-00003.safetensors\"", "1", zeros) + "],",
      layout + "2}, \"files\": [" + entry("\"a.safetensors\"", "1", zeros) + "],",
      head + "\"files\": [" + entry("\"a-00001-of-00002.safetensors\"", "1", zeros) + "],",
      "{\"format\": \"praxino-checkpoint\", \"version\": 1, \"step\": -2, \"files\": [],",
      "{\"format\": \"praxino-checkpoint\", \"version\": 1, \"step\": \"\\ud800\", \"files\": [],"};
  for (const std::string& body : bodies) {
    overwrite(newest_ / "manifest.json", sealed(body));
    expect_found("manifest.json", body.substr(0, 200));
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, DamageTest, ::testing::Values(1, 3));

}  // namespace
}  // namespace praxino
