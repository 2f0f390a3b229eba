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
  const std::string text = settings_toml(settings, "why\nin two lines");
  EXPECT_EQ(text.rfind("# why\n# in two lines\n", 0), 0u) << text;
  EXPECT_EQ(parse_settings(text, "x.toml"), settings);
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
  EXPECT_NE(
      refusal("quant = \"int4\"\ngroup_size = 48").find("32, 64 or 128"),
      std::string::npos);
}

TEST(Settings, AMissingFileIsAMistakeOfTheUser) {
  EXPECT_THROW(read_settings("no/such/file.toml"), UserError);
}

}  // namespace
}  // namespace roofline
