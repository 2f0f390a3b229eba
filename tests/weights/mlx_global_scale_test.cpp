#include "roofline/weights/mlx_global_scale.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/weights/encodings.h"

namespace roofline {
namespace {

constexpr std::int64_t kRows = 4;
constexpr std::int64_t kCols = 16;

/// Rows of codes 7 (which is 6) with scales of 1.
struct PackedCase {
  std::vector<std::byte> codes{kRows * kCols / 2, std::byte{0x77}};
  std::vector<std::byte> scales{kRows, std::byte{0x38}};
  Tensor tensor;

  PackedCase() {
    tensor.name = "model.layers.0.mlp.switch_mlp.up_proj.weight";
    tensor.encoding = Encoding::mlx_nvfp4;
    tensor.rows = kRows;
    tensor.cols = kCols;
    tensor.bytes = codes;
    tensor.affine.bits = 4;
    tensor.affine.group_size = 16;
    tensor.affine.scales = scales;
  }
};

struct Factors {
  std::vector<float> values;
  SafetensorsEntry entry;

  explicit Factors(std::vector<float> numbers) : values(std::move(numbers)) {
    entry.name = "model.layers.0.mlp.switch_mlp.up_proj.global_scale";
    entry.dtype = "F32";
    entry.shape = {static_cast<std::int64_t>(values.size())};
    entry.bytes = std::as_bytes(std::span(values));
  }
};

float first_value(const Tensor& tensor) {
  std::vector<float> row(kCols);
  decode_row(tensor, 0, row);
  return row[0];
}

TEST(MlxGlobalScale, EveryExpertOfAStackIsScaledByItsOwn) {
  const PackedCase packed;
  const Factors factors({448 * 6, 448 * 3});
  const auto experts = with_global_scales(packed.tensor, factors.entry, "here");
  ASSERT_EQ(experts.size(), 2u);
  EXPECT_EQ(experts[1].name, "model.layers.0.mlp.experts.1.up_proj.weight");
  EXPECT_EQ(experts[1].rows, kRows / 2);
  EXPECT_EQ(first_value(experts[0]), 6.0f);
  EXPECT_EQ(first_value(experts[1]), 3.0f);
}

TEST(MlxGlobalScale, StacksOfOtherNamesAreThoseOfExpertsToo) {
  PackedCase packed;
  const Factors factors({448 * 6, 448 * 3});
  for (const std::string stack : {"mlp.experts", "experts.switch_glu"}) {
    packed.tensor.name = "model.layers.0." + stack + ".up_proj.weight";
    const auto experts =
        with_global_scales(packed.tensor, factors.entry, "here");
    ASSERT_EQ(experts.size(), 2u);
    const std::string at = stack == "mlp.experts" ? "mlp.experts" : "experts";
    EXPECT_EQ(experts[1].name, "model.layers.0." + at + ".1.up_proj.weight");
  }
  packed.tensor.name = "model.layers.0.mlp.up_proj.weight";
  EXPECT_THROW(
      with_global_scales(packed.tensor, factors.entry, "here"),
      UnsupportedError);
}

TEST(MlxGlobalScale, BiasesOfAStackAreSplitWithIt) {
  const std::vector<float> values = {1, 2, 3, 4};
  Tensor biases;
  biases.name = "model.layers.0.mlp.experts.up_proj.bias";
  biases.encoding = Encoding::f32;
  biases.rows = 2;
  biases.cols = 2;
  biases.bytes = std::as_bytes(std::span(values));
  const auto experts = split_experts(biases, 2);
  EXPECT_EQ(experts[1].name, "model.layers.0.mlp.experts.1.up_proj.bias");
  std::vector<float> row(2);
  decode_row(experts[1], 0, row);
  EXPECT_EQ(row, std::vector<float>({3, 4}));
}

TEST(MlxGlobalScale, OneNumberScalesTheWholeMatrix) {
  const PackedCase packed;
  const Factors factors({448 * 12});
  const auto whole = with_global_scales(packed.tensor, factors.entry, "here");
  ASSERT_EQ(whole.size(), 1u);
  EXPECT_EQ(whole[0].name, packed.tensor.name);
  EXPECT_EQ(first_value(whole[0]), 12.0f);
}

TEST(MlxGlobalScale, WhatDoesNotFitIsRefused) {
  PackedCase packed;
  const Factors three({1, 1, 1});
  EXPECT_THROW(
      with_global_scales(packed.tensor, three.entry, "here"),
      UnsupportedError);
  const Factors negative({-1, 1});
  EXPECT_THROW(
      with_global_scales(packed.tensor, negative.entry, "here"),
      CheckpointError);
  packed.tensor.encoding = Encoding::mlx_mxfp4;
  const Factors two({1, 1});
  EXPECT_THROW(
      with_global_scales(packed.tensor, two.entry, "here"),
      UnsupportedError);
}

}  // namespace
}  // namespace roofline
