#include "roofline/cli/slow_start.h"

#include <future>
#include <string>

#include <gtest/gtest.h>

namespace roofline::cli {
namespace {

using std::chrono::milliseconds;

TEST(SlowStart, SaysOnceWhyItTakesLong) {
  std::promise<std::string> said;
  auto text = said.get_future();
  const SlowStart notice(
      [&](std::string_view line) { said.set_value(std::string(line)); },
      milliseconds(1));
  EXPECT_NE(text.get().find("first start"), std::string::npos);
}

TEST(SlowStart, SaysNothingWhenReadyInTime) {
  bool spoke = false;
  {
    const SlowStart notice(
        [&](std::string_view) { spoke = true; },
        std::chrono::hours(1));
  }
  EXPECT_FALSE(spoke);
}

}  // namespace
}  // namespace roofline::cli
