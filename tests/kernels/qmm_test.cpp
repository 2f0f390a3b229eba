#include "roofline/kernels/qmm/qmm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/packed_helpers.h"
#include "roofline/base/cpu_features.h"

namespace roofline {
namespace {

using testing::AlignedBytes;
using testing::Codes;
using testing::random_floats;
using testing::RandomMatrix;

/// QuantizedRows with memory of its own.
struct Quantized {
  Quantized(int tokens, int cols)
      : codes(static_cast<std::size_t>(tokens) * cols * kPlanes + 1),
        scales(static_cast<std::size_t>(tokens) * cols / kGroup + 1),
        sums(scales.size()),
        half_sums(2 * scales.size()),
        code_sums(scales.size()),
        high(scales.size()),
        rows{
            tokens,
            cols,
            reinterpret_cast<std::int8_t*>(codes.data()),
            scales.data(),
            sums.data(),
            half_sums.data(),
            code_sums.data()} {}
  AlignedBytes codes;
  std::vector<float> scales;
  std::vector<float> sums;
  std::vector<float> half_sums;
  std::vector<std::int32_t> code_sums;
  std::vector<std::uint8_t> high;
  QuantizedRows rows;

  /// As a step does it.
  void trim(const QmmKernels& kernels, float octaves) {
    rows.high = high.data();
    kernels.trim(rows, 0, rows.tokens, octaves);
  }
};

std::vector<const QmmKernels*> variants() {
  std::vector<const QmmKernels*> found;
  for (const Isa isa : runnable_isas()) {
    const QmmKernels* kernels = qmm_kernels(isa);
    if (kernels != nullptr) {
      found.push_back(kernels);
    }
  }
  return found;
}

std::vector<float> dequantized(const PackedMatrix& w) {
  std::vector<float> out(static_cast<std::size_t>(w.rows) * w.cols);
  for (int row = 0; row < w.rows; ++row) {
    read_packed_row(
        w,
        row,
        std::span(out).subspan(static_cast<std::size_t>(row) * w.cols, w.cols));
  }
  return out;
}

struct Expected {
  double value;
  double magnitude;  ///< Σ |terms|: what the tolerance scales with
};

/// The product of exact values in double.
Expected dot(
    const std::vector<float>& w,
    const std::vector<float>& x,
    int row,
    int token,
    int cols) {
  Expected e{0, 0};
  for (int c = 0; c < cols; ++c) {
    const double term = double{w[static_cast<std::size_t>(row) * cols + c]} *
                        double{x[static_cast<std::size_t>(token) * cols + c]};
    e.value += term;
    e.magnitude += std::fabs(term);
  }
  return e;
}

/// Rounding of a float sum of k terms whose magnitudes add up to `magnitude`.
double rounding(int k, double magnitude) {
  return (k + 8) * double{std::numeric_limits<float>::epsilon()} * magnitude;
}

constexpr float kUntouched = -12345.0f;

struct Case {
  PackedForm form;
  int rows;
  int cols;
  int tokens;
};

std::string describe(const QmmKernels& k, const Case& c) {
  return std::string(k.name) + " " + form_name(c.form) + " " +
         std::to_string(c.rows) + "x" + std::to_string(c.cols) + " tokens " +
         std::to_string(c.tokens);
}

/// The code of column i of the whole x, both planes together.
int code_of(const QuantizedRows& q, std::size_t i) {
  const std::int8_t* group = q.codes + i / kGroup * kPlanes * kGroup;
  return kHighUnit * group[i % kGroup] + group[kGroup + i % kGroup];
}

/// The values that a quantized x stands for.
std::vector<float> dequantized(const QuantizedRows& q) {
  std::vector<float> out(static_cast<std::size_t>(q.tokens) * q.cols);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = q.scales[i / kGroup] * static_cast<float>(code_of(q, i));
  }
  return out;
}

/// Σ |scale·code·x| + |bias·x|: the fast path adds both parts apart, so its
/// rounding follows this and not the magnitude of the weights.
double split_magnitude(
    const PackedMatrix& w,
    const std::vector<float>& x,
    int row,
    int token) {
  const int most = w.format == PackedFormat::q4 ? 15 : 255;
  const int set_cols = kGroup / scale_sets(w.format);
  const BlockGroups groups = w.block_groups(row / kRowBlock);
  double sum = 0;
  for (int c = 0; c < w.cols; ++c) {
    const std::byte* own = groups.scales(c / kGroup, c % kGroup / set_cols);
    std::uint16_t halves[2 * kRowBlock] = {};
    std::memcpy(halves, own, static_cast<std::size_t>(w.set_bytes()));
    const double scale = std::fabs(f16_to_f32(halves[row % kRowBlock]));
    const double bias =
        w.offset != 0
            ? w.offset * scale
            : std::fabs(f16_to_f32(halves[kRowBlock + row % kRowBlock]));
    const std::size_t at = static_cast<std::size_t>(token) * w.cols + c;
    sum += (scale * most + bias) * std::fabs(x[at]);
  }
  return sum * w.unit;
}

/// What AVX2 may lose of a trimmed row in q4 with an offset in the middle of
/// the codes: a group's two scales become one factor, at most a unit off, of
/// which the row's and the token's largest scales together are at least 2^14.
double factor_rounding(
    const PackedMatrix& w,
    const std::vector<float>& weights,
    const QuantizedRows& x,
    const std::vector<float>& seen,
    int row,
    int token) {
  const auto groups = static_cast<std::size_t>(w.groups());
  const float* x_scales = x.scales + static_cast<std::size_t>(token) * groups;
  const BlockGroups block = w.block_groups(row / kRowBlock);
  std::vector<double> scales(groups);
  for (std::size_t g = 0; g < groups; ++g) {
    std::uint16_t half = 0;
    std::memcpy(
        &half,
        block.scales(static_cast<std::ptrdiff_t>(g)) +
            sizeof(half) * static_cast<std::size_t>(row % kRowBlock),
        sizeof(half));
    scales[g] = std::fabs(f16_to_f32(half)) * w.unit;
  }
  double sums = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    double sum = 0;
    for (std::size_t c = g * kGroup; c < (g + 1) * kGroup; ++c) {
      const auto cols = static_cast<std::size_t>(w.cols);
      sum += double{weights[static_cast<std::size_t>(row) * cols + c]} *
             double{seen[static_cast<std::size_t>(token) * cols + c]};
    }
    const double both = scales[g] * double{x_scales[g]};
    sums += both == 0 ? 0 : std::fabs(sum) / both;
  }
  return sums * *std::max_element(scales.begin(), scales.end()) *
         double{*std::max_element(x_scales, x_scales + groups)} / 16384;
}

/// Whether AVX2 makes one factor of a group's two scales.
bool rounds_factors(const QmmKernels& kernels, const PackedMatrix& w) {
  return &kernels == qmm_kernels(Isa::avx2) && w.format == PackedFormat::q4 &&
         (w.offset == 7 || w.offset == 8);
}

/// octaves: trim()'s, unless nothing is to be trimmed.
void check_fast(
    const Case& c,
    const PackedMatrix& w,
    const std::vector<float>& x,
    std::optional<float> octaves = {}) {
  const auto weights = dequantized(w);
  for (const QmmKernels* k : variants()) {
    SCOPED_TRACE(describe(*k, c));
    Quantized q(c.tokens, c.cols);
    k->quantize(x.data(), 0, c.tokens, q.rows);
    if (octaves) {
      q.trim(*k, *octaves);
    }
    const auto seen = dequantized(q.rows);
    const int ldy = c.rows + 3;
    std::vector<float> y(static_cast<std::size_t>(c.tokens) * ldy, kUntouched);
    k->fast(w, 0, w.row_blocks(), q.rows, 0, c.tokens, y.data(), ldy);
    for (int t = 0; t < c.tokens; ++t) {
      for (int r = 0; r < ldy; ++r) {
        const float got = y[static_cast<std::size_t>(t) * ldy + r];
        if (r >= c.rows) {
          ASSERT_EQ(got, kUntouched) << "token " << t << " row " << r;
          continue;
        }
        const auto expected = dot(weights, seen, r, t, c.cols);
        double slack = rounding(2 * w.groups(), split_magnitude(w, seen, r, t));
        if (octaves && rounds_factors(*k, w)) {
          slack += factor_rounding(w, weights, q.rows, seen, r, t);
        }
        ASSERT_NEAR(got, expected.value, slack)
            << "token " << t << " row " << r;
      }
    }
  }
}

void check_exact(
    const Case& c,
    const PackedMatrix& w,
    const std::vector<float>& x) {
  const auto weights = dequantized(w);
  for (const QmmKernels* k : variants()) {
    SCOPED_TRACE(describe(*k, c));
    const int ldy = c.rows + 1;
    std::vector<float> y(static_cast<std::size_t>(c.tokens) * ldy, kUntouched);
    k->exact(w, 0, w.row_blocks(), x.data(), 0, c.tokens, y.data(), ldy);
    for (int t = 0; t < c.tokens; ++t) {
      for (int r = 0; r < c.rows; ++r) {
        const auto expected = dot(weights, x, r, t, c.cols);
        const double slack = rounding(c.cols, expected.magnitude) +
                             2 * std::numeric_limits<float>::epsilon() *
                                 split_magnitude(w, x, r, t);
        ASSERT_NEAR(
            y[static_cast<std::size_t>(t) * ldy + r],
            expected.value,
            slack)
            << "token " << t << " row " << r;
      }
      ASSERT_EQ(y[static_cast<std::size_t>(t) * ldy + c.rows], kUntouched);
    }
  }
}

class Qmm : public ::testing::TestWithParam<PackedForm> {};
INSTANTIATE_TEST_SUITE_P(
    Formats,
    Qmm,
    ::testing::Values(
        PackedFormat::q4,
        PackedFormat::q8,
        PackedFormat::q4_table,
        PackedFormat::q4_16,
        PackedFormat::q8_16,
        PackedForm(PackedFormat::q4, 1, 8),
        PackedForm(PackedFormat::q4, 2),
        PackedForm(PackedFormat::q4, 4, 8),
        PackedForm(PackedFormat::q8, 1, 128),
        PackedForm(PackedFormat::q8, 2),
        PackedForm(PackedFormat::q4_table, 1, 16),
        PackedForm(PackedFormat::q4_16, 1, 4),
        PackedForm(PackedFormat::q8_16, 1, 32)),
    [](const auto& info) {
      std::string name = form_name(info.param);
      std::replace_if(
          name.begin(),
          name.end(),
          [](char c) { return c == ' ' || c == '/' || c == ','; },
          '_');
      return name;
    });

TEST_P(Qmm, EveryTokenCountUpToTwoTilesGivesTheProduct) {
  for (int tokens = 0; tokens <= 34; ++tokens) {
    const RandomMatrix w(GetParam(), 19, 96, 1);
    const auto x = random_floats(static_cast<std::size_t>(tokens) * 96, 2);
    check_fast({GetParam(), 19, 96, tokens}, w.matrix, x);
    check_exact({GetParam(), 19, 96, tokens}, w.matrix, x);
  }
}

TEST_P(Qmm, EveryRowCountUpToTwoBlocksGivesTheProduct) {
  for (int rows = 1; rows <= 33; ++rows) {
    const RandomMatrix w(GetParam(), rows, 64, 3);
    const auto x = random_floats(5 * 64, 4);
    check_fast({GetParam(), rows, 64, 5}, w.matrix, x);
    check_exact({GetParam(), rows, 64, 5}, w.matrix, x);
  }
}

TEST_P(Qmm, LongRowsGiveTheProduct) {
  for (int cols : {32, 576, 1536, 8192}) {
    const RandomMatrix w(GetParam(), 16, cols, 5);
    const auto x = random_floats(static_cast<std::size_t>(cols) * 3, 6);
    check_fast({GetParam(), 16, cols, 3}, w.matrix, x);
    check_exact({GetParam(), 16, cols, 3}, w.matrix, x);
  }
}

TEST_P(Qmm, OneTokenOfManyRowsGivesTheProduct) {
  // So much that row blocks are read a third of the matrix apart; a row block
  // is left over.
  const RandomMatrix w(GetParam(), 635, 800, 7);
  const auto x = random_floats(800, 8);
  check_fast({GetParam(), 635, 800, 1}, w.matrix, x);
}

/// Values whose groups' magnitudes differ, each token's in its own way.
std::vector<float> uneven_floats(int tokens, int cols, unsigned seed) {
  auto x = random_floats(static_cast<std::size_t>(tokens) * cols, seed);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] *= (i / kGroup * 5 + i / cols) % 7 == 0 ? 20.0f : 1.0f;
  }
  return x;
}

TEST_P(Qmm, TrimmedRowsGiveTheProductOfWhatIsLeftOfThem) {
  for (int tokens = 1; tokens <= 34; ++tokens) {
    const RandomMatrix w(GetParam(), 51, 160, 21);
    const auto x = uneven_floats(tokens, 160, 22);
    check_fast({GetParam(), 51, 160, tokens}, w.matrix, x, 1.0f);
  }
  for (int rows = 1; rows <= 65; ++rows) {
    const RandomMatrix w(GetParam(), rows, 96, 23);
    const auto x = uneven_floats(13, 96, 24);
    check_fast({GetParam(), rows, 96, 13}, w.matrix, x, 1.0f);
  }
}

TEST_P(Qmm, RowsOfWhichAllIsBeyondEightBitsOverflowNoSum) {
  // All of one magnitude: trim() gives them codes of 127·2^-octaves.
  for (const float octaves : {-0.05f, -0.5f, -1.0f, -3.0f}) {
    std::vector<float> x(160 * 6);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = i / 160 % 2 == 0 || i % 3 == 0 ? 1.0f : -1.0f;
    }
    const RandomMatrix w(GetParam(), 33, 160, 25);
    check_fast({GetParam(), 33, 160, 6}, w.matrix, x, octaves);
  }
}

/// All tokens of x at once give exactly what each gives alone.
void check_alone(
    const Case& c,
    const PackedMatrix& w,
    std::optional<float> octaves) {
  const auto x = uneven_floats(c.tokens, c.cols, 32);
  const int blocks = w.row_blocks();
  for (const QmmKernels* k : variants()) {
    SCOPED_TRACE(describe(*k, c));
    Quantized q(c.tokens, c.cols);
    k->quantize(x.data(), 0, c.tokens, q.rows);
    if (octaves) {
      q.trim(*k, *octaves);
    }
    std::vector<float> y(static_cast<std::size_t>(c.tokens) * c.rows);
    std::vector<float> alone(y.size());
    k->fast(w, 0, blocks, q.rows, 0, c.tokens, y.data(), c.rows);
    for (int t = 0; t < c.tokens; ++t) {
      k->fast(w, 0, blocks, q.rows, t, t + 1, alone.data(), c.rows);
    }
    EXPECT_EQ(y, alone);
  }
}

TEST_P(Qmm, ATokenGivesTheSameWhateverOthersAreInTheStep) {
  const RandomMatrix w(GetParam(), 51, 160, 31);
  for (const int tokens : {2, 3, 4, 5, 6, 7, 8, 9, 17, 34}) {
    check_alone({GetParam(), 51, 160, tokens}, w.matrix, {});
    check_alone({GetParam(), 51, 160, tokens}, w.matrix, 1.0f);
  }
}

TEST_P(Qmm, ATokenOfManyRowsGivesTheSameAloneAndBesideAnother) {
  const RandomMatrix w(GetParam(), 635, 800, 33);
  check_alone({GetParam(), 635, 800, 2}, w.matrix, {});
}

/// A form whose values go up to `most`: on AVX2 more columns' products are
/// added in 16 bits the nearer they are to the form's offset, or to one
/// another.
struct ValueRange {
  PackedForm form;
  int most;
};

class QmmRange : public ::testing::TestWithParam<ValueRange> {
 protected:
  /// Of 4 row blocks. ends: values are 0 or the largest; else the last row
  /// block has all values that the format can hold.
  RandomMatrix matrix(int cols, bool ends, unsigned seed) const {
    constexpr int kRows = 51;
    const PackedForm& form = GetParam().form;
    const int values = GetParam().most + 1;
    RandomMatrix w(form, kRows, cols, seed);
    for (std::uint8_t& value : w.matrix.table) {
      value = static_cast<std::uint8_t>(
          ends ? value % 2 * (values - 1) : value % values);
    }
    if (has_nibbles(form.format)) {
      return w;
    }
    const int blocks = w.matrix.row_blocks() - (ends ? 0 : 1);
    for (int block = 0; block < blocks; ++block) {
      const BlockGroups groups = w.matrix.block_groups(block);
      for (int g = 0; g < w.matrix.groups(); ++g) {
        std::byte* at = w.writable(groups.codes(g));
        for (int i = 0; i < groups.code_bytes; ++i) {
          const int code = static_cast<int>(at[i]);
          at[i] = static_cast<std::byte>(
              ends ? code % 2 * (values - 1) : code % values);
        }
      }
    }
    return w;
  }
};
INSTANTIATE_TEST_SUITE_P(
    Forms,
    QmmRange,
    ::testing::Values(
        ValueRange{{PackedFormat::q8, 1, 16}, 31},  // as Q5_0
        ValueRange{{PackedFormat::q8, 1, 16}, 32},
        ValueRange{PackedFormat::q8, 31},  // Q5_1, Q5_K
        ValueRange{PackedFormat::q8, 32},
        ValueRange{PackedFormat::q8, 33},
        ValueRange{{PackedFormat::q8, 2}, 63},
        ValueRange{{PackedFormat::q8, 1, 32}, 63},
        ValueRange{{PackedFormat::q8, 1, 128}, 255},  // Q8_0
        ValueRange{{PackedFormat::q8, 1, 100}, 255},
        ValueRange{{PackedFormat::q4_table, 1, 16}, 28},    // MXFP4
        ValueRange{{PackedFormat::q4_table, 1, 64}, 124},   // IQ3_XXS
        ValueRange{{PackedFormat::q4_table, 1, 128}, 241},  // IQ4_NL
        ValueRange{{PackedFormat::q4_16, 1, 16}, 28},       // NVFP4
        ValueRange{{PackedFormat::q4_16, 1, 64}, 107},      // IQ2_XS
        ValueRange{PackedFormat::q4_16, 3},                 // Q2_K
        ValueRange{{PackedFormat::q8_16, 1, 32}, 63},       // Q6_K
        ValueRange{PackedFormat::q8_16, 64}));

TEST_P(QmmRange, TrimmedRowsGiveTheProductOfWhatIsLeftOfThem) {
  const RandomMatrix w = matrix(352, false, 41);
  for (int tokens = 1; tokens <= 13; ++tokens) {
    const auto x = uneven_floats(tokens, 352, 42);
    check_fast({w.matrix, 51, 352, tokens}, w.matrix, x, 1.0f);
    check_fast({w.matrix, 51, 352, tokens}, w.matrix, x, -1.0f);
  }
}

TEST_P(QmmRange, ValuesAndCodesAtTheirEndsOverflowNoSum) {
  const RandomMatrix w = matrix(128, true, 43);
  const RandomMatrix
      largest(GetParam().form, 51, 128, 44, 0.01f, Codes::all_max);
  for (const float sign : {1.0f, -1.0f}) {
    // Nothing but the largest codes, and signs as the values of a row.
    std::vector<float> x(128 * 10, sign * 3.0f);
    check_fast({w.matrix, 51, 128, 10}, w.matrix, x, 1.0f);
    check_fast({w.matrix, 51, 128, 10}, largest.matrix, x, 1.0f);
    const auto row = dequantized(w.matrix);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = row[i] > 0 ? sign : -sign;
    }
    check_fast({w.matrix, 51, 128, 10}, w.matrix, x, 1.0f);
  }
}

TEST_P(QmmRange, ATokenGivesTheSameWhateverOthersAreInTheStep) {
  const RandomMatrix w = matrix(352, false, 45);
  for (const int tokens : {2, 3, 5, 6, 7, 9, 17}) {
    check_alone({w.matrix, 51, 352, tokens}, w.matrix, 0.5f);
  }
}

TEST(QmmWide, ATokenGivesTheSameInProductsThatAreCutIntoChunks) {
  const PackedForm forms[] = {
      {PackedFormat::q4, 1, 8},
      PackedFormat::q8,
      PackedFormat::q4_16};
  for (const PackedForm& form : forms) {
    const RandomMatrix wide(form, 33, 8192, 33);
    check_alone({form, 33, 8192, 66}, wide.matrix, 1.0f);
    check_alone({form, 33, 8192, 130}, wide.matrix, 1.0f);
    const RandomMatrix widest(form, 33, 36864, 34);
    check_alone({form, 33, 36864, 18}, widest.matrix, 1.0f);
  }
}

TEST_P(Qmm, TheLargestCodesOverflowNoSumOfManyTokens) {
  for (float sign : {1.0f, -1.0f}) {
    const RandomMatrix w(GetParam(), 32, 128, 7, 0.01f, Codes::all_max);
    const std::vector<float> x(128 * 12, sign * 3.0f);
    check_fast({GetParam(), 32, 128, 12}, w.matrix, x);
    check_fast({GetParam(), 32, 128, 12}, w.matrix, x, 1.0f);
  }
}

TEST_P(Qmm, TheLargestCodesOverflowNoIntegerSum) {
  for (float sign : {1.0f, -1.0f}) {
    const RandomMatrix w(GetParam(), 16, 128, 7, 0.01f, Codes::all_max);
    const std::vector<float> x(128 * 6, sign * 3.0f);
    check_fast({GetParam(), 16, 128, 6}, w.matrix, x);
  }
}

TEST_P(Qmm, TheSmallestCodesGiveOnlyTheBias) {
  const RandomMatrix w(GetParam(), 16, 128, 7, 0.01f, Codes::all_zero);
  const auto x = random_floats(128 * 6, 8);
  check_fast({GetParam(), 16, 128, 6}, w.matrix, x);
}

TEST_P(Qmm, TinyAndLargeScalesKeepTheirRelativePrecision) {
  for (float unit : {0x1p-30f, 0x1p20f}) {
    RandomMatrix w(GetParam(), 16, 128, 9, 1000.0f);
    w.matrix.unit = unit;
    const auto x = random_floats(128 * 3, 10);
    check_fast({GetParam(), 16, 128, 3}, w.matrix, x);
    check_exact({GetParam(), 16, 128, 3}, w.matrix, x);
  }
}

TEST_P(Qmm, ZeroScalesGiveZero) {
  const RandomMatrix w(GetParam(), 16, 64, 11, 0.0f);
  const auto x = random_floats(64, 12);
  check_fast({GetParam(), 16, 64, 1}, w.matrix, x);
  check_exact({GetParam(), 16, 64, 1}, w.matrix, x);
}

TEST_P(Qmm, ARangeOfBlocksAndTokensWritesOnlyItsPart) {
  const Case c{GetParam(), 70, 64, 21};
  const RandomMatrix w(c.form, c.rows, c.cols, 13);
  const auto x = random_floats(static_cast<std::size_t>(c.tokens) * c.cols, 14);
  for (const QmmKernels* k : variants()) {
    SCOPED_TRACE(describe(*k, c));
    Quantized q(c.tokens, c.cols);
    k->quantize(x.data(), 0, c.tokens, q.rows);
    const auto size = static_cast<std::size_t>(c.tokens) * c.rows;
    std::vector<float> whole(size);
    std::vector<float> part(size, kUntouched);
    std::vector<float> exact(size, kUntouched);
    k->fast(w.matrix, 0, 5, q.rows, 0, c.tokens, whole.data(), c.rows);
    k->fast(w.matrix, 1, 3, q.rows, 2, 19, part.data(), c.rows);
    k->exact(w.matrix, 1, 3, x.data(), 2, 19, exact.data(), c.rows);
    for (int t = 0; t < c.tokens; ++t) {
      for (int r = 0; r < c.rows; ++r) {
        const auto i = static_cast<std::size_t>(t) * c.rows + r;
        const bool inside = t >= 2 && t < 19 && r >= 16 && r < 48;
        if (inside) {
          ASSERT_FLOAT_EQ(part[i], whole[i]);
        } else {
          ASSERT_EQ(part[i], kUntouched);
        }
        ASSERT_EQ(exact[i] != kUntouched, inside);
      }
    }
  }
}

TEST(QmmQuantize, AllVariantsGiveTheSameCodesScalesAndSums) {
  for (int cols : {32, 64, 576}) {
    auto x = random_floats(static_cast<std::size_t>(cols) * 7, 15, 3.0f);
    x[5] = 40.0f;
    x[6] = -40.0f;
    for (int i = 0; i < 32; ++i) {
      x[static_cast<std::size_t>(cols) + i] = 0.5f * static_cast<float>(i - 16);
    }
    Quantized expected(7, cols);
    qmm_kernels(Isa::generic)->quantize(x.data(), 0, 7, expected.rows);
    for (const QmmKernels* k : variants()) {
      SCOPED_TRACE(k->name);
      Quantized q(7, cols);
      k->quantize(x.data(), 0, 7, q.rows);
      for (int i = 0; i < kPlanes * 7 * cols; ++i) {
        ASSERT_EQ(q.rows.codes[i], expected.rows.codes[i]) << i;
      }
      for (int g = 0; g < 7 * cols / kGroup; ++g) {
        ASSERT_EQ(q.rows.scales[g], expected.rows.scales[g]) << g;
        ASSERT_EQ(q.rows.sums[g], expected.rows.sums[g]) << g;
        for (int half : {2 * g, 2 * g + 1}) {
          ASSERT_EQ(q.rows.half_sums[half], expected.rows.half_sums[half]);
        }
      }
    }
  }
}

TEST(QmmQuantize, TheLargestValueIsHitAndTheErrorIsHalfAStep) {
  const auto x = random_floats(320, 16, 2.0f);
  for (const QmmKernels* k : variants()) {
    Quantized q(1, 320);
    k->quantize(x.data(), 0, 1, q.rows);
    for (int g = 0; g < 10; ++g) {
      int most = 0;
      int sum = 0;
      for (int i = g * 32; i < g * 32 + 32; ++i) {
        const int code = code_of(q.rows, static_cast<std::size_t>(i));
        const float value = q.rows.scales[g] * static_cast<float>(code);
        EXPECT_LE(std::fabs(value - x[i]), 0.51f * q.rows.scales[g]);
        most = std::max(most, std::abs(code));
        sum += code;
      }
      EXPECT_EQ(most, kMostCode);
      EXPECT_EQ(q.rows.sums[g], q.rows.scales[g] * static_cast<float>(sum));
      EXPECT_NEAR(
          q.rows.half_sums[2 * g] + q.rows.half_sums[2 * g + 1],
          q.rows.sums[g],
          1e-3f * q.rows.scales[g] * kMostCode);
    }
  }
}

TEST(QmmQuantize, ZeroAndDenormalRowsGiveScaleZero) {
  for (float value : {0.0f, -0.0f, 1e-40f, 1e-31f}) {
    // Four groups and one more: some kernels take four at a time.
    const std::vector<float> x(160, value);
    for (const QmmKernels* k : variants()) {
      SCOPED_TRACE(k->name);
      Quantized q(1, 160);
      k->quantize(x.data(), 0, 1, q.rows);
      for (int g = 0; g < 5; ++g) {
        EXPECT_EQ(q.rows.scales[g], 0.0f);
        EXPECT_EQ(q.rows.sums[g], 0.0f);
      }
      for (int i = 0; i < kPlanes * 160; ++i) {
        EXPECT_EQ(q.rows.codes[i], 0);
      }
    }
  }
}

TEST(QmmQuantize, SumsOfHalvesAreLeftOutWhereNobodyWantsThem) {
  const auto x = random_floats(160, 16);
  for (const QmmKernels* k : variants()) {
    Quantized q(1, 160);
    q.rows.half_sums = nullptr;
    k->quantize(x.data(), 0, 1, q.rows);
    EXPECT_NE(q.rows.sums[0], 0.0f);
    EXPECT_EQ(q.half_sums[0], 0.0f);
  }
}

TEST(QmmFast, RowsOfYFarApartGetTheSameSums) {
  constexpr int kTokens = 41;
  constexpr int kRows = 16 * 37 + 5;
  constexpr int kFar = 16 * 1024 + 24;
  const auto x = random_floats(kTokens * 64, 31);
  const RandomMatrix w(PackedFormat::q4, kRows, 64, 32);
  for (const QmmKernels* k : variants()) {
    SCOPED_TRACE(k->name);
    Quantized q(kTokens, 64);
    k->quantize(x.data(), 0, kTokens, q.rows);
    std::vector<float> near(kTokens * kRows, kUntouched);
    std::vector<float> far(kTokens * kFar, kUntouched);
    const int blocks = w.matrix.row_blocks();
    k->fast(w.matrix, 0, blocks, q.rows, 0, kTokens, near.data(), kRows);
    // Not from the first block and token on.
    k->fast(w.matrix, 0, 2, q.rows, 0, kTokens, far.data(), kFar);
    k->fast(w.matrix, 2, blocks, q.rows, 0, 20, far.data(), kFar);
    k->fast(w.matrix, 2, blocks, q.rows, 20, kTokens, far.data(), kFar);
    for (std::size_t t = 0; t < kTokens; ++t) {
      for (std::size_t r = 0; r < kFar; ++r) {
        const float expected = r < kRows ? near[t * kRows + r] : kUntouched;
        ASSERT_EQ(far[t * kFar + r], expected) << t << ' ' << r;
      }
    }
  }
}

TEST(QmmTrim, OnlyOutliersKeepTheirHighCodes) {
  // Groups of magnitude 1, and in the last one a single value of 16: scales
  // whose geometric mean is 2.
  std::vector<float> x(4 * 32);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = std::cos(static_cast<float>(i % 32));
  }
  x[3 * 32 + 21] = -16.0f;
  for (const QmmKernels* k : variants()) {
    SCOPED_TRACE(k->name);
    Quantized q(1, 128);
    k->quantize(x.data(), 0, 1, q.rows);
    const float small = q.scales[0];
    q.trim(*k, 1.0f);
    EXPECT_EQ(q.high, (std::vector<std::uint8_t>{0, 0, 0, 1 << 5, 0}));
    // 2 octaves above the others, which count in units of 128.
    EXPECT_NEAR(q.scales[3], 4 * 128 * small, 0.4f * 128 * small);
    for (std::size_t i = 0; i < 128; ++i) {
      const float scale = q.scales[i / 32];
      EXPECT_NEAR(
          scale * static_cast<float>(code_of(q.rows, i)),
          x[i],
          0.51f * scale)
          << i;
      const bool outlier = i / 4 == (3 * 32 + 21) / 4;
      const std::int8_t high = q.rows.codes[i / 32 * 64 + i % 32];
      EXPECT_TRUE(outlier || high == 0) << i;
    }
    Quantized all(1, 128);
    k->quantize(x.data(), 0, 1, all.rows);
    all.trim(*k, 3.5f);
    EXPECT_EQ(all.high, (std::vector<std::uint8_t>{0, 0, 0, 0, 0}));
  }
}

TEST(QmmTrim, SumsAreThoseOfTheCodesThatAreLeft) {
  const auto x = uneven_floats(5, 192, 25);
  for (const QmmKernels* k : variants()) {
    SCOPED_TRACE(k->name);
    Quantized q(5, 192);
    k->quantize(x.data(), 0, 5, q.rows);
    q.trim(*k, 1.0f);
    int kept = 0;
    for (std::size_t half = 0; half < 2 * 5 * 6; ++half) {
      int sum = 0;
      for (std::size_t i = 16 * half; i < 16 * half + 16; ++i) {
        sum += code_of(q.rows, i);
      }
      const float scale = q.scales[half / 2];
      EXPECT_EQ(q.half_sums[half], scale * static_cast<float>(sum));
      kept += q.high[half / 2] != 0 ? 1 : 0;
    }
    for (std::size_t g = 0; g < 5 * 6; ++g) {
      EXPECT_EQ(q.sums[g], q.scales[g] * static_cast<float>(q.code_sums[g]));
    }
    EXPECT_GT(kept, 0);
    EXPECT_LT(kept, 2 * 5 * 6);
  }
}

TEST(QmmTrim, VariantsLeaveTheSameCodes) {
  const auto x = uneven_floats(9, 224, 26);
  Quantized wanted(9, 224);
  const QmmKernels& generic = *qmm_kernels(Isa::generic);
  generic.quantize(x.data(), 0, 9, wanted.rows);
  wanted.trim(generic, 0.5f);
  for (const QmmKernels* k : variants()) {
    SCOPED_TRACE(k->name);
    Quantized q(9, 224);
    generic.quantize(x.data(), 0, 9, q.rows);
    q.trim(*k, 0.5f);
    EXPECT_EQ(q.high, wanted.high);
    for (std::size_t g = 0; g < 9 * 7; ++g) {
      // AVX2 rounds scales to whole numbers of a quantum.
      const float largest = *std::max_element(
          wanted.scales.begin() + g / 7 * 7,
          wanted.scales.begin() + (g / 7 + 1) * 7);
      const float most = k == qmm_kernels(Isa::avx2) ? 0x1p-15f : 0.0f;
      EXPECT_NEAR(q.scales[g], wanted.scales[g], most * largest) << g;
    }
    EXPECT_EQ(q.code_sums, wanted.code_sums);
    for (std::size_t i = 0; i < 9 * 224; ++i) {
      EXPECT_EQ(code_of(q.rows, i), code_of(wanted.rows, i)) << i;
    }
  }
}

TEST(QmmTrim, ARowOfZerosIsTrimmedAndANanStays) {
  std::vector<float> x(3 * 64, 0.0f);
  x[64 + 40] = std::numeric_limits<float>::quiet_NaN();
  for (const QmmKernels* k : variants()) {
    SCOPED_TRACE(k->name);
    Quantized q(3, 64);
    k->quantize(x.data(), 0, 3, q.rows);
    q.trim(*k, 1.0f);
    EXPECT_EQ(q.high[0], 0);
    EXPECT_EQ(q.sums[0], 0.0f);
    EXPECT_FALSE(std::isfinite(q.sums[3]));
  }
}

/// Products of twelve rows at a time with each matrix, a row block a call.
/// stamped: all calls of the same rows say so.
std::vector<std::vector<float>> in_pieces(
    const QmmKernels& kernels,
    const std::vector<RandomMatrix>& matrices,
    QuantizedRows x,
    bool stamped) {
  x.stamp = stamped ? new_stamp() : 0;
  std::vector<std::vector<float>> all;
  for (int begin = 0; begin < x.tokens; begin += 12) {
    for (const RandomMatrix& each : matrices) {
      const PackedMatrix& w = each.matrix;
      std::vector<float> y(static_cast<std::size_t>(x.tokens) * w.rows);
      for (int block = 0; block < w.row_blocks(); ++block) {
        kernels
            .fast(w, block, block + 1, x, begin, begin + 12, y.data(), w.rows);
      }
      all.push_back(std::move(y));
    }
  }
  return all;
}

TEST(QmmStamp, CallsWithTheSameStampGiveWhatTheyGiveWithout) {
  std::vector<RandomMatrix> matrices;
  const PackedForm forms[] = {
      {PackedFormat::q4, 1, 8},
      {PackedFormat::q4, 1, 7},
      {PackedFormat::q4, 1, 16},
      {PackedFormat::q4},
      {PackedFormat::q8},
      {PackedFormat::q8, 1, 128},
      {PackedFormat::q4_table},
      {PackedFormat::q8_16},
      {PackedFormat::q4_16}};
  matrices.reserve(2 * std::size(forms));
  for (const PackedForm& form : forms) {
    for (const float unit : {1.0f, 0.5f}) {
      matrices.emplace_back(form, 48, 160, 31);
      matrices.back().matrix.unit = unit;
    }
  }
  const std::vector<float> rows[] = {
      uneven_floats(24, 160, 32),
      uneven_floats(24, 160, 33)};
  for (const QmmKernels* k : variants()) {
    SCOPED_TRACE(k->name);
    // Both are in the same memory, one after the other.
    Quantized q(24, 160);
    std::vector<std::vector<float>> products[2];
    for (const bool stamped : {false, true}) {
      for (const std::vector<float>& x : rows) {
        k->quantize(x.data(), 0, 24, q.rows);
        q.trim(*k, 1.0f);
        for (auto& each : in_pieces(*k, matrices, q.rows, stamped)) {
          products[stamped ? 1 : 0].push_back(std::move(each));
        }
      }
    }
    EXPECT_EQ(products[0], products[1]);
  }
}

TEST(QmmQuantize, ANanOrInfinityIsNotLost) {
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(),
        -std::numeric_limits<float>::infinity()}) {
    auto x = random_floats(160, 17);
    x[40] = bad;
    const RandomMatrix w(PackedFormat::q4, 16, 160, 18);
    for (const QmmKernels* k : variants()) {
      SCOPED_TRACE(k->name);
      Quantized q(1, 160);
      k->quantize(x.data(), 0, 1, q.rows);
      for (int g = 0; g < 5; ++g) {
        EXPECT_EQ(std::isfinite(q.rows.scales[g]), g != 1);
      }
      std::vector<float> y(16);
      k->fast(w.matrix, 0, 1, q.rows, 0, 1, y.data(), 16);
      for (float value : y) {
        EXPECT_FALSE(std::isfinite(value));
      }
    }
  }
}

TEST(QmmRegistry, TheForcedInstructionSetIsTheOneThatRuns) {
  const Isa before = active_isa();
  const QmmKernels* best = nullptr;
  for (const Isa isa : runnable_isas()) {
    force_isa(isa);
    if (const QmmKernels* own = qmm_kernels(isa)) {
      EXPECT_EQ(std::string(own->name), isa_name(isa));
      best = own;
    }
    // AMX has none of its own here: the best below it runs.
    EXPECT_EQ(&qmm_kernels(), best) << isa_name(isa);
  }
  force_isa(before);
}

}  // namespace
}  // namespace roofline
