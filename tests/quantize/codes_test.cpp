#include "roofline/quantize/codes.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <gtest/gtest.h>

#include <mlx/ops.h>

#include "quantize/helpers.h"
#include "roofline/quantize/small_floats.h"

namespace roofline {
namespace {

namespace mx = mlx::core;

/// What MLX reads from the packed bytes.
std::vector<float> read_by_mlx(const PackedCodes& packed) {
  const auto bytes_of = [](const std::vector<std::byte>& bytes) {
    return bytes.data();
  };
  const int groups = packed.cols / packed.format.group_size;
  const mx::array words(
      reinterpret_cast<const std::uint32_t*>(bytes_of(packed.words)),
      {packed.rows, packed.cols * packed.format.bits / 32});
  const mx::Shape shape = {packed.rows, groups};
  std::optional<mx::array> biases;
  std::optional<mx::array> scales;
  if (packed.format.mode == QuantMode::affine) {
    scales = mx::array(
        reinterpret_cast<const float*>(bytes_of(packed.scales)),
        shape);
    biases = mx::array(
        reinterpret_cast<const float*>(bytes_of(packed.biases)),
        shape);
  } else {
    scales = mx::array(
        reinterpret_cast<const std::uint8_t*>(bytes_of(packed.scales)),
        shape);
  }
  auto values = mx::astype(
      mx::dequantize(
          words,
          *scales,
          biases,
          packed.format.group_size,
          packed.format.bits,
          std::string(mode_name(packed.format.mode)),
          std::nullopt,
          mx::float32,
          mx::Device::cpu),
      mx::float32,
      mx::Device::cpu);
  values.eval();
  return {values.data<float>(), values.data<float>() + values.size()};
}

std::vector<MatrixFormat> all_formats() {
  std::vector<MatrixFormat> formats;
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      formats.push_back({QuantMode::affine, bits, group});
    }
  }
  for (const auto mode :
       {QuantMode::mxfp4, QuantMode::nvfp4, QuantMode::mxfp8}) {
    formats.push_back(small_float_format(mode));
  }
  return formats;
}

TEST(Codes, AreReadByMlxAsWeMeantThem) {
  auto& pool = ThreadPool::global();
  const auto weights = testing::random_matrix(5, 256, 1);
  for (const auto& format : all_formats()) {
    const auto codes = round_plain(weights, format, Encoding::f32, pool);
    const auto meant = decode(codes, pool);
    const auto packed = pack_codes(codes, pool);
    EXPECT_EQ(
        static_cast<std::int64_t>(packed.words.size()),
        5 * 256 * format.bits / 8);
    const auto read = read_by_mlx(packed);
    for (std::size_t i = 0; i < read.size(); ++i) {
      ASSERT_NEAR(read[i], meant.values[i], 1e-6) << format.text() << " " << i;
    }
  }
}

TEST(Codes, LieWithinHalfAStepOfTheWeights) {
  auto& pool = ThreadPool::global();
  const auto weights = testing::random_matrix(4, 128, 2);
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    const MatrixFormat format{QuantMode::affine, bits, 64};
    const auto codes = round_plain(weights, format, Encoding::f32, pool);
    const auto values = decode(codes, pool);
    for (int row = 0; row < 4; ++row) {
      for (int col = 0; col < 128; ++col) {
        const float step = std::abs(
            codes.scales[static_cast<std::size_t>(row * 2 + col / 64)]);
        // The far end of the range can be cut by up to half a step more.
        EXPECT_LE(
            std::abs(values.row(row)[col] - weights.row(row)[col]),
            1.01f * step);
      }
    }
  }
}

TEST(Codes, MakeBitsPerWeightOfFormats) {
  const MatrixFormat format{QuantMode::affine, 4, 64};
  EXPECT_EQ(format.bits_per_weight(), 4.5);
  EXPECT_EQ(format.bytes(2, 128), 2 * (64 + 2 * 4));
  EXPECT_EQ(small_float_format(QuantMode::mxfp4).bits_per_weight(), 4.25);
  EXPECT_EQ(small_float_format(QuantMode::nvfp4).bits_per_weight(), 4.5);
  EXPECT_EQ(small_float_format(QuantMode::mxfp8).bits_per_weight(), 8.25);
}

TEST(Codes, SearchedRangesLoseLess) {
  auto& pool = ThreadPool::global();
  const auto weights = testing::random_matrix(8, 128, 3);
  SquareMatrix one{128, std::vector<float>(128 * 128, 0.0f)};
  for (int i = 0; i < 128; ++i) {
    one.at(i, i) = 1;
  }
  for (const auto& format : all_formats()) {
    const auto plain = round_plain(weights, format, Encoding::f16, pool);
    const auto searched = round_plain(
        weights,
        format,
        Encoding::f16,
        pool,
        RangeSearch::narrower);
    EXPECT_LE(
        testing::error_of(searched, weights, one),
        testing::error_of(plain, weights, one))
        << format.text();
  }
}

TEST(Codes, SearchedGridsAreThoseThatValuesLieOn) {
  auto& pool = ThreadPool::global();
  // Of another program's codes: from the lowest value on, or around zero.
  for (const float bias : {-0.8125f, 0.25f, -1.0f}) {
    FloatMatrix weights = testing::random_matrix(4, 64, 5);
    std::uint32_t state = 3;
    for (float& value : weights.values) {
      state = state * 1664525u + 1013904223u;
      value = bias + 0.125f * static_cast<float>(state >> 28);
    }
    const auto values = decode(
        round_plain(
            weights,
            {QuantMode::affine, 4, 32},
            Encoding::f16,
            pool,
            RangeSearch::narrower),
        pool);
    EXPECT_EQ(values.values, weights.values) << bias;
  }
}

TEST(Codes, TakeGroupsOfZerosAndEqualValues) {
  auto& pool = ThreadPool::global();
  FloatMatrix weights{2, 64, std::vector<float>(128, 0.0f)};
  std::fill(weights.values.begin() + 64, weights.values.end(), 0.75f);
  for (const auto& format : all_formats()) {
    if (!format.fits(64)) {
      continue;
    }
    const auto values =
        decode(round_plain(weights, format, Encoding::f16, pool), pool);
    EXPECT_EQ(values.row(0)[5], 0.0f) << format.text();
    EXPECT_NEAR(values.row(1)[5], 0.75f, 0.1f) << format.text();
  }
}

TEST(SmallFloats, HaveTheStandardsValues) {
  EXPECT_EQ(e2m1_values()[3], 1.5f);
  EXPECT_EQ(e2m1_values().back(), 6.0f);
  EXPECT_EQ(e4m3_values()[1], std::ldexp(1.0f, -9));
  EXPECT_EQ(e4m3_values().back(), 448.0f);
  EXPECT_EQ(e8m0_value(127), 1.0f);
  EXPECT_EQ(e8m0_above(1.0f), 127);
  EXPECT_EQ(e8m0_above(1.01f), 128);
  EXPECT_EQ(nearest_index(e2m1_values(), 2.4f), 4);
  EXPECT_EQ(nearest_index(e2m1_values(), 99.0f), 7);
}

}  // namespace
}  // namespace roofline
