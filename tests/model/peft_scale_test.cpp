#include "roofline/model/peft_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

class PeftScalesTest : public ::testing::Test {
 protected:
  PeftScalesTest() { std::filesystem::create_directories(folder_); }
  ~PeftScalesTest() override { std::filesystem::remove_all(folder_); }
  PeftScales read(const std::string& config) {
    std::ofstream(folder_ / "adapter_config.json") << config;
    return PeftScales(folder_);
  }
  std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) /
      (std::string("peft_scales_") +
       ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(PeftScalesTest, AreAlphaByRankOrByItsRoot) {
  EXPECT_FLOAT_EQ(read(R"({"r": 4, "lora_alpha": 6})").of("q"), 1.5f);
  const auto rooted = read(R"({"r": 4, "lora_alpha": 6, "use_rslora": true})");
  EXPECT_FLOAT_EQ(rooted.of("q"), 3);
  EXPECT_FLOAT_EQ(rooted.general().value(), 3);
}

TEST_F(PeftScalesTest, TakeTheFirstKeyInTheFilesOrderThatFits) {
  const auto scales = read(
      R"({"r": 4, "lora_alpha": 4,
          "alpha_pattern": {"self_attn.q_proj": 8, "layers.*q_proj": 16},
          "rank_pattern": {"v_proj": 2, "layers.0.*": 1}})");
  EXPECT_FLOAT_EQ(scales.of("model.layers.1.self_attn.q_proj"), 2);
  EXPECT_FLOAT_EQ(scales.of("model.layers.1.other.q_proj"), 4);
  EXPECT_FLOAT_EQ(scales.of("model.layers.0.self_attn.v_proj"), 2);
  EXPECT_FLOAT_EQ(scales.of("model.layers.0.self_attn.k_proj"), 4);
}

TEST_F(PeftScalesTest, NeedNoGeneralRankWherePatternsHaveOne) {
  for (const char* rank : {"", R"("r": 0,)", R"("r": null,)"}) {
    const auto scales = read(
        std::string("{") + rank +
        R"("lora_alpha": 6, "rank_pattern": {"q_proj": 3}})");
    EXPECT_FALSE(scales.general().has_value());
    EXPECT_FLOAT_EQ(scales.of("layers.0.q_proj"), 2);
    EXPECT_THROW(scales.of("layers.0.k_proj"), CheckpointError);
  }
}

TEST_F(PeftScalesTest, AnAlphaOfZeroIsOneAndNoneIsRefused) {
  EXPECT_FLOAT_EQ(read(R"({"r": 4, "lora_alpha": 0})").of("q"), 0);
  EXPECT_THROW(read(R"({"r": 4})").of("q"), CheckpointError);
}

TEST_F(PeftScalesTest, RefuseWhatIsNoNumber) {
  for (const char* wrong :
       {R"({"r": "4", "lora_alpha": 4})",
        R"({"r": 4, "lora_alpha": [4]})",
        R"({"r": 4, "lora_alpha": 4, "rank_pattern": {"q": "8"}})",
        R"({"r": 4, "lora_alpha": 4, "alpha_pattern": {"q": null}})",
        R"({"r": 4, "lora_alpha": 4, "alpha_pattern": ["q"]})",
        R"({"r": 4, "lora_alpha": 4, "alpha_pattern": {"(q": 8}})"}) {
    EXPECT_THROW(read(wrong).of("q"), CheckpointError) << wrong;
  }
  EXPECT_THROW(read("[1]"), CheckpointError);
}

}  // namespace
}  // namespace roofline
