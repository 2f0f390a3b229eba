#include "roofline/spec/tensor_parts.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

bool in(std::string_view name, std::string_view parts) {
  return belongs_to_parts(name, 16, parse_matrix_parts(parts, "--parts"));
}

TEST(MatrixParts, AreNamedByTheLastWordOfALayersMatrix) {
  EXPECT_TRUE(in("layers.3.feed_forward.down", "down"));
  EXPECT_TRUE(in("layers.3.attention.v", "q,v"));
  EXPECT_FALSE(in("layers.3.attention.k", "q,v"));
  EXPECT_FALSE(in("layers.3.feed_forward.down", ""));
}

TEST(MatrixParts, EmbedMeansTheHeadToo) {
  EXPECT_TRUE(in("embed", "embed"));
  EXPECT_TRUE(in("head", "embed"));
  EXPECT_FALSE(in("layers.0.attention.o", "embed"));
}

TEST(MatrixParts, EndsAreTheFirstAndLastEighthOfTheLayers) {
  for (int layer = 0; layer < 16; ++layer) {
    const std::string name = "layers." + std::to_string(layer) + ".attention.o";
    EXPECT_EQ(in(name, "ends"), layer < 2 || layer >= 14) << layer;
  }
  EXPECT_FALSE(in("embed", "ends"));
  const std::vector<std::string> ends = {"ends"};
  EXPECT_TRUE(belongs_to_parts("layers.0.attention.o", 3, ends));
  EXPECT_FALSE(belongs_to_parts("layers.1.attention.o", 3, ends));
}

TEST(MatrixParts, MayBeLayersAndOneKindOfMatrixInThem) {
  EXPECT_TRUE(in("layers.3.attention.o", "3"));
  EXPECT_FALSE(in("layers.13.attention.o", "3"));
  EXPECT_TRUE(in("layers.13.attention.o", "q,12-14"));
  EXPECT_TRUE(in("layers.0.feed_forward.down", "0-3.down"));
  EXPECT_FALSE(in("layers.0.feed_forward.up", "0-3.down"));
  EXPECT_FALSE(in("layers.4.feed_forward.down", "0-3.down"));
  EXPECT_FALSE(in("embed", "0-15"));
}

TEST(MatrixParts, RefuseLayersThatAModelHasnt) {
  const std::vector<std::string> parts = {"embed", "12-16"};
  check_matrix_parts(parts, 17);
  EXPECT_THROW(check_matrix_parts(parts, 16), UserError);
  for (const char* wrong :
       {"3-1", "-1", "3-", "3.dwon", "3.ends", "3x", "q,,k", "q,"}) {
    EXPECT_THROW(parse_matrix_parts(wrong, "--parts"), UserError) << wrong;
  }
}

TEST(MatrixParts, AWrongNameOffersTheNearest) {
  try {
    parse_matrix_parts("dwon", "--parts");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("down"), std::string::npos);
  }
}

}  // namespace
}  // namespace roofline
