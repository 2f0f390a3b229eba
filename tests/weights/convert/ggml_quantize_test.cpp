#include "roofline/weights/convert/ggml_quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "roofline/base/errors.h"
#include "roofline/weights/encodings.h"

namespace roofline {
namespace {

std::vector<float> decoded(Encoding encoding, const std::vector<float>& row) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(
      row_bytes(encoding, static_cast<std::int64_t>(row.size())).value()));
  encode_row(encoding, row, bytes);
  Tensor tensor;
  tensor.encoding = encoding;
  tensor.rows = 1;
  tensor.cols = static_cast<std::int64_t>(row.size());
  tensor.bytes = bytes;
  std::vector<float> out(row.size());
  decode_row(tensor, 0, out);
  return out;
}

double error_of(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += (a[i] - b[i]) * (a[i] - b[i]);
  }
  return std::sqrt(sum / static_cast<double>(a.size()));
}

std::vector<float> normal_row(std::size_t count, float mean = 0) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(mean, 1.0f);
  std::vector<float> out(count);
  for (float& value : out) {
    value = normal(random);
  }
  return out;
}

/// The error of quantizing groups of 32 from their ends, without a search.
double error_by_ends(const std::vector<float>& row, int bits) {
  std::vector<float> out(row.size());
  const AffineForm form{bits, 32};
  std::vector<std::uint8_t> codes(row.size());
  std::vector<float> scales(row.size() / 32), biases(row.size() / 32);
  quantize_row(row, form, {codes, scales, biases});
  for (std::size_t i = 0; i < row.size(); ++i) {
    out[i] = scales[i / 32] * codes[i] + biases[i / 32];
  }
  return error_of(row, out);
}

TEST(GgmlQuantize, FloatsKeepWhatTheirFormatHolds) {
  const std::vector<float> row = {0, 1, -2.5f, 65504, 0.00006103515625f};
  EXPECT_EQ(decoded(Encoding::f32, row), row);
  EXPECT_EQ(decoded(Encoding::f16, row), row);
  EXPECT_EQ(decoded(Encoding::bf16, {1, -2.5f, 0.5f})[1], -2.5f);
}

TEST(GgmlQuantize, ErrorsStayWithinTheStepOfEachType) {
  // A normal row's error as a share of its deviation. The step of b bits over
  // about ±2.2 deviations (the expected ends of 32 draws), by √12, is 0.085
  // for 4 bits; super-blocks lose a little to their 6-bit scales.
  const std::vector<float> row = normal_row(256 * 64);
  EXPECT_LT(error_of(row, decoded(Encoding::q8_0, row)), 0.006);
  EXPECT_LT(error_of(row, decoded(Encoding::q5_0, row)), 0.045);
  EXPECT_LT(error_of(row, decoded(Encoding::q4_0, row)), 0.088);
  EXPECT_LT(error_of(row, decoded(Encoding::q4_1, row)), 0.080);
  EXPECT_LT(error_of(row, decoded(Encoding::q4_k, row)), 0.082);
}

TEST(GgmlQuantize, TheSearchBeatsScalesFromTheEnds) {
  const std::vector<float> row = normal_row(256 * 64);
  const double plain = error_by_ends(row, 4);
  EXPECT_LT(error_of(row, decoded(Encoding::q4_1, row)), 0.97 * plain);
  EXPECT_LT(error_of(row, decoded(Encoding::q4_k, row)), 0.99 * plain);
}

TEST(GgmlQuantize, SpecialRowsSurvive) {
  for (const Encoding encoding :
       {Encoding::q8_0,
        Encoding::q5_0,
        Encoding::q4_0,
        Encoding::q4_1,
        Encoding::q4_k}) {
    const std::vector<float> zeros(256, 0.0f);
    EXPECT_EQ(decoded(encoding, zeros), zeros) << encoding_name(encoding);
    // One value that is much larger than the rest.
    std::vector<float> spike(256, 0.0f);
    spike[77] = -3;
    const auto out = decoded(encoding, spike);
    EXPECT_NEAR(out[77], -3, 0.05) << encoding_name(encoding);
    EXPECT_NEAR(out[5], 0, 0.05) << encoding_name(encoding);
    // Equal values, which q4_k can only reach through a scale (its minimum
    // can't be above zero).
    const std::vector<float> ones(256, 1.0f);
    EXPECT_NEAR(decoded(encoding, ones)[200], 1, 0.02)
        << encoding_name(encoding);
    // All above zero, and all below.
    for (const float mean : {10.0f, -10.0f}) {
      const std::vector<float> far = normal_row(256, mean);
      EXPECT_LT(error_of(far, decoded(encoding, far)), 0.6)
          << encoding_name(encoding) << mean;
    }
    std::vector<float> broken(256, 1.0f);
    broken[3] = NAN;
    EXPECT_NO_THROW(decoded(encoding, broken));
  }
}

TEST(GgmlQuantize, RowsOfOtherSizesAreAFault) {
  std::vector<std::byte> out(144);
  const std::vector<float> row(128);
  EXPECT_THROW(encode_row(Encoding::q4_k, row, out), BugError);
  EXPECT_THROW(encode_row(Encoding::q6_k, row, out), BugError);
  EXPECT_FALSE(can_encode(Encoding::q6_k));
}

}  // namespace
}  // namespace roofline
