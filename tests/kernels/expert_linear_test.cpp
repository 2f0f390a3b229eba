#include "roofline/kernels/expert_linear.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include <mlx/mlx.h>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"
#include "roofline/base/errors.h"
#include "roofline/base/half.h"

namespace roofline {
namespace {

using testing::random_floats;
using testing::RandomMatrix;

constexpr int kRows = 37;
constexpr int kCols = 96;

/// A random matrix of any format and the memory it lies in.
struct OwnMatrix {
  OwnMatrix(PackedFormat format, unsigned seed) {
    if (format == PackedFormat::q4 || format == PackedFormat::q8) {
      packed.emplace(format, kRows, kCols, seed);
      matrix = packed->matrix;
      return;
    }
    const auto values = random_floats(kRows * kCols, seed);
    floats.resize(values.size() * 4);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto word = std::bit_cast<std::uint32_t>(values[i]);
      const auto half = format == PackedFormat::bf16
                            ? static_cast<std::uint16_t>(word >> 16)
                            : f32_to_f16(values[i]);
      if (format == PackedFormat::f32) {
        std::memcpy(floats.data() + 4 * i, &word, 4);
      } else {
        std::memcpy(floats.data() + 2 * i, &half, 2);
      }
    }
    matrix.format = format;
    matrix.rows = kRows;
    matrix.cols = kCols;
    matrix.data = floats.data();
  }

  std::optional<RandomMatrix> packed;
  std::vector<std::byte> floats;
  PackedMatrix matrix;
};

/// Experts of one format, or of all in turns.
struct Experts {
  explicit Experts(std::vector<PackedFormat> formats, int count = 5) {
    auto held = std::make_shared<std::vector<std::unique_ptr<OwnMatrix>>>();
    ExpertMatrices all;
    for (int e = 0; e < count; ++e) {
      const auto i = static_cast<std::size_t>(e);
      held->push_back(std::make_unique<OwnMatrix>(
          formats[i % formats.size()],
          static_cast<unsigned>(e + 1)));
      all.push_back(held->back()->matrix);
    }
    matrices = std::make_shared<const ExpertMatrices>(std::move(all));
    memory = held;
  }
  std::shared_ptr<const ExpertMatrices> matrices;
  std::shared_ptr<const void> memory;
};

/// The product in double, and the sum of its terms' sizes.
std::pair<double, double> expected(
    const PackedMatrix& w,
    int row,
    const float* x) {
  std::vector<float> weights(kCols);
  read_packed_row(w, row, weights);
  double sum = 0;
  double size = 0;
  for (int c = 0; c < kCols; ++c) {
    const double term =
        static_cast<double>(weights[static_cast<std::size_t>(c)]) * x[c];
    sum += term;
    size += std::abs(term);
  }
  return {sum, size};
}

/// slack: of the sum of the terms' sizes.
void expect_products(
    const Experts& experts,
    const std::vector<std::int32_t>& ids,
    LinearMode mode,
    double slack) {
  const int n = static_cast<int>(ids.size());
  const auto x = random_floats(static_cast<std::size_t>(n) * kCols, 7);
  auto y = expert_linear(
      mx::array(x.data(), {n, kCols}),
      mx::array(ids.data(), {n}),
      experts.matrices,
      experts.memory,
      mode);
  mx::eval(y);
  ASSERT_EQ(y.shape(), (mx::Shape{n, kRows}));
  for (int i = 0; i < n; ++i) {
    const auto e = static_cast<std::size_t>(ids[static_cast<std::size_t>(i)]);
    for (int row = 0; row < kRows; ++row) {
      const auto [sum, size] =
          expected((*experts.matrices)[e], row, x.data() + i * kCols);
      EXPECT_NEAR(y.data<float>()[i * kRows + row], sum, slack * size + 1e-6)
          << "row " << i << ", column " << row;
    }
  }
}

struct ExpertLinear : public ::testing::Test {
  ExpertLinear() { mx::set_default_device(mx::Device(mx::Device::cpu)); }
};

constexpr double kExact = 1e-5;  // rounding of 96 terms
constexpr double kFast = 1e-3;   // activations in 15 bits

TEST_F(ExpertLinear, EachRowMeetsTheMatrixOfItsOwnExpert) {
  const std::vector<std::int32_t> ids = {3, 0, 3, 4, 1, 0, 3};
  for (const auto format :
       {PackedFormat::f32,
        PackedFormat::f16,
        PackedFormat::bf16,
        PackedFormat::q4,
        PackedFormat::q8}) {
    const Experts experts({format});
    expect_products(experts, ids, LinearMode::exact, kExact);
    expect_products(experts, ids, LinearMode::fast, kFast);
  }
}

TEST_F(ExpertLinear, SortedRowsAndOneRowGiveTheSame) {
  const Experts experts({PackedFormat::q4});
  expect_products(experts, {0, 0, 1, 3, 3, 4}, LinearMode::exact, kExact);
  expect_products(experts, {2}, LinearMode::exact, kExact);
}

TEST_F(ExpertLinear, ExpertsMayDifferInFormat) {
  const Experts experts({PackedFormat::q4, PackedFormat::bf16});
  expect_products(experts, {4, 3, 2, 1, 0}, LinearMode::exact, kExact);
  expect_products(experts, {4, 3, 2, 1, 0}, LinearMode::fast, kFast);
}

TEST_F(ExpertLinear, ManyRowsOfFewExpertsAreRight) {
  const Experts experts({PackedFormat::f32}, 2);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 100; ++i) {
    ids.push_back(i * i % 3 == 0 ? 0 : 1);
  }
  expect_products(experts, ids, LinearMode::exact, kExact);
}

TEST_F(ExpertLinear, ManyRowsOfAnExpertMayBeRoundedToBfloat16) {
  const double most = 3.0 / 256;  // both sides by 2⁻⁹, one weight by 2⁻⁸
  std::vector<std::int32_t> ids(150, 2);
  for (std::size_t i = 0; i < 70; ++i) {
    ids[2 * i] = i < 20 ? 0 : 4;
  }
  const Experts experts({PackedFormat::q4, PackedFormat::bf16});
  const Isa before = active_isa();
  for (const Isa isa : testing::runnable_isas()) {
    force_isa(isa);
    expect_products(experts, ids, LinearMode::fast, most);
    expect_products(experts, ids, LinearMode::exact, kExact);
  }
  force_isa(before);
}

TEST_F(ExpertLinear, ShapesThatDoNotFitAreRefused) {
  const Experts experts({PackedFormat::f32});
  const auto x = mx::zeros({3, kCols + 1});
  const auto ids = mx::zeros({3}, mx::int32);
  EXPECT_THROW(
      expert_linear(x, ids, experts.matrices, experts.memory),
      UserError);
  const auto fewer = mx::zeros({2}, mx::int32);
  const auto fitting = mx::zeros({3, kCols});
  EXPECT_THROW(
      expert_linear(fitting, fewer, experts.matrices, experts.memory),
      UserError);
}

}  // namespace
}  // namespace roofline
