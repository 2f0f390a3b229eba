#include "roofline/kernels/dense/dense.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"
#include "roofline/base/half.h"

namespace roofline {
namespace {

using testing::random_floats;

std::vector<const DenseKernels*> variants() {
  std::vector<const DenseKernels*> found;
  for (const Isa isa : runnable_isas()) {
    const DenseKernels* kernels = dense_kernels(isa);
    if (kernels != nullptr) {
      found.push_back(kernels);
    }
  }
  return found;
}

/// A random matrix, `shift` bytes off any alignment; `values` are exactly what
/// the stored bytes mean.
struct DenseMatrix {
  DenseMatrix(PackedFormat format, int rows, int cols, int shift, unsigned seed)
      : values(random_floats(
            static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols),
            seed)) {
    const std::size_t size = format == PackedFormat::f32 ? 4 : 2;
    memory.resize(values.size() * size + 64);
    std::byte* at = memory.data() + shift;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (format == PackedFormat::f32) {
        std::memcpy(at + 4 * i, &values[i], 4);
        continue;
      }
      const bool f16 = format == PackedFormat::f16;
      const std::uint16_t half =
          f16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
      values[i] = f16 ? f16_to_f32(half) : bf16_to_f32(half);
      std::memcpy(at + 2 * i, &half, 2);
    }
    matrix.format = format;
    matrix.rows = rows;
    matrix.cols = cols;
    matrix.data = at;
  }

  PackedMatrix matrix;
  std::vector<float> values;
  std::vector<std::byte> memory;
};

constexpr float kUntouched = -12345.0f;

void check(PackedFormat format, int rows, int cols, int tokens, int shift) {
  const DenseMatrix w(format, rows, cols, shift, 1);
  const auto x = random_floats(
      static_cast<std::size_t>(tokens) * static_cast<std::size_t>(cols),
      2);
  const int ldy = rows + 2;
  for (const DenseKernels* k : variants()) {
    SCOPED_TRACE(
        std::string(k->name) + " " + std::to_string(rows) + "x" +
        std::to_string(cols) + " tokens " + std::to_string(tokens));
    std::vector<float> y(
        static_cast<std::size_t>(tokens) * static_cast<std::size_t>(ldy),
        kUntouched);
    k->product(
        w.matrix,
        0,
        rows,
        x.data(),
        0,
        tokens,
        y.data(),
        ldy,
        DenseOrder::quick);
    for (int t = 0; t < tokens; ++t) {
      const float* row_of_y = y.data() + t * ldy;
      for (int r = 0; r < rows; ++r) {
        double expected = 0;
        double magnitude = 0;
        for (int c = 0; c < cols; ++c) {
          const double term =
              double{w.values[static_cast<std::size_t>(r * cols + c)]} *
              double{x[static_cast<std::size_t>(t * cols + c)]};
          expected += term;
          magnitude += std::fabs(term);
        }
        ASSERT_NEAR(
            row_of_y[r],
            expected,
            (cols + 4) * double{std::numeric_limits<float>::epsilon()} *
                magnitude)
            << "token " << t << " row " << r;
      }
      ASSERT_EQ(row_of_y[rows], kUntouched);
      ASSERT_EQ(row_of_y[rows + 1], kUntouched);
    }
  }
}

class Dense : public ::testing::TestWithParam<PackedFormat> {};
INSTANTIATE_TEST_SUITE_P(
    Formats,
    Dense,
    ::testing::Values(PackedFormat::f32, PackedFormat::f16, PackedFormat::bf16),
    [](const auto& info) {
      return info.param == PackedFormat::f32   ? "f32"
             : info.param == PackedFormat::f16 ? "f16"
                                               : "bf16";
    });

TEST_P(Dense, EveryWidthUpToFiveRegistersGivesTheProduct) {
  for (int cols = 1; cols <= 81; ++cols) {
    check(GetParam(), 5, cols, 1, 0);
    check(GetParam(), 5, cols, 5, 0);
  }
}

TEST_P(Dense, EveryTokenAndRowCountUpToTwoTilesGivesTheProduct) {
  for (int tokens = 0; tokens <= 9; ++tokens) {
    for (int rows = 1; rows <= 9; ++rows) {
      check(GetParam(), rows, 35, tokens, 0);
    }
  }
}

TEST_P(Dense, EveryRowCountUpToTwoTilesOfManyTokensGivesTheProduct) {
  for (int tokens = 17; tokens <= 20; ++tokens) {
    for (int rows = 1; rows <= 9; ++rows) {
      check(GetParam(), rows, 67, tokens, 0);
    }
  }
}

TEST_P(Dense, RowsThatAreMoreThanARunGiveTheProduct) {
  // 8192 columns: 4 or 8 rows a run.
  check(GetParam(), 19, 8192, 18, 0);
}

TEST_P(Dense, ARowOfManyTokensIsToTheBitHoweverRowsAndTokensAreCut) {
  constexpr int kRows = 11;
  constexpr int kCols = 301;
  constexpr int kTokens = 36;
  const DenseMatrix w(GetParam(), kRows, kCols, 0, 7);
  const auto x = random_floats(kTokens * kCols, 8);
  for (const DenseKernels* k : variants()) {
    SCOPED_TRACE(k->name);
    std::vector<float> whole(kTokens * kRows);
    std::vector<float> cut(whole);
    const auto multiply = [&](int begin, int end, int from, int to, float* y) {
      k->product(
          w.matrix,
          begin,
          end,
          x.data(),
          from,
          to,
          y,
          kRows,
          DenseOrder::quick);
    };
    multiply(0, kRows, 0, kTokens, whole.data());
    for (int row = 0; row < kRows; row += 4) {
      const int end = std::min(kRows, row + 4);
      multiply(row, end, 0, 17, cut.data());
      multiply(row, end, 17, kTokens, cut.data());
    }
    EXPECT_EQ(whole, cut);
  }
}

TEST_P(Dense, MisalignedWeightsGiveTheProduct) {
  for (int shift : {1, 2, 3, 7, 32, 33}) {
    check(GetParam(), 6, 67, 1, shift);
    check(GetParam(), 6, 67, 4, shift);
  }
}

TEST_P(Dense, MoreTokensThanTheCacheHoldsGiveTheProduct) {
  // 4096 columns: 32 tokens a run.
  check(GetParam(), 3, 4096, 35, 0);
}

TEST_P(Dense, ATokensResultIsToTheBitWhateverTheOthersAre) {
  constexpr int kRows = 7;
  constexpr int kCols = 301;
  constexpr int kMost = 20;
  const DenseMatrix w(GetParam(), kRows, kCols, 0, 5);
  const auto x = random_floats(kMost * kCols, 6);
  for (const DenseKernels* k : variants()) {
    SCOPED_TRACE(k->name);
    std::vector<float> alone(kMost * kRows);
    for (int t = 0; t < kMost; ++t) {
      k->product(
          w.matrix,
          0,
          kRows,
          x.data(),
          t,
          t + 1,
          alone.data(),
          kRows,
          DenseOrder::quick);
    }
    for (int tokens = 2; tokens <= kMost; ++tokens) {
      std::vector<float> y(alone);
      std::fill_n(y.begin(), tokens * kRows, kUntouched);
      k->product(
          w.matrix,
          0,
          kRows,
          x.data(),
          0,
          tokens,
          y.data(),
          kRows,
          DenseOrder::alike);
      EXPECT_EQ(y, alone) << tokens << " tokens";
    }
  }
}

TEST_P(Dense, ARangeOfRowsAndTokensWritesOnlyItsPart) {
  const DenseMatrix w(GetParam(), 11, 40, 0, 3);
  const auto x = random_floats(9 * 40, 4);
  for (const DenseKernels* k : variants()) {
    SCOPED_TRACE(k->name);
    std::vector<float> y(9 * 11, kUntouched);
    k->product(w.matrix, 2, 9, x.data(), 3, 8, y.data(), 11, DenseOrder::quick);
    for (int t = 0; t < 9; ++t) {
      for (int r = 0; r < 11; ++r) {
        const bool inside = t >= 3 && t < 8 && r >= 2 && r < 9;
        ASSERT_EQ(y[static_cast<std::size_t>(t * 11 + r)] != kUntouched, inside)
            << t << " " << r;
      }
    }
  }
}

TEST(DenseRegistry, TheForcedInstructionSetIsTheOneThatRuns) {
  const Isa before = active_isa();
  for (const Isa isa : runnable_isas()) {
    force_isa(isa);
    EXPECT_EQ(
        dense_kernels().name,
        testing::variant_name(isa, dense_kernels(isa) != nullptr));
  }
  force_isa(before);
}

}  // namespace
}  // namespace roofline
