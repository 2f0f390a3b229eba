#include "roofline/plan/planned_model.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/spec/read_config.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;

fs::path any_golden() {
  for (const auto& entry : fs::directory_iterator(ROOFLINE_GOLDENS)) {
    if (fs::exists(entry.path() / "model.safetensors") &&
        fs::exists(entry.path() / "config.json")) {
      return entry.path();
    }
  }
  return {};
}

TEST(PlannedModel, CountsTheBytesOfFilesExactly) {
  const fs::path folder = any_golden();
  ASSERT_FALSE(folder.empty());
  const PlannedModel model = plan_model(folder.string());
  const auto checkpoint = Checkpoint::open(folder);
  std::uint64_t bytes = 0;
  for (const Tensor& tensor : checkpoint->tensors()) {
    bytes += tensor.total_bytes();
  }
  EXPECT_TRUE(model.exact);
  EXPECT_EQ(model.weight_bytes(), bytes);
  EXPECT_EQ(model.name, folder.filename().string());
  EXPECT_EQ(model.path, folder);
}

TEST(PlannedModel, AConfigAloneGivesTheSameTensors) {
  const fs::path folder = any_golden();
  const PlannedModel files = plan_model(folder.string());
  const PlannedModel bare = plan_model((folder / "config.json").string());
  EXPECT_FALSE(bare.exact);
  EXPECT_FALSE(bare.path);
  EXPECT_EQ(bare.parameters(), files.parameters());
}

TEST(PlannedModel, ANameGivesSixteenBits) {
  const PlannedModel model = plan_model("meta-llama/Llama-2-7b-chat-hf");
  EXPECT_EQ(model.name, "llama-2-7b");
  EXPECT_EQ(model.parameters(), 6738415616);
  EXPECT_EQ(model.weight_bytes(), 2 * 6738415616U);
}

TEST(PlannedModel, QuantizingKeepsNormsAndCountsGroups) {
  const PlannedModel whole = plan_model("llama-2-7b");
  const PlannedModel four = quantized(whole, {4, 64});
  const std::uint64_t norms = (2 * 32 + 1) * 4096;
  const std::uint64_t matrices = 6738415616U - norms;
  EXPECT_EQ(four.weight_bytes(), 2 * norms + matrices / 2 + matrices / 64 * 4);
  EXPECT_EQ(four.parameters(), whole.parameters());
  EXPECT_DOUBLE_EQ((WeightFormat{4, 64}.bits_per_weight()), 4.5);
  EXPECT_DOUBLE_EQ(WeightFormat{}.bits_per_weight(), 16.0);
  EXPECT_EQ((WeightFormat{4, 64}.text()), "int4 (group 64)");
  EXPECT_EQ(WeightFormat{}.text(), "bf16");
}

TEST(PlannedModel, WhatIsQuantizedStaysAsItIs) {
  const PlannedModel four = quantized(plan_model("llama-2-7b"), {4, 64});
  const PlannedModel again = quantized(four, {8, 32});
  EXPECT_EQ(again.weight_bytes(), four.weight_bytes());
}

TEST(PlannedModel, AWrongNameOffersTheNearest) {
  try {
    plan_model("lama-2-7b");
    FAIL() << "no error";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("llama-2-7b"), std::string::npos)
        << error.what();
  }
}

TEST(PlanModel, GptOssHasItsExpertsInMxfp4AsPublished) {
  const PlannedModel model = plan_model("gpt-oss-20b");
  std::uint64_t experts = 0;
  std::uint64_t weights = 0;
  for (const ModelTensor& tensor : model.tensors) {
    if (tensor.format == "mxfp4") {
      experts += tensor.bytes;
      weights += static_cast<std::uint64_t>(tensor.count());
    }
  }
  // 24 layers of 32 experts of three matrices, 4 bits and 8 for each 32.
  EXPECT_EQ(weights, 24ULL * 32 * 3 * 2880 * 2880);
  EXPECT_EQ(experts, weights / 32 * 17);
  EXPECT_NEAR(static_cast<double>(model.weight_bytes()), 13.76e9, 0.02e9);
}

}  // namespace
}  // namespace roofline
