#include "roofline/model/kv_format.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

KvFormat format_of(int key_bits, int value_bits, int group, int keep = 0) {
  return {key_bits, value_bits, group, keep};
}

AttentionSpec heads_of(int kv_heads, int head_dim) {
  AttentionSpec attention;
  attention.kv_heads = kv_heads;
  attention.head_dim = head_dim;
  return attention;
}

TEST(KvFormat, ARowHasItsCodesAndTwo16BitNumbersAGroup) {
  EXPECT_EQ(kv_row_bytes(64, 8, 64, 2), 64u + 4);
  EXPECT_EQ(kv_row_bytes(64, 8, 32, 2), 64u + 8);
  EXPECT_EQ(kv_row_bytes(64, 4, 64, 2), 32u + 4);
  // The last group is filled up.
  EXPECT_EQ(kv_row_bytes(80, 8, 64, 2), 128u + 8);
  EXPECT_EQ(kv_row_bytes(80, 4, 32, 2), 48u + 12);
  EXPECT_EQ(kv_row_bytes(80, 16, 32, 2), 160u);
  EXPECT_EQ(kv_row_bytes(80, 16, 32, 4), 320u);
}

TEST(KvFormat, ATokenHasKeysAndValuesOfEveryHead) {
  EXPECT_EQ(kv_token_bytes(heads_of(3, 64), format_of(8, 4, 64)), 3u * 104);
  EXPECT_EQ(kv_full_token_bytes(heads_of(3, 64)), 3u * 256);
  AttentionSpec latent = heads_of(16, 192);
  latent.latent = LatentSpec{std::nullopt, 512, 128, 64};
  EXPECT_EQ(kv_token_bytes(latent, format_of(8, 8, 64)), 576u + 9 * 4);
  AttentionSpec shared = heads_of(3, 64);
  shared.shares_kv_of_layer = 0;
  EXPECT_EQ(kv_token_bytes(shared, format_of(8, 8, 64)), 0u);
}

TEST(KvFormat, AStepReadsWhatItSees) {
  AttentionSpec attention = heads_of(1, 64);
  const KvFormat codes = format_of(8, 8, 64, 4);
  EXPECT_EQ(kv_read_bytes(attention, codes, 2), 2u * 256);
  EXPECT_EQ(kv_read_bytes(attention, codes, 100), 4u * 256 + 96 * 136);
  EXPECT_EQ(kv_read_bytes(attention, codes, 100, 10), 4u * 256 + 6 * 136);
  attention.window_tokens = 50;
  // Two of the first four are in the window of 50 before position 52.
  EXPECT_EQ(kv_read_bytes(attention, codes, 52), 2u * 256 + 48 * 136);
  EXPECT_EQ(kv_read_bytes(attention, codes, 1000), 50u * 136);
  attention.shares_kv_of_layer = 0;
  EXPECT_EQ(kv_read_bytes(attention, codes, 1000), 50u * 136);
}

TEST(KvFormat, SaysWhatItIs) {
  EXPECT_EQ(KvFormat().text(), "16 bits");
  EXPECT_EQ(format_of(8, 8, 64).text(), "8 bits (group 64)");
  EXPECT_EQ(
      format_of(8, 4, 32, 4).text(),
      "keys 8, values 4 bits (group 32), first 4 in full");
}

TEST(KvFormat, RefusesWhatThereIsNoCodeFor) {
  EXPECT_NO_THROW(check_kv_format(format_of(8, 4, 32, 100)));
  EXPECT_THROW(check_kv_format(format_of(5, 8, 64)), UserError);
  EXPECT_THROW(check_kv_format(format_of(8, 32, 64)), UserError);
  EXPECT_THROW(check_kv_format(format_of(8, 8, 16)), UserError);
  EXPECT_THROW(check_kv_format(format_of(8, 8, 64, -1)), UserError);
}

TEST(KvFormat, RefusesModelsThatCannotHaveIt) {
  ModelSpec recurrent;
  recurrent.layers.resize(1);
  recurrent.layers[0].attention.reset();
  EXPECT_NO_THROW(check_kv_format({}, recurrent));
  EXPECT_THROW(check_kv_format(format_of(8, 8, 64), recurrent), UserError);
  ModelSpec latent;
  latent.layers.resize(1);
  latent.layers[0].attention = heads_of(1, 8);
  latent.layers[0].attention->latent = LatentSpec{};
  EXPECT_NO_THROW(check_kv_format(format_of(8, 8, 64), latent));
  EXPECT_THROW(check_kv_format(format_of(8, 4, 64), latent), UserError);
}

}  // namespace
}  // namespace roofline
