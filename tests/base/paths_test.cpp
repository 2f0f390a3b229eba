#include "roofline/base/paths.h"

#include <vector>

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

namespace roofline {
namespace {

namespace fs = std::filesystem;

class PathsTest : public ::testing::Test {
 protected:
  PathsTest() {
    std::string name = (fs::temp_directory_path() / "paths-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    for (const char* variable : kVariables) {
      const char* value = ::getenv(variable);
      old_.push_back(value == nullptr ? std::optional<std::string>() : value);
      ::unsetenv(variable);
    }
    ::setenv("HOME", folder_.c_str(), 1);
  }
  ~PathsTest() override {
    for (std::size_t i = 0; i < old_.size(); ++i) {
      if (old_[i]) {
        ::setenv(kVariables[i], old_[i]->c_str(), 1);
      } else {
        ::unsetenv(kVariables[i]);
      }
    }
    std::error_code error;
    fs::remove_all(folder_, error);
  }
  static constexpr const char* kVariables[] = {
      "HOME",
      "ROOFLINE_CACHE",
      "ROOFLINE_MODELS",
      "XDG_CACHE_HOME",
      "XDG_DATA_HOME"};
  fs::path folder_;
  std::vector<std::optional<std::string>> old_;
};

TEST_F(PathsTest, CachesLieInTheHomeFolderAndArePrivate) {
  EXPECT_EQ(cache_dir(), folder_ / ".cache" / "roofline");
  struct stat info {};
  ASSERT_EQ(::stat(cache_dir().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(PathsTest, VariablesMoveTheCache) {
  ::setenv("XDG_CACHE_HOME", (folder_ / "x").c_str(), 1);
  EXPECT_EQ(cache_dir(), folder_ / "x" / "roofline");
  ::setenv("ROOFLINE_CACHE", (folder_ / "own").c_str(), 1);
  EXPECT_EQ(cache_dir(), folder_ / "own");
  EXPECT_TRUE(fs::is_directory(folder_ / "own"));
}

TEST_F(PathsTest, VariablesMoveTheModels) {
  EXPECT_EQ(models_dir(), folder_ / ".local" / "share" / "roofline" / "models");
  ::setenv("XDG_DATA_HOME", (folder_ / "data").c_str(), 1);
  EXPECT_EQ(models_dir(), folder_ / "data" / "roofline" / "models");
  ::setenv("ROOFLINE_MODELS", (folder_ / "m").c_str(), 1);
  EXPECT_EQ(models_dir(), folder_ / "m");
  EXPECT_FALSE(fs::exists(folder_ / "m"));
}

TEST_F(PathsTest, AnEmptyVariableIsAsGoodAsNone) {
  ::setenv("ROOFLINE_CACHE", "", 1);
  EXPECT_EQ(environment("ROOFLINE_CACHE"), std::nullopt);
  EXPECT_EQ(cache_dir(), folder_ / ".cache" / "roofline");
}

TEST_F(PathsTest, AFileInTheWayIsNoFolder) {
  ::setenv("ROOFLINE_CACHE", "/dev/null/cache", 1);
  EXPECT_EQ(cache_dir(), "/dev/null/cache");
  EXPECT_FALSE(ensure_private_dir("/dev/null/cache"));
}

TEST_F(PathsTest, TheProgramKnowsItsOwnFile) {
  EXPECT_TRUE(fs::exists(executable_path()));
  EXPECT_NE(
      executable_path().filename().string().find("base"),
      std::string::npos);
}

}  // namespace
}  // namespace roofline
