#include "roofline/base/memory.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

namespace roofline {
namespace {

TEST(Memory, ResidentGrowsWithWhatIsTouched) {
  constexpr std::size_t kSize = std::size_t{64} << 20;
  const std::size_t before = resident_bytes();
  ASSERT_GT(before, 0u);
  std::vector<char> block(kSize, 1);
  EXPECT_GE(resident_bytes(), before + kSize / 2);
  EXPECT_EQ(block[kSize / 2], 1);
}

TEST(Memory, PeakRemembersWhatWasGivenBack) {
  constexpr std::size_t kSize = std::size_t{64} << 20;
  const std::size_t before = resident_bytes();
  {
    std::vector<char> block(kSize, 1);
    ASSERT_EQ(block[1], 1);
  }
  EXPECT_GE(peak_resident_bytes(), before + kSize / 2);
  EXPECT_GE(peak_resident_bytes(), resident_bytes());
}

}  // namespace
}  // namespace roofline
