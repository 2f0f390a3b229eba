#include "roofline/weights/random_checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/encodings.h"
#include "weights/tiny_model.h"

namespace roofline {
namespace {

using testing::expect_error;
using testing::ScopedVariable;
using testing::TempFolder;
using testing::tiny_config;

ModelSpec tiny() {
  return read_config(tiny_config());
}

std::vector<float> all_values(const Tensor& tensor) {
  std::vector<float> out(static_cast<std::size_t>(tensor.rows * tensor.cols));
  for (std::int64_t row = 0; row < tensor.rows; ++row) {
    decode_row(
        tensor,
        row,
        std::span(out).subspan(
            static_cast<std::size_t>(row * tensor.cols),
            static_cast<std::size_t>(tensor.cols)));
  }
  return out;
}

double deviation(const std::vector<float>& values) {
  double sum = 0, squares = 0;
  for (const float value : values) {
    sum += value;
    squares += double{value} * value;
  }
  const auto count = static_cast<double>(values.size());
  return std::sqrt(squares / count - sum / count * (sum / count));
}

TEST(RandomCheckpoint, HasEveryExpectedTensorInItsShape) {
  const ModelSpec spec = tiny();
  for (const int bits : {4, 8, 16}) {
    const auto checkpoint = make_random_checkpoint(spec, {bits, 32}, "tiny");
    const auto expected = expected_tensors(spec);
    EXPECT_EQ(checkpoint->tensors().size(), expected.size());
    for (const ExpectedTensor& wanted : expected) {
      const Tensor& tensor = checkpoint->at(wanted.name);
      EXPECT_EQ(tensor.rows, wanted.rows) << wanted.name;
      EXPECT_EQ(tensor.cols, wanted.cols) << wanted.name;
    }
    EXPECT_EQ(checkpoint->path(), "random:tiny");
  }
}

TEST(RandomCheckpoint, SpreadsMatricesByTheirWidthInEveryFormat) {
  for (const int bits : {4, 8, 16}) {
    const auto checkpoint = make_random_checkpoint(tiny(), {bits, 32});
    const Tensor& up = checkpoint->at("layers.0.feed_forward.up");
    EXPECT_EQ(up.encoding == Encoding::mlx_affine, bits < 16);
    EXPECT_NEAR(
        deviation(all_values(up)) * std::sqrt(static_cast<double>(up.cols)),
        1,
        0.1)
        << bits;
  }
}

TEST(RandomCheckpoint, HasNormWeightsNearOne) {
  const auto checkpoint = make_random_checkpoint(tiny(), {4, 32});
  for (const float weight : all_values(checkpoint->at("final_norm"))) {
    EXPECT_NEAR(weight, 1, 0.2);
  }
}

TEST(RandomCheckpoint, TakesTheBytesOfItsFormat) {
  const auto checkpoint = make_random_checkpoint(tiny(), {4, 32});
  const Tensor& up = checkpoint->at("layers.0.feed_forward.up");
  const auto values = static_cast<std::size_t>(up.rows * up.cols);
  EXPECT_EQ(up.total_bytes(), values / 2 + values / 32 * 4);
}

TEST(RandomCheckpoint, IsTheSameEachTimeAndHasAFingerprintOfItsFormat) {
  const auto one = make_random_checkpoint(tiny(), {4, 32});
  const auto two = make_random_checkpoint(tiny(), {4, 32});
  const auto other = make_random_checkpoint(tiny(), {8, 32});
  EXPECT_EQ(one->fingerprint(), two->fingerprint());
  EXPECT_NE(one->fingerprint(), other->fingerprint());
  EXPECT_EQ(all_values(one->at("embed")), all_values(two->at("embed")));
}

TEST(RandomCheckpoint, HoldsNoSubnormals) {
  const auto checkpoint = make_random_checkpoint(tiny(), {16, 32});
  for (const Tensor& tensor : checkpoint->tensors()) {
    for (const float value : all_values(tensor)) {
      EXPECT_NE(std::fpclassify(value), FP_SUBNORMAL) << tensor.name;
    }
  }
}

TEST(RandomCheckpoint, KeepsItsValuesWhenPagesAreGivenBack) {
  const auto checkpoint = make_random_checkpoint(tiny(), {4, 32});
  const Tensor& embed = checkpoint->at("embed");
  const auto before = all_values(embed);
  checkpoint->release(embed);
  EXPECT_EQ(all_values(embed), before);
}

TEST(RandomCheckpoint, LeavesNoFileBehind) {
  const TempFolder folder;
  const ScopedVariable cache("ROOFLINE_CACHE", folder.path().string());
  make_random_checkpoint(tiny(), {16, 32});
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(RandomCheckpoint, HasNoTokenizer) {
  const auto checkpoint = make_random_checkpoint(tiny(), {});
  expect_error<UnsupportedError>(
      [&] { checkpoint->load_tokenizer(); },
      {"no vocabulary"});
}

TEST(RandomCheckpoint, RefusesOddFormatsAndModelsThatCannotRun) {
  expect_error<UserError>(
      [] {
        make_random_checkpoint(tiny(), {3, 64});
      },
      {"3 bits"});
  ModelSpec spec = tiny();
  spec.plan_only = true;
  EXPECT_THROW(make_random_checkpoint(spec, {}), UnsupportedError);
}

}  // namespace
}  // namespace roofline
