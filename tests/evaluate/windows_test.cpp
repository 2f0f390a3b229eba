#include "roofline/evaluate/windows.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/evaluate/texts.h"

namespace roofline {
namespace {

std::size_t targets_of(const std::vector<Window>& windows) {
  std::size_t sum = 0;
  for (const auto& window : windows) {
    sum += window.targets();
  }
  return sum;
}

TEST(Windows, SideBySideLoseTheFirstTokenOfEach) {
  WindowOptions options{8, 8, 1, false, std::nullopt};
  const auto windows = make_windows(20, options);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[2].begin, 16u);
  EXPECT_EQ(windows[2].end, 20u);
  EXPECT_EQ(targets_of(windows), 17u);
}

TEST(Windows, ThatOverlapCountEachTokenButTheFirstOnce) {
  WindowOptions options{8, 3, 1, false, std::nullopt};
  const auto windows = make_windows(20, options);
  EXPECT_EQ(targets_of(windows), 19u);
  for (std::size_t i = 1; i < windows.size(); ++i) {
    EXPECT_EQ(windows[i].first_target, windows[i - 1].end);
    EXPECT_GE(windows[i].first_target, windows[i].begin + 5);
  }
}

TEST(Windows, CountOnlyTokensWithEnoughBeforeThem) {
  // As llama-perplexity: of 8 tokens those after the first 4 are predicted
  // from 4 or more, the one at index 4 not being counted.
  WindowOptions options{8, 8, 5, true, std::nullopt};
  const auto windows = make_windows(20, options);
  ASSERT_EQ(windows.size(), 2u) << "the last four tokens are no whole window";
  EXPECT_EQ(windows[1].first_target, 13u);
  EXPECT_EQ(targets_of(windows), 6u);
}

TEST(Windows, PutTheFirstTokenInPlace) {
  const std::vector<std::int32_t> tokens = {1, 2, 3, 4, 5, 6};
  const WindowOptions options{3, 3, 1, false, 99};
  const auto windows = make_windows(tokens.size(), options);
  EXPECT_EQ(
      window_tokens(tokens, windows[1], options),
      (std::vector<std::int32_t>{99, 5, 6}));
}

TEST(Windows, RefuseWhatCannotBe) {
  EXPECT_THROW(make_windows(9, {1, 1, 1, false, {}}), UserError);
  EXPECT_THROW(make_windows(9, {4, 5, 1, false, {}}), UserError);
  EXPECT_THROW(make_windows(9, {4, 0, 1, false, {}}), UserError);
  EXPECT_THROW(make_windows(9, {4, 4, 4, false, {}}), UserError);
  EXPECT_TRUE(make_windows(1, {4, 4, 1, false, {}}).empty());
}

TEST(Texts, ShareNoParagraph) {
  const auto calibration = calibration_text();
  std::string_view rest = evaluation_text();
  int paragraphs = 0;
  while (!rest.empty()) {
    const auto end = std::min(rest.find("\n\n"), rest.size());
    const auto paragraph = rest.substr(0, end);
    if (paragraph.size() > 60) {
      ++paragraphs;
      EXPECT_EQ(calibration.find(paragraph), calibration.npos) << paragraph;
    }
    rest.remove_prefix(std::min(rest.size(), end + 2));
  }
  EXPECT_GT(paragraphs, 100);
}

}  // namespace
}  // namespace roofline
