#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "praxino/config/load.h"
#include "support/error_text.h"

namespace praxino {
namespace {

TEST(Configs, EveryFileOfTheProjectParsesAndReadsBack) {
  const std::filesystem::path folder = std::filesystem::path(PRAXINO_SOURCE_DIR) / "configs";
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  EXPECT_EQ(files.empty(), !std::filesystem::exists(folder / "quickstart.yaml"));
  for (const auto& file : files) {
    EXPECT_EQ(testing::error_text([&] {
                const RunConfig config = load_run(file);
                EXPECT_EQ(config_hash(parse_run(to_yaml(config), "again")), config_hash(config))
                    << file;
              }),
              "(no error)");
  }
}

}  // namespace
}  // namespace praxino
