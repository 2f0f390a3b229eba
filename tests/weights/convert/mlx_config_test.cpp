#include "roofline/weights/convert/mlx_config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "roofline/spec/read_config.h"

namespace roofline {
namespace {

using nlohmann::json;

json golden_config(const std::string& name) {
  std::ifstream file(
      std::filesystem::path(ROOFLINE_GOLDENS) / name / "config.json");
  return json::parse(file);
}

TEST(MlxConfig, FieldsThatMlxLmDoesNotDoWithoutAreThere) {
  struct Case {
    const char* golden;
    std::vector<const char*> fields;
  };
  const Case cases[] = {
      {"apertus", {"mlp_bias", "post_norm", "qk_norm", "rope_theta"}},
      {"exaone4", {"head_dim", "rope_scaling", "sliding_window_pattern"}},
      {"glm4_moe", {"rope_scaling", "rope_theta"}},
      {"gpt2", {"n_ctx"}},
      {"lfm2", {"block_dim"}},
      {"mamba2", {"intermediate_size"}},
      {"qwen3_moe", {"num_experts"}},
      {"qwen3_next", {"full_attention_interval"}},
  };
  for (const Case& each : cases) {
    const json config = golden_config(each.golden);
    const json written = mlx_config(config);
    for (const char* field : each.fields) {
      EXPECT_TRUE(written.contains(field)) << each.golden << " " << field;
    }
    // They say what was said before.
    EXPECT_EQ(describe(read_config(written)), describe(read_config(config)))
        << each.golden;
  }
}

TEST(MlxConfig, APeriodOfWindowsIsSpelledOut) {
  json config = golden_config("exaone4");
  config["sliding_window_pattern"] = 4;
  EXPECT_EQ(mlx_config(config)["sliding_window_pattern"], "LLLG");
}

TEST(MlxConfig, ScaledRopesHaveTheirTypeUnderBothNames) {
  const json rope = mlx_config(golden_config("phi3_longrope"))["rope_scaling"];
  EXPECT_EQ(rope["type"], "longrope");
  EXPECT_EQ(rope["rope_type"], "longrope");
}

TEST(MlxConfig, RopesOfEachKindOfLayerGetNoScalingThatFitsNeither) {
  const json config = mlx_config(golden_config("gemma4_text"));
  const json& text = config.value("text_config", config);
  EXPECT_EQ(
      text["rope_parameters"]["full_attention"]["rope_type"],
      "proportional");
  EXPECT_FALSE(text.contains("rope_scaling"));
}

}  // namespace
}  // namespace roofline
