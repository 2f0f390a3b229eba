#include "roofline/kernels/bf16_product/bf16_product.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/packed_helpers.h"
#include "roofline/base/half.h"
#include "roofline/kernels/norm_rope/norm_rope.h"

namespace roofline {
namespace {

using testing::AlignedBytes;
using testing::random_floats;
using testing::RandomMatrix;

/// With amx forced, emulated where the machine has none.
class Bf16ProductTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!can_force(Isa::amx)) {
      GTEST_SKIP() << "neither AMX nor AVX-512 with bfloat16";
    }
    before_ = active_isa();
    force_isa(Isa::amx);
    kernels_ = bf16_product_kernels();
    ASSERT_NE(kernels_, nullptr);
  }
  void TearDown() override {
    if (kernels_ != nullptr) {
      force_isa(before_);
    }
  }
  const Bf16ProductKernels* kernels_ = nullptr;

 private:
  Isa before_ = Isa::generic;
};

/// RoundedRows with memory of its own, full of NaN.
struct Rounded {
  Rounded(int tokens, int cols)
      : memory(2 * RoundedRows::size(tokens, cols)),
        rows(RoundedRows::over(
            tokens,
            cols,
            reinterpret_cast<std::uint16_t*>(memory.data()))) {
    std::memset(memory.data(), 0xff, memory.span().size());
  }
  AlignedBytes memory;
  RoundedRows rows;
};

/// Where a value of x lies: passes of equal numbers of tiles, at most 20.
std::size_t place(int token, int col, int tokens, int cols) {
  const int depth = (cols + 31) / 32;
  const int passes = (depth + 19) / 20;
  const int each = (depth + passes - 1) / passes;
  const int pass = col / 32 / each;
  const int width = std::min(each, depth - pass * each);
  const int tile =
      pass * each * ((tokens + 15) / 16) + token / 16 * width + col / 32 % each;
  return static_cast<std::size_t>((tile * 16 + token % 16) * 32 + col % 32);
}

float rounded(float value) {
  return bf16_to_f32(f32_to_bf16(value));
}

TEST_F(Bf16ProductTest, RowsAreRoundedIntoTilesThatEndInZeros) {
  for (const int cols : {1, 16, 31, 32, 33, 70, 96, 641, 1300}) {
    const int tokens = 19;
    const auto x = random_floats(static_cast<std::size_t>(tokens * cols), 1);
    Rounded out(tokens, cols);
    for (int t = 0; t < tokens; ++t) {
      kernels_->round(x.data() + t * cols, cols, t, 0, out.rows);
    }
    for (int t = 0; t < tokens; ++t) {
      for (int c = 0; c < (cols + 31) / 32 * 32; ++c) {
        const float value =
            c < cols ? x[static_cast<std::size_t>(t * cols + c)] : 0.0f;
        ASSERT_EQ(out.rows.tiles[place(t, c, tokens, cols)], f32_to_bf16(value))
            << "token " << t << " column " << c << " of " << cols;
      }
    }
  }
}

TEST_F(Bf16ProductTest, ARowCanBeRoundedInParts) {
  const int cols = 96;
  const auto x = random_floats(cols, 2);
  Rounded whole(1, cols);
  Rounded parts(1, cols);
  kernels_->round(x.data(), cols, 0, 0, whole.rows);
  kernels_->round(x.data() + 64, 32, 0, 64, parts.rows);
  kernels_->round(x.data(), 64, 0, 0, parts.rows);
  for (int c = 0; c < cols; ++c) {
    const std::size_t at = place(0, c, 1, cols);
    EXPECT_EQ(whole.rows.tiles[at], parts.rows.tiles[at]);
  }
}

constexpr float kUntouched = -12345.0f;

struct Case {
  int rows;
  int cols;
  int tokens;
};

/// Products of some blocks against double sums; slack: what the rounding of
/// the weights may differ by, of a term's magnitude.
void check(
    const Bf16ProductKernels& kernels,
    const PackedMatrix& w,
    const Case& c,
    int block_begin,
    int block_end,
    double slack) {
  const auto x = random_floats(static_cast<std::size_t>(c.tokens * c.cols), 3);
  Rounded rows(c.tokens, c.cols);
  for (int t = 0; t < c.tokens; ++t) {
    kernels.round(x.data() + t * c.cols, c.cols, t, 0, rows.rows);
  }
  const int ldy = c.rows + 3;
  std::vector<float> y(static_cast<std::size_t>(c.tokens * ldy), kUntouched);
  // In two pieces, as a pool would take them.
  const int half = c.tokens / 2 / 16 * 16;
  for (const auto& [begin, end] : {std::pair{0, half}, {half, c.tokens}}) {
    kernels.product(
        w,
        {block_begin, block_end, begin, end},
        rows.rows,
        y.data(),
        ldy);
  }
  std::vector<float> row(static_cast<std::size_t>(c.cols));
  for (int r = 0; r < ldy; ++r) {
    const bool wanted = r >= block_begin * kRowBlock &&
                        r < std::min(c.rows, block_end * kRowBlock);
    if (wanted) {
      read_packed_row(w, r, row);
    }
    for (int t = 0; t < c.tokens; ++t) {
      const float found = y[static_cast<std::size_t>(t * ldy + r)];
      if (!wanted) {
        ASSERT_EQ(found, kUntouched) << "row " << r << " token " << t;
        continue;
      }
      double sum = 0;
      double magnitude = 0;
      for (int k = 0; k < c.cols; ++k) {
        const double term =
            double{rounded(row[static_cast<std::size_t>(k)])} *
            double{rounded(x[static_cast<std::size_t>(t * c.cols + k)])};
        sum += term;
        magnitude += std::fabs(term);
      }
      const double epsilon = double{std::numeric_limits<float>::epsilon()};
      ASSERT_NEAR(found, sum, ((c.cols + 8) * epsilon + slack) * magnitude)
          << form_name(w) << " " << c.rows << "x" << c.cols << " tokens "
          << c.tokens << " row " << r << " token " << t;
    }
  }
}

constexpr Case kCases[] = {
    {16, 32, 16},
    {1, 32, 1},
    {15, 64, 17},
    {33, 96, 33},
    {48, 160, 31},
    {70, 288, 40},
    {32, 1056, 20},
    {20, 2112, 35}};

constexpr PackedForm kQuantized[] = {
    PackedFormat::q4,
    PackedFormat::q8,
    PackedFormat::q4_table,
    PackedFormat::q4_16,
    PackedFormat::q8_16,
    {PackedFormat::q4, 1, 8},
    {PackedFormat::q4, 2},
    {PackedFormat::q8, 1, 128},
    {PackedFormat::q8_16, 1, 32}};

TEST_F(Bf16ProductTest, EveryQuantizedFormatIsMultiplied) {
  for (const PackedForm& form : kQuantized) {
    for (const Case& c : kCases) {
      RandomMatrix w(form, c.rows, c.cols, 7);
      w.matrix.unit = 0.25f;
      // A value on the border of two bfloat16 may go to either: 2^-8 of it.
      check(*kernels_, w.matrix, c, 0, w.matrix.row_blocks(), 0x1p-8);
    }
  }
}

TEST_F(Bf16ProductTest, WeightsThatBfloat16HoldsAreExact) {
  const Case c{40, 96, 33};
  for (const PackedForm& form : kQuantized) {
    RandomMatrix w(form, c.rows, c.cols, 8);
    const int groups = w.matrix.groups();
    for (int i = 0; i < w.matrix.row_blocks() * groups; ++i) {
      const BlockGroups block = w.matrix.block_groups(i / groups);
      for (int set = 0; set < scale_sets(form.format); ++set) {
        std::uint16_t halves[2 * kRowBlock];
        for (int r = 0; r < kRowBlock; ++r) {
          const float scale = std::ldexp(1.0f, (r + set + i) % 5 - 7);
          halves[r] = f32_to_f16(scale);
          halves[kRowBlock + r] = f32_to_f16(scale * float(-r - i % 7));
        }
        std::memcpy(
            w.writable(block.scales(i % groups, set)),
            halves,
            static_cast<std::size_t>(block.set_bytes));
      }
    }
    check(*kernels_, w.matrix, c, 0, w.matrix.row_blocks(), 0);
  }
}

TEST_F(Bf16ProductTest, OnlyTheBlocksAskedForAreWritten) {
  const Case c{100, 64, 20};
  const RandomMatrix w(PackedFormat::q4, c.rows, c.cols, 9);
  check(*kernels_, w.matrix, c, 1, 4, 0x1p-8);
  check(*kernels_, w.matrix, c, 2, 3, 0x1p-8);
  check(*kernels_, w.matrix, c, 6, 7, 0x1p-8);
}

TEST_F(Bf16ProductTest, DenseWeightsOfAnyWidthAreMultiplied) {
  for (const Case& c :
       {Case{16, 32, 16},
        {1, 1, 1},
        {17, 31, 18},
        {33, 33, 5},
        {40, 47, 33},
        {50, 100, 48},
        {18, 1050, 17}}) {
    const auto count = static_cast<std::size_t>(c.rows * c.cols);
    const auto values = random_floats(count, 10, 0.1f);
    std::vector<std::uint16_t> f16(count);
    std::vector<std::uint16_t> bf16(count);
    for (std::size_t i = 0; i < count; ++i) {
      f16[i] = f32_to_f16(values[i]);
      bf16[i] = f32_to_bf16(values[i]);
    }
    const auto matrix = [&](PackedFormat format, const void* data) {
      PackedMatrix w;
      w.format = format;
      w.rows = c.rows;
      w.cols = c.cols;
      w.data = static_cast<const std::byte*>(data);
      return w;
    };
    const int blocks = (c.rows + 15) / 16;
    for (const PackedMatrix& w :
         {matrix(PackedFormat::f32, values.data()),
          matrix(PackedFormat::f16, f16.data()),
          matrix(PackedFormat::bf16, bf16.data())}) {
      check(*kernels_, w, c, 0, blocks, 0);
    }
  }
}

TEST_F(Bf16ProductTest, TheGradientMultipliesByTheMatrixNotTurned) {
  for (const Case& c :
       {Case{16, 32, 16},
        {33, 96, 33},
        {70, 64, 20},
        {1056, 32, 17},
        {2100, 64, 35}}) {
    for (const PackedFormat format :
         {PackedFormat::q4, PackedFormat::q8, PackedFormat::q4_16}) {
      const RandomMatrix w(format, c.rows, c.cols, 11);
      const auto y =
          random_floats(static_cast<std::size_t>(c.tokens * c.rows), 12);
      Rounded rows(c.tokens, c.rows);
      for (int t = 0; t < c.tokens; ++t) {
        kernels_->round(y.data() + t * c.rows, c.rows, t, 0, rows.rows);
      }
      const int ldx = c.cols + 5;
      std::vector<float> x(
          static_cast<std::size_t>(c.tokens * ldx),
          kUntouched);
      kernels_->back(
          w.matrix,
          {0, w.matrix.groups(), 0, c.tokens},
          rows.rows,
          x.data(),
          ldx);
      std::vector<double> sums(x.size(), 0);
      std::vector<double> sizes(x.size(), 0);
      std::vector<float> row(static_cast<std::size_t>(c.cols));
      for (int r = 0; r < c.rows; ++r) {
        read_packed_row(w.matrix, r, row);
        for (int t = 0; t < c.tokens; ++t) {
          const double factor =
              rounded(y[static_cast<std::size_t>(t * c.rows + r)]);
          for (int k = 0; k < c.cols; ++k) {
            const auto at = static_cast<std::size_t>(t * ldx + k);
            const double term =
                factor * rounded(row[static_cast<std::size_t>(k)]);
            sums[at] += term;
            sizes[at] += std::fabs(term);
          }
        }
      }
      for (int t = 0; t < c.tokens; ++t) {
        for (int k = 0; k < ldx; ++k) {
          const auto at = static_cast<std::size_t>(t * ldx + k);
          if (k >= c.cols) {
            ASSERT_EQ(x[at], kUntouched);
          } else {
            // As above: a weight may be rounded to its other neighbour.
            ASSERT_NEAR(x[at], sums[at], 0x1p-8 * sizes[at])
                << format_name(format) << " " << c.rows << "x" << c.cols
                << " token " << t << " column " << k;
          }
        }
      }
    }
  }
}

TEST_F(Bf16ProductTest, LargePiecesAreCutBySums) {
  const Case c{290, 64, 530};
  const RandomMatrix w(PackedFormat::q8, c.rows, c.cols, 14);
  check(*kernels_, w.matrix, c, 0, w.matrix.row_blocks(), 0x1p-8);
}

/// Tokens in two pieces, as a pool would take them.
std::array<std::pair<int, int>, 2> halves(int tokens) {
  const int half = tokens / 2 / 16 * 16;
  return {{{0, half}, {half, tokens}}};
}

/// A matrix times x, in float32 as tiles sum it, with a bias, or none, a row.
std::vector<float> product_of(
    const Bf16ProductKernels& kernels,
    const PackedMatrix& w,
    const RoundedRows& x,
    int tokens,
    const float* bias) {
  std::vector<float> y(static_cast<std::size_t>(tokens * w.rows));
  for (const auto& [begin, end] : halves(tokens)) {
    kernels.product(w, {0, w.row_blocks(), begin, end}, x, y.data(), w.rows);
  }
  for (std::size_t i = 0; bias != nullptr && i < y.size(); ++i) {
    y[i] += bias[i % static_cast<std::size_t>(w.rows)];
  }
  return y;
}

struct HiddenCase {
  Activation activation;
  bool gated;
  bool biased;
};

constexpr HiddenCase kHiddenCases[] = {
    {Activation::silu, true, false},
    {Activation::silu, true, true},
    {Activation::silu, false, true},
    {Activation::gelu_tanh, true, true},
    {Activation::relu_squared, false, false}};

void check_hidden(
    const Bf16ProductKernels& kernels,
    const Case& c,
    const HiddenCase& each,
    PackedForm gate_form,
    PackedForm up_form) {
  const RandomMatrix gate(gate_form, c.rows, c.cols, 15);
  const RandomMatrix up(up_form, c.rows, c.cols, 16);
  // Some of gate's sums are large: σ is 0 or 1 there.
  const auto x =
      random_floats(static_cast<std::size_t>(c.tokens * c.cols), 17, 8.0f);
  const auto gate_bias = random_floats(static_cast<std::size_t>(c.rows), 18);
  const auto up_bias = random_floats(static_cast<std::size_t>(c.rows), 19);
  Rounded in(c.tokens, c.cols);
  for (int t = 0; t < c.tokens; ++t) {
    kernels.round(x.data() + t * c.cols, c.cols, t, 0, in.rows);
  }
  const TiledHidden hidden{
      each.gated ? &gate.matrix : nullptr,
      &up.matrix,
      each.biased ? gate_bias.data() : nullptr,
      each.biased ? up_bias.data() : nullptr,
      each.activation};
  Rounded out(c.tokens, c.rows);
  const int blocks = up.matrix.row_blocks();
  for (int b = 0; b < blocks; b += 6) {
    for (const auto& [begin, end] : halves(c.tokens)) {
      const int block_end = std::min(b + 6, blocks);
      kernels.hidden(hidden, {b, block_end, begin, end}, in.rows, out.rows);
    }
  }
  const auto product = [&](const PackedMatrix& w, const float* bias) {
    return product_of(kernels, w, in.rows, c.tokens, bias);
  };
  auto expected = product(up.matrix, hidden.up_bias);
  const auto gates = product(gate.matrix, hidden.gate_bias);
  row_kernels().activate(
      each.activation,
      each.gated ? gates.data() : expected.data(),
      each.gated ? expected.data() : nullptr,
      static_cast<int>(expected.size()),
      expected.data());
  for (int t = 0; t < c.tokens; ++t) {
    for (int r = 0; r < (c.rows + 31) / 32 * 32; ++r) {
      const float found =
          bf16_to_f32(out.rows.tiles[place(t, r, c.tokens, c.rows)]);
      const float value =
          r < c.rows ? expected[static_cast<std::size_t>(t * c.rows + r)] : 0;
      // Half a step of bfloat16 and what the activation is off by.
      ASSERT_NEAR(found, value, (0x1p-8 + 3e-4) * std::fabs(value) + 1e-5)
          << static_cast<int>(each.activation) << " " << c.rows << "x" << c.cols
          << " token " << t << " row " << r;
    }
  }
}

TEST_F(Bf16ProductTest, HiddenActivationsBecomeTilesOfTheDownProduct) {
  for (const HiddenCase& each : kHiddenCases) {
    for (const Case& c :
         {Case{64, 32, 32},
          {40, 96, 33},
          {33, 64, 7},
          {70, 1312, 50},
          {192, 64, 20},
          {32, 32, 530}}) {
      check_hidden(*kernels_, c, each, PackedFormat::q8_16, PackedFormat::q8);
      check_hidden(
          *kernels_,
          c,
          each,
          PackedForm{PackedFormat::q4, 1, 8},
          PackedFormat::q4_table);
    }
    // One side in 4 bits: few tokens would be rounded otherwise than alone.
    const Case many{64, 32, 96};
    check_hidden(*kernels_, many, each, PackedFormat::q4, PackedFormat::q8);
  }
}

TEST(Bf16Product, OtherInstructionSetsHaveNoTiles) {
  const Isa before = active_isa();
  for (const Isa isa : runnable_isas()) {
    force_isa(isa);
    EXPECT_EQ(bf16_product_kernels() != nullptr, isa == Isa::amx);
  }
  force_isa(before);
}

}  // namespace
}  // namespace roofline
