#include "roofline/weights/rearrange.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

std::vector<float> counted_values(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

Tensor tensor_of(
    const std::vector<float>& values,
    std::int64_t rows,
    std::string name = "source") {
  Tensor tensor;
  tensor.name = std::move(name);
  tensor.rows = rows;
  tensor.cols = static_cast<std::int64_t>(values.size()) / rows;
  tensor.bytes = std::as_bytes(std::span(values));
  return tensor;
}

std::vector<float> values_of(const Tensor& tensor) {
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

NamedRows wanted_rows(std::int64_t begin, std::int64_t rows) {
  NamedRows wanted;
  wanted.name = "wanted";
  wanted.row_begin = begin;
  wanted.rows = rows;
  return wanted;
}

Tensor take(const Tensor& source, const NamedRows& wanted, MadeBytes& made) {
  return take_rows(source, wanted, made, "folder", "config.json");
}

TEST(Rearrange, RowsThatLieTogetherStayWhereTheyAre) {
  const std::vector<float> values = counted_values(12);
  MadeBytes made;
  const Tensor out = take(tensor_of(values, 4), wanted_rows(1, 2), made);
  EXPECT_EQ(out.rows, 2);
  EXPECT_EQ(out.cols, 3);
  EXPECT_EQ(
      out.bytes.data(),
      reinterpret_cast<const std::byte*>(values.data() + 3));
  EXPECT_TRUE(made.empty());
}

TEST(Rearrange, RunsOfRowsAreGathered) {
  const std::vector<float> values = counted_values(12);
  NamedRows wanted = wanted_rows(1, 1);
  wanted.runs = 2;
  wanted.run_stride = 3;
  MadeBytes made;
  const Tensor matrix = take(tensor_of(values, 6), wanted, made);
  EXPECT_EQ(matrix.rows, 2);
  EXPECT_EQ(values_of(matrix), (std::vector<float>{2, 3, 8, 9}));
  const Tensor vector = take(tensor_of(values, 1), wanted, made);
  EXPECT_EQ(vector.rows, 1);
  EXPECT_EQ(vector.cols, 2);
  EXPECT_EQ(values_of(vector), (std::vector<float>{1, 4}));
}

TEST(Rearrange, RunsOfPackedRowsTakeTheirScalesAlong) {
  const std::vector<float> codes = counted_values(8);
  const std::vector<float> scales = {10, 11, 12, 13};
  Tensor source = tensor_of(codes, 4);
  source.encoding = Encoding::mlx_affine;
  source.affine.scales = std::as_bytes(std::span(scales));
  source.affine.biases = source.affine.scales;
  NamedRows wanted = wanted_rows(1, 1);
  wanted.runs = 2;
  wanted.run_stride = 2;
  MadeBytes made;
  const Tensor out = take(source, wanted, made);
  float kept[2] = {};
  ASSERT_EQ(out.affine.scales.size(), sizeof kept);
  std::memcpy(kept, out.affine.scales.data(), sizeof kept);
  EXPECT_EQ(kept[0], 11);
  EXPECT_EQ(kept[1], 13);
  EXPECT_EQ(values_of(out), (std::vector<float>{2, 3, 6, 7}));
}

TEST(Rearrange, TurnedMatricesAreTransposedBeforeTheirRowsCount) {
  NamedRows wanted = wanted_rows(1, 2);
  wanted.transposed = true;
  MadeBytes made;
  const std::vector<float> values = counted_values(12);
  const Tensor out = take(tensor_of(values, 3), wanted, made);
  EXPECT_EQ(out.rows, 2);
  EXPECT_EQ(out.cols, 3);
  EXPECT_EQ(values_of(out), (std::vector<float>{1, 5, 9, 2, 6, 10}));
  // More rows and columns than a block of the copy.
  const std::vector<float> large = counted_values(70 * 45);
  wanted.row_begin = 0;
  wanted.rows = 0;
  const std::vector<float> turned =
      values_of(take(tensor_of(large, 70), wanted, made));
  for (std::size_t row = 0; row < 70; ++row) {
    for (std::size_t col = 0; col < 45; ++col) {
      ASSERT_EQ(turned[col * 70 + row], large[row * 45 + col]);
    }
  }
}

TEST(Rearrange, APackedMatrixIsNotTurned) {
  const std::vector<float> values = counted_values(12);
  Tensor source = tensor_of(values, 3);
  source.encoding = Encoding::q8_0;
  NamedRows wanted = wanted_rows(0, 0);
  wanted.transposed = true;
  MadeBytes made;
  EXPECT_THROW(take(source, wanted, made), UnsupportedError);
}

TEST(Rearrange, RowsBeyondTheSourceAreRefused) {
  const std::vector<float> values = counted_values(12);
  MadeBytes made;
  EXPECT_THROW(
      take(tensor_of(values, 4), wanted_rows(3, 2), made),
      CheckpointError);
  NamedRows runs = wanted_rows(0, 1);
  runs.runs = 3;
  runs.run_stride = 2;
  EXPECT_THROW(take(tensor_of(values, 4), runs, made), CheckpointError);
}

TEST(Rearrange, PiecesAreStackedInTheirOrder) {
  const std::vector<float> first = {1, 2};
  const std::vector<float> second = {3, 4};
  const std::vector<float> longer = {5, 6, 7};
  const Tensor a = tensor_of(first, 1, "a");
  const Tensor b = tensor_of(second, 1, "b");
  const Tensor c = tensor_of(longer, 1, "c");
  MadeBytes made;
  const Tensor out = stack_rows({&b, &a}, "stacked", made, "folder");
  EXPECT_EQ(out.name, "stacked");
  EXPECT_EQ(out.rows, 2);
  EXPECT_EQ(values_of(out), (std::vector<float>{3, 4, 1, 2}));
  EXPECT_THROW(
      stack_rows({&a, &c}, "stacked", made, "folder"),
      CheckpointError);
}

}  // namespace
}  // namespace roofline
