#include "roofline/kernels/gemm/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"

namespace roofline {
namespace {

using testing::random_floats;
using testing::RandomMatrix;

class GemmTest : public testing::EveryIsa {
 protected:
  ThreadPool pool{2};
};

std::vector<float> decoded(const PackedMatrix& w) {
  const auto cols = static_cast<std::size_t>(w.cols);
  std::vector<float> all(static_cast<std::size_t>(w.rows) * cols);
  for (int row = 0; row < w.rows; ++row) {
    read_packed_row(
        w,
        row,
        std::span(all).subspan(static_cast<std::size_t>(row) * cols, cols));
  }
  return all;
}

/// Sums in double beside Σ|a·b|, what rounding scales with.
struct Reference {
  double sum = 0;
  double magnitude = 0;
};

/// b: decoded w; n and k as GemmRight says.
Reference reference(
    const GemmLeft& a,
    const std::vector<float>& b,
    const GemmRight& right,
    int m,
    int n) {
  Reference r;
  for (int k = 0; k < right.depth(); ++k) {
    const auto at = right.transposed ? std::ptrdiff_t{n} * right.w.cols + k
                                     : std::ptrdiff_t{k} * right.w.cols + n;
    const double product =
        static_cast<double>(a.data[m * a.row_stride + k * a.col_stride]) *
        b[static_cast<std::size_t>(at)];
    r.sum += product;
    r.magnitude += std::fabs(product);
  }
  return r;
}

void expect_product(
    const GemmLeft& a,
    int rows,
    const GemmRight& right,
    ThreadPool& pool) {
  const int width = right.width();
  const int ldc = width + 3;
  const auto b = decoded(right.w);
  for (const auto result : {GemmResult::replace, GemmResult::add}) {
    const float before = 0.25f;
    std::vector<float> c(static_cast<std::size_t>(rows * ldc), before);
    gemm(a, rows, right, c.data(), ldc, result, pool);
    for (int m = 0; m < rows; ++m) {
      for (int n = 0; n < ldc; ++n) {
        const float got = c[static_cast<std::size_t>(m * ldc + n)];
        if (n >= width) {
          ASSERT_EQ(got, before) << "outside of the result";
          continue;
        }
        auto want = reference(a, b, right, m, n);
        want.sum += result == GemmResult::add ? before : 0.0f;
        const double slack =
            (right.depth() + 2) * 1.2e-7 * (want.magnitude + before) + 1e-30;
        ASSERT_NEAR(got, want.sum, slack) << m << ", " << n;
      }
    }
  }
}

TEST_P(GemmTest, MultipliesByFloatsOfEverySizeAroundABlock) {
  for (const int rows : {1, 2, 5, 6, 7, 13, 200}) {
    for (const int width : {1, 4, 15, 16, 17, 63, 64, 65, 130}) {
      const int depth = 1 + (rows * 7 + width) % 45;
      const auto x = random_floats(static_cast<std::size_t>(rows * depth), 1);
      const auto w = random_floats(static_cast<std::size_t>(width * depth), 2);
      const GemmLeft left{x.data(), depth, 1};
      expect_product(left, rows, {float_matrix(w.data(), depth, width)}, pool);
      expect_product(
          left,
          rows,
          {float_matrix(w.data(), width, depth), true},
          pool);
    }
  }
}

TEST_P(GemmTest, SumsAlongADepthOfSeveralBlocks) {
  const auto x = random_floats(9 * 700, 1);
  const auto w = random_floats(70 * 700, 2);
  expect_product(
      {x.data(), 700, 1},
      9,
      {float_matrix(w.data(), 70, 700), true},
      pool);
  expect_product(
      {x.data(), 700, 1},
      9,
      {float_matrix(w.data(), 700, 70)},
      pool);
}

TEST_P(GemmTest, TakesATransposedLeftSide) {
  const auto x = random_floats(33 * 21, 3);  // [depth 33, rows 21]
  const auto w = random_floats(33 * 18, 4);
  expect_product({x.data(), 1, 21}, 21, {float_matrix(w.data(), 33, 18)}, pool);
}

TEST_P(GemmTest, DecodesMatricesOfEveryFormatBothWays) {
  for (const PackedForm& format :
       {PackedForm(PackedFormat::q4),
        PackedForm(PackedFormat::q8),
        PackedForm(PackedFormat::q4, 2, 8),
        PackedForm(PackedFormat::q4_table),
        PackedForm(PackedFormat::q4_table, 1, 16),
        PackedForm(PackedFormat::q4_16),
        PackedForm(PackedFormat::q8_16),
        PackedForm(PackedFormat::q8_16, 1, 32)}) {
    const RandomMatrix w(format, 37, 96, 5);
    const auto x = random_floats(11 * 96, 6);
    expect_product({x.data(), 96, 1}, 11, {w.matrix, true}, pool);
    expect_product({x.data(), 37, 1}, 11, {w.matrix}, pool);
  }
}

TEST_P(GemmTest, DecodesHalfFloats) {
  std::vector<std::uint16_t> halves(35 * 20);
  const auto values = random_floats(halves.size(), 7);
  for (const auto format : {PackedFormat::f16, PackedFormat::bf16}) {
    for (std::size_t i = 0; i < halves.size(); ++i) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, &values[i], 4);
      halves[i] = format == PackedFormat::f16
                      ? f32_to_f16(values[i])
                      : static_cast<std::uint16_t>(bits >> 16);
    }
    const PackedMatrix w{
        format,
        35,
        20,
        1.0f,
        reinterpret_cast<const std::byte*>(halves.data())};
    const auto x = random_floats(8 * 35, 8);
    expect_product({x.data(), 20, 1}, 8, {w, true}, pool);
    expect_product({x.data(), 35, 1}, 8, {w}, pool);
  }
}

TEST_P(GemmTest, ReadsColumnsOfAWiderMatrix) {
  const auto x = random_floats(6 * 8, 9);
  const auto wide = random_floats(8 * 30, 10);
  std::vector<float> narrow;
  for (int k = 0; k < 8; ++k) {
    narrow.insert(
        narrow.end(),
        wide.begin() + k * 30 + 4,
        wide.begin() + k * 30 + 14);
  }
  std::vector<float> got(6 * 10);
  std::vector<float> want(6 * 10);
  const GemmLeft a{x.data(), 8, 1};
  const auto replace = GemmResult::replace;
  gemm(
      a,
      6,
      {float_matrix(wide.data() + 4, 8, 10), false, 30},
      got.data(),
      10,
      replace,
      pool);
  gemm(
      a,
      6,
      {float_matrix(narrow.data(), 8, 10)},
      want.data(),
      10,
      replace,
      pool);
  EXPECT_EQ(got, want);
}

TEST_P(GemmTest, RoundsBothSidesToBfloat16WhereTheMachineCan) {
  for (const auto& [rows, width, depth] :
       {std::tuple{2, 3, 5}, {7, 17, 33}, {13, 130, 700}, {200, 64, 40}}) {
    const auto x = random_floats(static_cast<std::size_t>(rows * depth), 1);
    const auto w = random_floats(static_cast<std::size_t>(width * depth), 2);
    for (const auto& [transposed, result] :
         {std::pair{false, GemmResult::add},
          {true, GemmResult::add},
          {false, GemmResult::replace},
          {true, GemmResult::replace}}) {
      const GemmRight right{
          transposed ? float_matrix(w.data(), width, depth)
                     : float_matrix(w.data(), depth, width),
          transposed};
      // Rows further apart than they are wide.
      const int ldc = width + 3;
      const auto size = static_cast<std::size_t>(rows * ldc);
      std::vector<float> exact(size, 0.5f);
      std::vector<float> rounded(size, 0.5f);
      const GemmLeft a{x.data(), depth, 1};
      gemm(a, rows, right, exact.data(), ldc, result, pool);
      gemm(a, rows, right, rounded.data(), ldc, result, pool, GemmType::bf16);
      double most = 0;
      for (std::size_t i = 0; i < size; ++i) {
        const auto m = static_cast<int>(i) / ldc;
        const auto n = static_cast<int>(i) % ldc;
        if (n >= width) {
          ASSERT_EQ(rounded[i], 0.5f);
          continue;
        }
        const double slack =
            reference(a, decoded(right.w), right, m, n).magnitude * 0x1p-7;
        ASSERT_NEAR(rounded[i], exact[i], slack + 1e-6);
        most = std::max(
            most,
            static_cast<double>(std::fabs(rounded[i] - exact[i])));
      }
      EXPECT_EQ(most > 1e-5, has_bf16_gemm()) << "it must have rounded";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Isas,
    GemmTest,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

}  // namespace
}  // namespace roofline
