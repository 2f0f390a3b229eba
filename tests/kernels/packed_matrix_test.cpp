#include "roofline/kernels/packed_matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/packed_helpers.h"
#include "roofline/base/errors.h"
#include "roofline/base/half.h"
#include "roofline/weights/encodings.h"

namespace roofline {
namespace {

using testing::AlignedBytes;

/// A tensor of random bytes whose scales are sane, with memory of its own.
struct OwnedTensor {
  std::vector<std::byte> bytes;
  std::vector<std::byte> scales;
  std::vector<std::byte> biases;
  Tensor tensor;
};

void put_half(std::byte* at, float value) {
  const std::uint16_t half = f32_to_f16(value);
  std::memcpy(at, &half, 2);
}

/// GGML's q4_1 (f16 scale, f16 bias, 16 bytes) or q8_0 (f16 scale, 32 bytes).
OwnedTensor ggml_tensor(
    Encoding encoding,
    int rows,
    int cols,
    unsigned seed,
    float scale) {
  const int block = encoding == Encoding::q4_1 ? 20 : 34;
  OwnedTensor t;
  t.bytes.resize(static_cast<std::size_t>(rows * cols / 32 * block));
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  for (std::byte& byte : t.bytes) {
    byte = static_cast<std::byte>(random());
  }
  for (std::size_t i = 0; i < t.bytes.size();
       i += static_cast<std::size_t>(block)) {
    put_half(t.bytes.data() + i, uniform(random));
    if (encoding == Encoding::q4_1) {
      put_half(t.bytes.data() + i + 2, 8 * uniform(random));
    }
  }
  t.tensor.name = "test";
  t.tensor.encoding = encoding;
  t.tensor.rows = rows;
  t.tensor.cols = cols;
  t.tensor.bytes = t.bytes;
  return t;
}

OwnedTensor mlx_tensor(
    int bits,
    int group,
    int rows,
    int cols,
    unsigned seed,
    float scale) {
  OwnedTensor t;
  t.bytes.resize(static_cast<std::size_t>(rows * cols * bits / 8));
  t.scales.resize(static_cast<std::size_t>(rows * cols / group * 4));
  t.biases.resize(t.scales.size());
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  for (std::byte& byte : t.bytes) {
    byte = static_cast<std::byte>(random());
  }
  for (std::size_t i = 0; i < t.scales.size(); i += 4) {
    // Scales of 11 bits fit f16 exactly.
    const float s = f16_to_f32(f32_to_f16(uniform(random) / scale));
    const float b = f16_to_f32(f32_to_f16(uniform(random) / scale));
    const float values[] = {s * scale, b * scale};
    std::memcpy(t.scales.data() + i, &values[0], 4);
    std::memcpy(t.biases.data() + i, &values[1], 4);
  }
  t.tensor.name = "test";
  t.tensor.encoding = Encoding::mlx_affine;
  t.tensor.rows = rows;
  t.tensor.cols = cols;
  t.tensor.bytes = t.bytes;
  t.tensor.affine = {bits, group, Encoding::f32, t.scales, t.biases};
  return t;
}

/// Random blocks of any of GGML's types whose scales are f16 at its start.
OwnedTensor block_tensor(Encoding encoding, int rows, int blocks) {
  const BlockFormat& format = block_format(encoding);
  OwnedTensor t;
  t.bytes.resize(static_cast<std::size_t>(rows * blocks * format.bytes));
  std::mt19937 random(7);
  std::uniform_real_distribution<float> uniform(0.5f, 1.0f);
  for (std::byte& byte : t.bytes) {
    byte = static_cast<std::byte>(random());
  }
  for (int block = 0; block < rows * blocks; ++block) {
    std::byte* at = t.bytes.data() + block * format.bytes;
    if (encoding == Encoding::q6_k) {
      put_half(at + 208, uniform(random));
    } else if (encoding == Encoding::q3_k) {
      put_half(at + 108, uniform(random));
    } else if (encoding == Encoding::q2_k) {
      put_half(at + 80, uniform(random));
      put_half(at + 82, uniform(random));
    } else if (encoding == Encoding::mxfp4) {
      *at = std::byte{120};
    } else {
      put_half(at, uniform(random));
    }
  }
  t.tensor.name = format.name;
  t.tensor.encoding = encoding;
  t.tensor.rows = rows;
  t.tensor.cols = std::int64_t{blocks} * format.values;
  t.tensor.bytes = t.bytes;
  return t;
}

std::vector<float> packed_row(const PackedMatrix& matrix, int row) {
  std::vector<float> out(static_cast<std::size_t>(matrix.cols));
  read_packed_row(matrix, row, out);
  return out;
}

std::vector<float> source_row(const Tensor& tensor, int row) {
  std::vector<float> out(static_cast<std::size_t>(tensor.cols));
  decode_row(tensor, row, out);
  return out;
}

void expect_rows_equal(
    const PackedMatrix& matrix,
    int first_row,
    const Tensor& tensor) {
  for (int row = 0; row < tensor.rows; ++row) {
    const auto got = packed_row(matrix, first_row + row);
    const auto expected = source_row(tensor, row);
    for (std::size_t c = 0; c < got.size(); ++c) {
      ASSERT_FLOAT_EQ(got[c], expected[c])
          << tensor.name << " row " << row << " column " << c;
    }
  }
}

void expect_packs(const OwnedTensor& t, const PackedForm& form) {
  AlignedBytes memory(packed_bytes(form, t.tensor.rows, t.tensor.cols));
  ThreadPool pool(2);
  const Tensor* const tensors[] = {&t.tensor};
  const PackedMatrix matrix = pack(tensors, form, memory.span(), pool);
  EXPECT_EQ(matrix.form(), form);
  EXPECT_EQ(matrix.rows, t.tensor.rows);
  EXPECT_EQ(matrix.cols, t.tensor.cols);
  EXPECT_EQ(matrix.bytes(), memory.span().size());
  EXPECT_EQ(std::ldexp(1.0f, std::ilogb(matrix.unit)), matrix.unit);
  expect_rows_equal(matrix, 0, t.tensor);
}

TEST(PackedMatrix, Q41RowsComeBackExactly) {
  for (int rows : {1, 15, 16, 17, 100}) {
    expect_packs(
        ggml_tensor(Encoding::q4_1, rows, 96, 1, 0.01f),
        PackedFormat::q4);
  }
}

TEST(PackedMatrix, Q80RowsComeBackExactlyWithBiasesAndWithout) {
  const auto t = ggml_tensor(Encoding::q8_0, 33, 64, 2, 0.01f);
  const PackedForm own(PackedFormat::q8, 1, 128);
  ASSERT_EQ(packed_form(*code_form(t.tensor)), own);
  expect_packs(t, own);
  expect_packs(t, PackedFormat::q8);
}

TEST(PackedMatrix, Q40RowsTakeFourAndAHalfBits) {
  const auto t = block_tensor(Encoding::q4_0, 33, 6);
  const PackedForm own(PackedFormat::q4, 1, 8);
  ASSERT_EQ(packed_form(*code_form(t.tensor)), own);
  EXPECT_EQ(packed_bytes(own, 48, 192), 48 * 192 * 9 / 16);
  expect_packs(t, own);
}

TEST(PackedMatrix, LargerGroupsTakeTheirScalesOnce) {
  const auto bits = [](const PackedForm& form) {
    return 8.0 * static_cast<double>(packed_bytes(form, 16, 512)) / (16 * 512);
  };
  EXPECT_EQ(bits({PackedFormat::q4}), 5.0);
  EXPECT_EQ(bits({PackedFormat::q4, 2}), 4.5);
  EXPECT_EQ(bits({PackedFormat::q4, 4}), 4.25);
  EXPECT_EQ(bits({PackedFormat::q4, 2, 8}), 4.25);
  EXPECT_EQ(bits({PackedFormat::q8, 1, 128}), 8.5);
  EXPECT_EQ(bits({PackedFormat::q8_16, 1, 32}), 9.0);
}

TEST(PackedMatrix, ALastUnitShortOfCodesHasAllOfItsScales) {
  // Two groups share a line of scales; the third one has a line alone, so that
  // codes stay aligned.
  const PackedForm form(PackedFormat::q4, 1, 8);
  EXPECT_EQ(packed_bytes(form, 16, 96), 2 * 64 + 3 * kQ4Codes);
  expect_packs(block_tensor(Encoding::q4_0, 20, 3), form);
}

TEST(PackedMatrix, FourBitCodesMayGoIntoTheEightBitFormat) {
  expect_packs(ggml_tensor(Encoding::q4_1, 20, 64, 3, 0.01f), PackedFormat::q8);
}

TEST(PackedMatrix, TablesAndGroupsOfSixteenComeBackUpToTheRoundingOfScales) {
  struct Case {
    Encoding encoding;
    PackedForm form;
  };
  for (const Case c : {
           Case{Encoding::q6_k, {PackedFormat::q8_16, 1, 32}},
           Case{Encoding::q3_k, {PackedFormat::q4_16, 1, 4}},
           Case{Encoding::q2_k, PackedFormat::q4_16},
           Case{Encoding::iq2_xs, {PackedFormat::q4_16, 1, 64}},
           Case{Encoding::iq4_xs, {PackedFormat::q4_table, 1, 128}},
           Case{Encoding::iq3_xxs, {PackedFormat::q4_table, 1, 64}},
           Case{Encoding::iq1_s, PackedFormat::q4},
           Case{Encoding::mxfp4, {PackedFormat::q4_table, 1, 16}},
       }) {
    const auto t = block_tensor(c.encoding, 19, 2);
    SCOPED_TRACE(t.tensor.name);
    ASSERT_EQ(packed_form(*code_form(t.tensor)), c.form);
    AlignedBytes memory(packed_bytes(c.form, 19, t.tensor.cols));
    ThreadPool pool(2);
    const Tensor* const tensors[] = {&t.tensor};
    const auto matrix = pack(tensors, c.form, memory.span(), pool);
    for (int row = 0; row < 19; ++row) {
      const auto got = packed_row(matrix, row);
      const auto expected = source_row(t.tensor, row);
      float most = 0;
      for (const float value : expected) {
        most = std::max(most, std::fabs(value));
      }
      for (std::size_t i = 0; i < got.size(); ++i) {
        // Scale and bias, of up to 16 times the values, round to 11 bits.
        ASSERT_NEAR(got[i], expected[i], 0x1p-8f * most) << row << " " << i;
      }
    }
  }
}

TEST(PackedMatrix, TablesThatDifferDoNotStack) {
  const auto a = block_tensor(Encoding::iq4_nl, 16, 8);
  const auto b = block_tensor(Encoding::mxfp4, 16, 8);
  AlignedBytes memory(packed_bytes(PackedFormat::q4_table, 32, 256));
  ThreadPool pool(1);
  const Tensor* const tensors[] = {&a.tensor, &b.tensor};
  EXPECT_THROW(
      pack(tensors, PackedFormat::q4_table, memory.span(), pool),
      BugError);
}

TEST(PackedMatrix, EveryMlxGroupSizeComesBack) {
  for (int bits : {4, 8}) {
    for (int group : {32, 64, 128}) {
      SCOPED_TRACE(
          std::to_string(bits) + " bits, group " + std::to_string(group));
      const auto t = mlx_tensor(bits, group, 18, 256, 4, 1.0f);
      const PackedFormat format =
          bits == 4 ? PackedFormat::q4 : PackedFormat::q8;
      ASSERT_EQ(
          packed_form(*code_form(t.tensor)),
          PackedForm(format, group / 32));
      expect_packs(t, {format, group / 32});
      expect_packs(t, format);
    }
  }
}

TEST(PackedMatrix, ScalesOutsideF16KeepTheirPrecision) {
  for (float scale : {0x1p-40f, 0x1p-24f, 0x1p30f}) {
    SCOPED_TRACE(scale);
    expect_packs(mlx_tensor(4, 32, 20, 64, 5, scale), PackedFormat::q4);
  }
}

TEST(PackedMatrix, TheLargestF16ScaleDoesNotBecomeInfinite) {
  auto t = ggml_tensor(Encoding::q4_1, 16, 32, 6, 0.01f);
  put_half(t.bytes.data(), 65504.0f);
  AlignedBytes memory(packed_bytes(PackedFormat::q4, 16, 32));
  ThreadPool pool(1);
  const Tensor* const tensors[] = {&t.tensor};
  const auto matrix = pack(tensors, PackedFormat::q4, memory.span(), pool);
  const auto expected = source_row(t.tensor, 0);
  const auto got = packed_row(matrix, 0);
  for (std::size_t c = 0; c < got.size(); ++c) {
    EXPECT_FLOAT_EQ(got[c], expected[c]);
  }
}

TEST(PackedMatrix, AllZeroScalesGiveZeroAndUnitOne) {
  const auto t = ggml_tensor(Encoding::q4_1, 16, 32, 7, 0.0f);
  AlignedBytes memory(packed_bytes(PackedFormat::q4, 16, 32));
  ThreadPool pool(1);
  const Tensor* const tensors[] = {&t.tensor};
  const auto matrix = pack(tensors, PackedFormat::q4, memory.span(), pool);
  EXPECT_EQ(matrix.unit, 1.0f);
  for (float value : packed_row(matrix, 3)) {
    EXPECT_EQ(value, 0.0f);
  }
}

TEST(PackedMatrix, StackedTensorsFollowEachOther) {
  const auto a = ggml_tensor(Encoding::q4_1, 9, 64, 8, 0.01f);
  // Far smaller scales than a's: the blocks must end up with one unit.
  const auto b = mlx_tensor(4, 64, 30, 64, 9, 0x1p-12f);
  const auto c = ggml_tensor(Encoding::q4_1, 1, 64, 10, 1.0f);
  AlignedBytes memory(packed_bytes(PackedFormat::q4, 40, 64));
  ThreadPool pool(2);
  const Tensor* const tensors[] = {&a.tensor, &b.tensor, &c.tensor};
  const auto matrix = pack(tensors, PackedFormat::q4, memory.span(), pool);
  EXPECT_EQ(matrix.rows, 40);
  expect_rows_equal(matrix, 0, a.tensor);
  expect_rows_equal(matrix, 9, b.tensor);
  expect_rows_equal(matrix, 39, c.tensor);
}

TEST(PackedMatrix, TheBytesDoNotDependOnTheThreadCount) {
  const auto t = ggml_tensor(Encoding::q4_1, 200, 96, 11, 0.01f);
  const std::size_t size = packed_bytes(PackedFormat::q4, 200, 96);
  const Tensor* const tensors[] = {&t.tensor};
  std::vector<std::byte> first;
  for (int threads : {1, 3}) {
    AlignedBytes memory(size);
    ThreadPool pool(threads);
    pack(tensors, PackedFormat::q4, memory.span(), pool);
    const std::vector<std::byte> bytes(memory.data(), memory.data() + size);
    if (first.empty()) {
      first = bytes;
    }
    EXPECT_EQ(bytes, first);
  }
}

TEST(PackedMatrix, TheLayoutIsTheOneTheHeaderStates) {
  const auto t = ggml_tensor(Encoding::q4_1, 17, 64, 12, 0.01f);
  AlignedBytes memory(packed_bytes(PackedFormat::q4, 17, 64));
  ThreadPool pool(1);
  const Tensor* const tensors[] = {&t.tensor};
  pack(tensors, PackedFormat::q4, memory.span(), pool);
  // With biases each group is a unit. Row 16 is row 0 of block 1; column 32 +
  // 13 is group 1, line 1, high nibble.
  constexpr int kUnit = 2 * kSetScales + kQ4Codes;
  const std::byte* unit = memory.data() + (1 * 2 + 1) * kUnit;
  const std::byte* group = unit + 2 * kSetScales;
  std::vector<std::uint8_t> codes(64);
  std::vector<float> scales(2);
  std::vector<float> biases(2);
  read_affine_row(t.tensor, 16, {codes, scales, biases});
  EXPECT_EQ(std::to_integer<int>(group[64 + 1]) >> 4, codes[32 + 13]);
  EXPECT_EQ(std::to_integer<int>(group[64 + 1]) & 15, codes[32 + 9]);
  // Rows that don't exist are zero.
  EXPECT_EQ(group[64 + 4 + 1], std::byte{0});
  EXPECT_EQ(unit[2], std::byte{0});
}

TEST(PackedMatrix, RefusesWhatDoesNotFit) {
  ThreadPool pool(1);
  const auto q8 = ggml_tensor(Encoding::q8_0, 16, 32, 13, 0.01f);
  const auto q4 = ggml_tensor(Encoding::q4_1, 16, 64, 13, 0.01f);
  AlignedBytes memory(1 << 16);
  const Tensor* const eight[] = {&q8.tensor};
  const Tensor* const mixed[] = {&q8.tensor, &q4.tensor};
  EXPECT_THROW(pack(eight, PackedFormat::q4, memory.span(), pool), BugError);
  EXPECT_THROW(pack(mixed, PackedFormat::q8, memory.span(), pool), BugError);
  EXPECT_THROW(pack(eight, PackedFormat::f16, memory.span(), pool), BugError);
  EXPECT_THROW(
      pack(eight, PackedFormat::q8, memory.span().first(100), pool),
      BugError);
  EXPECT_THROW(packed_bytes(PackedFormat::q4, 4, 48), UnsupportedError);
}

TEST(PackedMatrix, ADenseViewReadsTheTensorInPlace) {
  const std::vector<float> values = {1.0f, -2.5f, 0.0f, 65504.0f, 3.0f, -4.0f};
  for (Encoding encoding : {Encoding::f32, Encoding::f16, Encoding::bf16}) {
    std::vector<std::byte> bytes(1);  // misaligned on purpose
    for (float value : values) {
      std::byte raw[4];
      std::size_t size = 2;
      if (encoding == Encoding::f32) {
        std::memcpy(raw, &value, size = 4);
      } else {
        const std::uint16_t half =
            encoding == Encoding::f16 ? f32_to_f16(value) : f32_to_bf16(value);
        std::memcpy(raw, &half, 2);
      }
      bytes.insert(bytes.end(), raw, raw + size);
    }
    Tensor tensor;
    tensor.encoding = encoding;
    tensor.rows = 2;
    tensor.cols = 3;
    tensor.bytes = std::span(bytes).subspan(1);
    const PackedMatrix matrix = dense_view(tensor);
    EXPECT_EQ(matrix.data, tensor.bytes.data());
    EXPECT_EQ(matrix.bytes(), tensor.bytes.size());
    const auto row = packed_row(matrix, 1);
    const float first = encoding == Encoding::bf16
                            ? bf16_to_f32(f32_to_bf16(65504.0f))
                            : 65504.0f;
    EXPECT_EQ(row, (std::vector<float>{first, 3.0f, -4.0f}));
    tensor.bytes = tensor.bytes.first(tensor.bytes.size() - 1);
    EXPECT_THROW(dense_view(tensor), CheckpointError);
  }
}

TEST(PackedMatrix, ARowThatDoesNotExistIsABug) {
  const testing::RandomMatrix w(PackedFormat::q4, 5, 32, 1);
  std::vector<float> out(32);
  EXPECT_THROW(read_packed_row(w.matrix, 5, out), BugError);
  EXPECT_THROW(read_packed_row(w.matrix, -1, out), BugError);
  out.resize(31);
  EXPECT_THROW(read_packed_row(w.matrix, 0, out), BugError);
}

}  // namespace
}  // namespace roofline
