#include "roofline/cli/mlx_version.h"

#include <string>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline::cli {

namespace {

TEST(MlxVersion, TheLoadedLibraryIsTheOneWeWereBuiltWith) {
  EXPECT_NO_THROW(require_same_mlx());
}

TEST(MlxVersion, ADevelopmentSuffixDoesNotCount) {
  EXPECT_NO_THROW(require_same_mlx("0.32.4", "0.32.4.dev20260101+abc"));
  EXPECT_NO_THROW(require_same_mlx("0.32.4", "0.32.4+cpu"));
}

TEST(MlxVersion, AnotherReleaseIsRefusedNamingBoth) {
  for (const char* loaded : {"0.32.5", "0.33.4", "1.32.4", "0.32.40", ""}) {
    try {
      require_same_mlx("0.32.4", loaded);
      FAIL() << "accepted " << loaded;
    } catch (const UnsupportedError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("0.32.4"), std::string::npos) << text;
      EXPECT_NE(text.find(loaded), std::string::npos) << text;
    }
  }
}

}  // namespace

}  // namespace roofline::cli
