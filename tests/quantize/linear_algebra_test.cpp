#include "roofline/quantize/linear_algebra.h"

#include <cmath>

#include <gtest/gtest.h>

#include "quantize/helpers.h"

namespace roofline {
namespace {

/// aᵀ·b, in double.
SquareMatrix transposed_product(const SquareMatrix& a, const SquareMatrix& b) {
  SquareMatrix out{a.size, std::vector<float>(a.values.size())};
  for (int i = 0; i < a.size; ++i) {
    for (int j = 0; j < a.size; ++j) {
      double sum = 0;
      for (int k = 0; k < a.size; ++k) {
        sum += static_cast<double>(a.at(k, i)) * b.at(k, j);
      }
      out.at(i, j) = static_cast<float>(sum);
    }
  }
  return out;
}

TEST(InverseRoot, OfADiagonalIsOneOverItsRoots) {
  SquareMatrix a{3, {4, 0, 0, 0, 9, 0, 0, 0, 16}};
  SquareMatrix root;
  ASSERT_TRUE(inverse_root(a, root, ThreadPool::global()));
  EXPECT_FLOAT_EQ(root.at(0, 0), 0.5f);
  EXPECT_FLOAT_EQ(root.at(1, 1), 1.0f / 3);
  EXPECT_FLOAT_EQ(root.at(2, 2), 0.25f);
  EXPECT_EQ(root.at(0, 2), 0.0f);
}

TEST(InverseRoot, IsUpperTriangularAndGivesTheInverse) {
  for (const int size : {1, 2, 63, 64, 65, 200}) {
    const auto a = testing::correlated_moments(std::max(size, 4), 7);
    SquareMatrix root;
    ASSERT_TRUE(inverse_root(a, root, ThreadPool::global()));
    // Uᵀ·U·a = 1, so a·Uᵀ·U = 1: check U·a·Uᵀ = 1 by (Uᵀ)ᵀ·(a·Uᵀ).
    const int n = a.size;
    SquareMatrix turned{n, std::vector<float>(a.values.size())};
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) {
        turned.at(i, j) = root.at(j, i);
        if (i > j) {
          EXPECT_EQ(root.at(i, j), 0.0f);
        }
      }
    }
    const auto one = transposed_product(turned, transposed_product(a, turned));
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) {
        EXPECT_NEAR(one.at(i, j), i == j ? 1 : 0, 5e-3) << size;
      }
    }
  }
}

TEST(Cholesky, RefusesWhatIsNotPositive) {
  SquareMatrix a{2, {1, 2, 2, 1}};
  EXPECT_FALSE(cholesky(a, ThreadPool::global()));
}

}  // namespace
}  // namespace roofline
