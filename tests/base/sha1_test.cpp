#include "roofline/base/sha1.h"

#include <gtest/gtest.h>

namespace roofline {
namespace {

TEST(Sha1, DigestsAreThoseOfTheStandard) {
  EXPECT_EQ(Sha1().hex(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(
      Sha1().update("abc").hex(),
      "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(
      Sha1()
          .update("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
          .hex(),
      "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  EXPECT_EQ(
      Sha1().update(std::string(1'000'000, 'a')).hex(),
      "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

TEST(Sha1, PiecesOfAnySizeGiveTheSameDigest) {
  const std::string text(200, 'x');
  const std::string whole = Sha1().update(text).hex();
  for (std::size_t size = 1; size < 130; ++size) {
    Sha1 hash;
    for (std::size_t at = 0; at < text.size(); at += size) {
      hash.update(std::string_view(text).substr(at, size));
    }
    EXPECT_EQ(hash.hex(), whole) << size;
  }
}

TEST(Sha1, GitNamesAnEmptyFileByItsHeader) {
  EXPECT_EQ(
      Sha1().update(std::string_view("blob 0\0", 7)).hex(),
      "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

}  // namespace
}  // namespace roofline
