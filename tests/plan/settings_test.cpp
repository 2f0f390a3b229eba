#include "roofline/plan/settings.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

TEST(Settings, ComeBackAsTheyWereWritten) {
  RunSettings settings;
  settings.quant = "int4";
  settings.quant_8bit = "embed,down";
  settings.prompt_lookup = 8;
  settings.draft_model = "small.gguf";
  settings.num_draft_tokens = 4;
  settings.batch = 4;
  settings.group_size = 32;
  settings.threads = 2;
  settings.isa = "avx2";
  settings.prefill_step = 256;
  settings.cache_limit_bytes = 5'000'000'000;
  settings.temperature = 0.25;
  settings.k_bits = 8;
  settings.v_bits = 4;
  settings.kv_group_size = 32;
  settings.kv_keep_full = 4;
  const std::string text = settings_toml(settings, "why\nin two lines");
  EXPECT_EQ(text.rfind("# why\n# in two lines\n", 0), 0u) << text;
  EXPECT_EQ(parse_settings(text, "x.toml"), settings);
}

TEST(KvChoice, KeysAndValuesCountMoreThanBoth) {
  KvChoice choice;
  EXPECT_FALSE(choice.any());
  EXPECT_EQ(choice.resolve(), KvFormat());
  choice.bits = 8;
  EXPECT_EQ(choice.resolve(), (KvFormat{8, 8, 64, 0}));
  choice.value_bits = 4;
  choice.group_size = 32;
  choice.keep_full = 2;
  EXPECT_EQ(choice.resolve(), (KvFormat{8, 4, 32, 2}));
  choice.bits.reset();
  EXPECT_EQ(choice.resolve(), (KvFormat{16, 4, 32, 2}));
}

TEST(KvChoice, RefusesWhatWouldHaveNoEffect) {
  EXPECT_THROW((KvChoice{{}, {}, {}, 64, {}}).resolve(), UserError);
  EXPECT_THROW((KvChoice{16, {}, {}, {}, 4}).resolve(), UserError);
  EXPECT_THROW((KvChoice{6, {}, {}, {}, {}}).resolve(), UserError);
}

TEST(Settings, EmptyIsTheDefaults) {
  EXPECT_EQ(parse_settings("", "x.toml"), RunSettings());
  EXPECT_EQ(RunSettings().text(), "defaults");
}

std::string refusal(const char* text) {
  try {
    parse_settings(text, "x.toml");
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Settings, RefusesMistakesInASentence) {
  EXPECT_NE(refusal("thread = 2").find("threads"), std::string::npos);
  EXPECT_NE(refusal("threads = 0").find("at least 1"), std::string::npos);
  EXPECT_NE(
      refusal("quant = \"int4\"\nquant_8bit = \"dwon\"").find("down"),
      std::string::npos);
  EXPECT_NE(
      refusal("quant_8bit = \"down\"").find("needs quant"),
      std::string::npos);
  EXPECT_NE(refusal("threads = \"two\"").find("threads"), std::string::npos);
  EXPECT_NE(refusal("quant = \"int3\"").find("int4"), std::string::npos);
  EXPECT_NE(refusal("a = = 1").find("line 1"), std::string::npos);
  EXPECT_NE(refusal("group_size = 64").find("quant"), std::string::npos);
  EXPECT_NE(refusal("kv_group_size = 32").find("kv-bits"), std::string::npos);
  EXPECT_NE(refusal("kv_bits = 7").find("8, 4 or 16"), std::string::npos);
  EXPECT_NE(
      refusal("quant = \"int4\"\ngroup_size = 48").find("32, 64 or 128"),
      std::string::npos);
}

TEST(Settings, AMissingFileIsAMistakeOfTheUser) {
  EXPECT_THROW(read_settings("no/such/file.toml"), UserError);
}

}  // namespace
}  // namespace roofline
