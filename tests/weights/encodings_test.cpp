#include "roofline/weights/encodings.h"

#include <gtest/gtest.h>
#include <mlx/mlx.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "roofline/base/errors.h"
#include "roofline/weights/gguf.h"
#include "roofline/weights/safetensors.h"

namespace mx = mlx::core;

namespace roofline {
namespace {

const std::string kData = ROOFLINE_TEST_DATA "/encodings/";

Tensor tensor_of(const GgufTensor& source) {
  Tensor out;
  out.name = source.name;
  out.encoding = source.encoding;
  out.rows = source.rows();
  out.cols = source.cols();
  out.bytes = source.bytes;
  return out;
}

std::vector<float> floats_of(std::span<const std::byte> bytes) {
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

std::vector<float> normal_values(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(count);
  for (float& value : out) {
    value = normal(random);
  }
  return out;
}

TEST(Encodings, EveryBlockTypeDecodesToTheReferenceFloats) {
  const GgufFile blocks(kData + "blocks.gguf");
  const SafetensorsFile expected(kData + "expected.safetensors");
  ASSERT_EQ(blocks.tensors().size(), 34u);
  for (const GgufTensor& source : blocks.tensors()) {
    const Tensor tensor = tensor_of(source);
    const auto want = floats_of(expected.find(source.name)->bytes);
    ASSERT_EQ(want.size(), static_cast<std::size_t>(tensor.rows * tensor.cols));
    std::vector<float> row(tensor.cols);
    for (std::int64_t r = 0; r < tensor.rows; ++r) {
      decode_row(tensor, r, row);
      for (std::int64_t c = 0; c < tensor.cols; ++c) {
        ASSERT_EQ(row[c], want[r * tensor.cols + c])
            << source.name << " row " << r << " col " << c;
      }
    }
  }
}

TEST(Encodings, TheFormOfCodesHoldsEveryBlockTypeWithoutLoss) {
  const GgufFile blocks(kData + "blocks.gguf");
  int seen = 0;
  for (const GgufTensor& source : blocks.tensors()) {
    const Tensor tensor = tensor_of(source);
    const auto form = code_form(tensor);
    if (!form) {
      EXPECT_EQ(block_format(tensor.encoding).values, 1) << source.name;
      continue;
    }
    ++seen;
    std::vector<std::uint8_t> codes(tensor.cols);
    std::vector<float> scales(tensor.cols / form->group_size);
    std::vector<float> biases(scales.size()), row(tensor.cols);
    for (std::int64_t r = 0; r < tensor.rows; ++r) {
      read_code_row(tensor, r, {codes, scales, biases});
      decode_row(tensor, r, row);
      for (std::int64_t c = 0; c < tensor.cols; ++c) {
        ASSERT_LT(codes[c], 1 << form->bits);
        const auto group = c / form->group_size;
        const int value = form->table ? (*form->table)[codes[c]] : codes[c];
        // Two float operations; the larger part is the bias.
        const float rounding = 1e-7f * std::abs(biases[group]);
        ASSERT_NEAR(scales[group] * value + biases[group], row[c], rounding)
            << source.name;
      }
    }
  }
  EXPECT_EQ(seen, 26);
}

TEST(Encodings, TheAffineFormIsTheNarrowestThatFits) {
  Tensor tensor;
  tensor.encoding = Encoding::q4_k;
  EXPECT_EQ(affine_form(tensor)->bits, 4);
  EXPECT_EQ(affine_form(tensor)->group_size, 32);
  tensor.encoding = Encoding::q5_1;
  EXPECT_EQ(affine_form(tensor)->bits, 8);
  tensor.encoding = Encoding::q6_k;  // groups of 16
  EXPECT_FALSE(affine_form(tensor));
  EXPECT_EQ(code_form(tensor)->group_size, 16);
  tensor.encoding = Encoding::iq4_xs;  // a table
  EXPECT_FALSE(affine_form(tensor));
  EXPECT_EQ(code_form(tensor)->bits, 4);
  tensor.encoding = Encoding::iq3_s;
  EXPECT_EQ(affine_form(tensor)->bits, 4);
  tensor.encoding = Encoding::bf16;
  EXPECT_FALSE(affine_form(tensor));
  tensor.encoding = Encoding::mlx_affine;
  tensor.affine = {3, 64, Encoding::f16, {}, {}};
  EXPECT_EQ(affine_form(tensor)->bits, 4);
  tensor.affine.bits = 6;
  EXPECT_EQ(affine_form(tensor)->bits, 8);
  EXPECT_EQ(affine_form(tensor)->group_size, 64);
}

TEST(Encodings, RowsThatAreNoWholeBlocksHaveNoSize) {
  EXPECT_EQ(row_bytes(Encoding::q4_1, 64), 40u);
  EXPECT_EQ(row_bytes(Encoding::q6_k, 512), 420u);
  EXPECT_EQ(row_bytes(Encoding::q4_1, 33), std::nullopt);
  EXPECT_EQ(row_bytes(Encoding::q4_k, 32), std::nullopt);
  EXPECT_EQ(row_bytes(Encoding::f32, INT64_MAX), std::nullopt);
  EXPECT_EQ(row_bytes(Encoding::f32, -4), std::nullopt);
}

TEST(Encodings, HalfPrecisionCoversEveryBitPattern) {
  std::vector<std::uint16_t> bits(1 << 16);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    bits[i] = static_cast<std::uint16_t>(i);
  }
  const mx::array halves =
      mx::view(mx::array(bits.data(), {1 << 16}, mx::uint16), mx::float16);
  mx::array want = mx::astype(halves, mx::float32);
  mx::eval(want);
  Tensor tensor;
  tensor.encoding = Encoding::f16;
  tensor.rows = 1;
  tensor.cols = 1 << 16;
  tensor.bytes = std::as_bytes(std::span(bits));
  std::vector<float> row(bits.size());
  decode_row(tensor, 0, row);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const float w = want.data<float>()[i];
    ASSERT_TRUE(row[i] == w || (std::isnan(row[i]) && std::isnan(w))) << i;
  }
}

TEST(Encodings, RowsOutsideATensorAreABug) {
  std::vector<float> values(8, 1.0f), row(4);
  Tensor tensor;
  tensor.rows = 2;
  tensor.cols = 4;
  tensor.bytes = std::as_bytes(std::span(values));
  EXPECT_NO_THROW(decode_row(tensor, 1, row));
  EXPECT_THROW(decode_row(tensor, 2, row), BugError);
  EXPECT_THROW(decode_row(tensor, -1, row), BugError);
  row.resize(5);
  EXPECT_THROW(decode_row(tensor, 0, row), BugError);
  EXPECT_THROW(read_affine_row(tensor, 0, {}), BugError);
  EXPECT_THROW(read_code_row(tensor, 0, {}), BugError);
}

/// mx::quantize's codes, scales and biases as a tensor of ours.
struct Packed {
  std::vector<mx::array> arrays;
  Tensor tensor;
};

Packed quantize_with_mlx(
    const mx::array& values,
    int bits,
    int group,
    Encoding dtype) {
  Packed out;
  out.arrays = mx::quantize(
      values,
      group,
      bits,
      "affine",
      std::nullopt,
      mx::Device::cpu);
  for (auto& array : out.arrays) {
    array = mx::contiguous(array);
    mx::eval(array);
  }
  const auto bytes = [](const mx::array& array) {
    return std::span(
        reinterpret_cast<const std::byte*>(array.data<char>()),
        array.nbytes());
  };
  out.tensor.encoding = Encoding::mlx_affine;
  out.tensor.rows = values.shape(0);
  out.tensor.cols = values.shape(1);
  out.tensor.bytes = bytes(out.arrays[0]);
  out.tensor.affine =
      {bits, group, dtype, bytes(out.arrays[1]), bytes(out.arrays[2])};
  return out;
}

TEST(Encodings, EveryMlxBitWidthDecodesAsMlxDecodesIt) {
  constexpr int kRows = 3, kCols = 256;
  const auto values = normal_values(kRows * kCols, 1);
  const mx::array floats(values.data(), {kRows, kCols}, mx::float32);
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128}) {
      const Packed packed =
          quantize_with_mlx(floats, bits, group, Encoding::f32);
      mx::array want = mx::dequantize(
          packed.arrays[0],
          packed.arrays[1],
          packed.arrays[2],
          group,
          bits);
      mx::eval(want);
      std::vector<float> row(kCols);
      for (int r = 0; r < kRows; ++r) {
        decode_row(packed.tensor, r, row);
        for (int c = 0; c < kCols; ++c) {
          ASSERT_NEAR(row[c], want.data<float>()[r * kCols + c], 1e-6)
              << bits << " bits, groups of " << group;
        }
      }
    }
  }
}

TEST(Encodings, MlxScalesMayBeHalvesOrBfloats) {
  const auto values = normal_values(64, 2);
  const mx::array floats(values.data(), {1, 64}, mx::float32);
  for (auto [dtype, encoding] :
       {std::pair(mx::float16, Encoding::f16),
        std::pair(mx::bfloat16, Encoding::bf16)}) {
    const Packed packed =
        quantize_with_mlx(mx::astype(floats, dtype), 4, 32, encoding);
    std::vector<float> row(64);
    decode_row(packed.tensor, 0, row);
    for (int c = 0; c < 64; ++c) {
      EXPECT_NEAR(row[c], values[c], 0.25f);
    }
  }
}

void expect_same_as_mlx(const std::vector<float>& values, int bits, int group) {
  const int cols = static_cast<int>(values.size());
  const Packed packed = quantize_with_mlx(
      mx::array(values.data(), {1, cols}, mx::float32),
      bits,
      group,
      Encoding::f32);
  std::vector<std::uint8_t> codes(cols), want_codes(cols);
  std::vector<float> scales(cols / group), biases(cols / group);
  std::vector<float> want_scales(cols / group), want_biases(cols / group);
  quantize_row(values, {bits, group}, {codes, scales, biases});
  read_affine_row(packed.tensor, 0, {want_codes, want_scales, want_biases});
  EXPECT_EQ(codes, want_codes);
  EXPECT_EQ(scales, want_scales);
  EXPECT_EQ(biases, want_biases);
}

TEST(Encodings, QuantizingGivesWhatMlxGives) {
  for (int bits : {4, 8}) {
    for (int group : {32, 64, 128}) {
      expect_same_as_mlx(normal_values(1024, 3), bits, group);
      expect_same_as_mlx(std::vector<float>(256, 0.0f), bits, group);
      expect_same_as_mlx(std::vector<float>(256, -3.5f), bits, group);
      std::vector<float> positive = normal_values(256, 4);
      for (float& value : positive) {
        value = std::abs(value) + 5;
      }
      expect_same_as_mlx(positive, bits, group);
    }
  }
}

TEST(Encodings, QuantizingKeepsZeroAndTheLargerEndExactly) {
  std::vector<float> values = normal_values(64, 5);
  values[7] = -9.0f;
  values[20] = 0.0f;
  std::vector<std::uint8_t> codes(64);
  std::vector<float> scales(1), biases(1);
  quantize_row(values, {4, 64}, {codes, scales, biases});
  EXPECT_EQ(scales[0] * codes[7] + biases[0], -9.0f);
  EXPECT_NEAR(scales[0] * codes[20] + biases[0], 0.0f, 1e-6);
}

TEST(Encodings, QuantizingSurvivesValuesThatAreNotFinite) {
  std::vector<float> values = normal_values(32, 6);
  values[3] = std::numeric_limits<float>::quiet_NaN();
  values[4] = std::numeric_limits<float>::infinity();
  std::vector<std::uint8_t> codes(32);
  std::vector<float> scales(1), biases(1);
  quantize_row(values, {4, 32}, {codes, scales, biases});
  for (std::uint8_t code : codes) {
    EXPECT_LT(code, 16);
  }
}

TEST(Encodings, QuantizingRefusesSizesThatDoNotFit) {
  std::vector<float> values(48);
  std::vector<std::uint8_t> codes(48);
  std::vector<float> scales(1), biases(1);
  EXPECT_THROW(
      quantize_row(values, {4, 32}, {codes, scales, biases}),
      BugError);
}

}  // namespace
}  // namespace roofline
