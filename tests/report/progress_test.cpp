#include "roofline/report/progress.h"

#include <gtest/gtest.h>

#include <thread>

#include "roofline/report/table.h"

namespace roofline {
namespace {

TEST(Progress, IsSilentUnderASecond) {
  std::string seen;
  {
    Progress progress("work", [&](std::string_view text) { seen += text; });
    progress.update(0.5, "half");
    progress.update(1.0);
  }
  EXPECT_EQ(seen, "");
}

TEST(Progress, ShowsShareAndDetailAfterASecondAndWipesTheLine) {
  std::string seen;
  {
    Progress progress("work", [&](std::string_view text) { seen += text; });
    std::this_thread::sleep_for(std::chrono::milliseconds(1020));
    progress.update(0.5, std::string(200, 'x'));
    EXPECT_NE(
        seen.find("work ████████████░░░░░░░░░░░░  50 %  xxx"),
        std::string::npos);
    // Longer lines would break and stay behind.
    EXPECT_LE(display_width(seen), 79 + 4);
    progress.update(0.6);
  }
  // Drawn once: the second update came right after the first.
  EXPECT_EQ(seen.find("60 %"), std::string::npos);
  EXPECT_EQ(seen.find('\n'), std::string::npos);
  EXPECT_TRUE(seen.ends_with("\r\x1b[K"));
}

TEST(Progress, WithoutAWriterNothingHappens) {
  Progress progress("work", nullptr);
  progress.update(0.5);
}

}  // namespace
}  // namespace roofline
