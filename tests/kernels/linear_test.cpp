#include "roofline/kernels/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include <mlx/mlx.h>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using testing::random_floats;
using testing::RandomMatrix;

mx::Device cpu() {
  return mx::Device(mx::Device::cpu);
}

mx::array values(const std::vector<float>& from, mx::Shape shape) {
  return mx::array(from.data(), std::move(shape), mx::float32);
}

/// The weights as MLX sees them: [rows, cols] float32.
mx::array dequantized(const PackedMatrix& w) {
  std::vector<float> all(
      static_cast<std::size_t>(w.rows) * static_cast<std::size_t>(w.cols));
  for (int row = 0; row < w.rows; ++row) {
    read_packed_row(
        w,
        row,
        std::span(all).subspan(
            static_cast<std::size_t>(row) * static_cast<std::size_t>(w.cols),
            static_cast<std::size_t>(w.cols)));
  }
  return values(all, {w.rows, w.cols});
}

/// Σ |x|·|w|ᵀ: what rounding scales with.
mx::array magnitude(const mx::array& x, const mx::array& w) {
  return mx::matmul(mx::abs(x), mx::transpose(mx::abs(w)));
}

void expect_within(
    const mx::array& got,
    const mx::array& expected,
    const mx::array& slack) {
  ASSERT_EQ(got.shape(), expected.shape());
  auto worst =
      mx::max(mx::subtract(mx::abs(mx::subtract(got, expected)), slack));
  EXPECT_LE(worst.item<float>(), 0.0f);
}

struct LinearTest : public ::testing::Test {
  LinearTest() { mx::set_default_device(cpu()); }
  std::shared_ptr<RandomMatrix> w =
      std::make_shared<RandomMatrix>(PackedFormat::q4, 37, 96, 1);
};

TEST_F(LinearTest, ExactAgreesWithMlxMatmulOfTheDequantizedMatrix) {
  for (PackedFormat format : {PackedFormat::q4, PackedFormat::q8}) {
    const auto own = std::make_shared<RandomMatrix>(format, 37, 96, 1);
    const auto x = values(random_floats(2 * 5 * 96, 2), {2, 5, 96});
    const auto y = linear(x, own->matrix, own, LinearMode::exact);
    const auto full = dequantized(own->matrix);
    EXPECT_EQ(y.shape(), (mx::Shape{2, 5, 37}));
    expect_within(
        y,
        mx::matmul(x, mx::transpose(full)),
        mx::multiply(magnitude(x, full), mx::array(200 * 1.2e-7f)));
  }
}

TEST_F(LinearTest, Bfloat16RoundsBothSidesForwardAndBackward) {
  const auto x = values(random_floats(60 * 96, 5), {60, 96});
  const auto y = values(random_floats(60 * 37, 6), {60, 37});
  const auto full = dequantized(w->matrix);
  const Isa before = active_isa();
  for (const Isa isa : testing::runnable_isas()) {
    force_isa(isa);
    auto out = linear(x, w->matrix, w, LinearMode::bf16);
    auto back = linear_transposed(y, w->matrix, w, {}, LinearMode::bf16);
    mx::eval(out, back);
    const mx::array slack(3.0f / 256);
    expect_within(
        out,
        mx::matmul(x, mx::transpose(full)),
        mx::multiply(magnitude(x, full), slack));
    expect_within(
        back,
        mx::matmul(y, full),
        mx::multiply(magnitude(y, mx::transpose(full)), slack));
  }
  force_isa(before);
}

TEST_F(LinearTest, FastStaysWithinTheStepOfItsActivations) {
  const auto x = values(random_floats(7 * 96, 3), {7, 96});
  const auto full = dequantized(w->matrix);
  // Each x is off by at most half of absmax / 127; absmax of a group is below
  // that of the row.
  const auto step =
      mx::divide(mx::max(mx::abs(x), -1, true), mx::array(2 * 127.0f));
  const auto slack = mx::multiply(
      mx::multiply(step, mx::sum(mx::abs(full), 1)),
      mx::array(1.001f));
  const auto expected = mx::matmul(x, mx::transpose(full));
  expect_within(linear(x, w->matrix, w), expected, slack);
  // And it isn't the exact product: int8 was really used.
  const auto exact = linear(x, w->matrix, w, LinearMode::exact);
  EXPECT_GT(
      mx::max(mx::abs(mx::subtract(linear(x, w->matrix, w), exact)))
          .item<float>(),
      1e-6f);
}

TEST_F(LinearTest, AgreesWithMlxQuantizedMatmul) {
  // The same matrix in MLX's layout: from codes that MLX itself packs.
  const auto dense = values(random_floats(32 * 64, 4), {32, 64});
  const auto quantized = mx::quantize(dense, 32, 4);
  const auto codes = mx::contiguous(quantized[0]);
  const auto scales = mx::contiguous(mx::astype(quantized[1], mx::float32));
  const auto biases = mx::contiguous(mx::astype(quantized[2], mx::float32));
  mx::eval(codes, scales, biases);
  const auto bytes = [](const mx::array& a) {
    return std::span(
        reinterpret_cast<const std::byte*>(a.data<char>()),
        a.nbytes());
  };
  Tensor tensor;
  tensor.name = "w";
  tensor.encoding = Encoding::mlx_affine;
  tensor.rows = 32;
  tensor.cols = 64;
  tensor.bytes = bytes(codes);
  tensor.affine = {4, 32, Encoding::f32, bytes(scales), bytes(biases)};
  const auto memory = std::make_shared<testing::AlignedBytes>(
      packed_bytes(PackedFormat::q4, 32, 64));
  const Tensor* const tensors[] = {&tensor};
  const auto packed =
      pack(tensors, PackedFormat::q4, memory->span(), ThreadPool::global());
  const auto x = values(random_floats(3 * 64, 5), {3, 64});
  const auto expected =
      mx::quantized_matmul(x, codes, scales, biases, true, 32, 4);
  // Packing rounds the float32 scales to f16: 2^-11 of each part.
  const auto full = mx::dequantize(codes, scales, biases, 32, 4);
  const auto slack = mx::add(
      mx::multiply(magnitude(x, full), mx::array(1e-5f)),
      mx::multiply(
          mx::matmul(
              mx::abs(x),
              mx::transpose(mx::repeat(
                  mx::add(
                      mx::multiply(mx::abs(scales), mx::array(15.0f)),
                      mx::abs(biases)),
                  32,
                  1))),
          mx::array(0x1p-11f)));
  expect_within(linear(x, packed, memory, LinearMode::exact), expected, slack);
}

TEST_F(LinearTest, HalfTypesComeBackAsTheyCame) {
  for (mx::Dtype dtype : {mx::float16, mx::bfloat16}) {
    const auto x = mx::astype(values(random_floats(4 * 96, 6), {4, 96}), dtype);
    const auto y = linear(x, w->matrix, w, LinearMode::exact);
    EXPECT_EQ(y.dtype(), dtype);
    const auto wide =
        linear(mx::astype(x, mx::float32), w->matrix, w, LinearMode::exact);
    EXPECT_TRUE(mx::array_equal(y, mx::astype(wide, dtype)).item<bool>());
  }
}

TEST_F(LinearTest, AViewWithStridesGivesTheSameProduct) {
  const auto x = values(random_floats(96 * 4, 7), {96, 4});
  const auto view = mx::transpose(x);
  const auto copy = mx::contiguous(view);
  EXPECT_TRUE(
      mx::array_equal(linear(view, w->matrix, w), linear(copy, w->matrix, w))
          .item<bool>());
}

TEST_F(LinearTest, NoTokensGiveNoRows) {
  const auto y = linear(mx::zeros({0, 96}), w->matrix, w);
  mx::eval(y);
  EXPECT_EQ(y.shape(), (mx::Shape{0, 37}));
}

TEST_F(LinearTest, DenseWeightsAreReadWhereTheyLie) {
  const auto memory =
      std::make_shared<std::vector<float>>(random_floats(21 * 50, 8));
  PackedMatrix dense;
  dense.format = PackedFormat::f32;
  dense.rows = 21;
  dense.cols = 50;
  dense.data = reinterpret_cast<const std::byte*>(memory->data());
  const auto x = values(random_floats(6 * 50, 9), {6, 50});
  const auto full = values(*memory, {21, 50});
  expect_within(
      linear(x, dense, memory),
      mx::matmul(x, mx::transpose(full)),
      mx::multiply(magnitude(x, full), mx::array(100 * 1.2e-7f)));
}

TEST_F(LinearTest, TheGradientIsTheProductWithTheMatrix) {
  for (int tokens : {1, 33, 70}) {
    const auto x = values(
        random_floats(static_cast<std::size_t>(tokens) * 96, 10),
        {tokens, 96});
    const auto weight = values(
        random_floats(static_cast<std::size_t>(tokens) * 37, 11),
        {tokens, 37});
    const auto loss = [&](const mx::array& in) {
      return mx::sum(mx::multiply(linear(in, w->matrix, w), weight));
    };
    const auto full = dequantized(w->matrix);
    expect_within(
        mx::grad(loss)(x),
        mx::matmul(weight, full),
        mx::multiply(
            mx::matmul(mx::abs(weight), mx::abs(full)),
            mx::array(100 * 1.2e-7f)));
  }
}

TEST_F(LinearTest, TheGradientOfTheGradientIsTheProductAgain) {
  const auto y = values(random_floats(5 * 37, 12), {5, 37});
  const auto weight = values(random_floats(5 * 96, 13), {5, 96});
  const auto loss = [&](const mx::array& in) {
    return mx::sum(mx::multiply(linear_transposed(in, w->matrix, w), weight));
  };
  EXPECT_TRUE(mx::array_equal(
                  mx::grad(loss)(y),
                  linear(weight, w->matrix, w, LinearMode::exact))
                  .item<bool>());
}

TEST_F(LinearTest, TheTangentIsTheProductOfTheTangent) {
  const auto x = values(random_floats(2 * 96, 14), {2, 96});
  const auto t = values(random_floats(2 * 96, 15), {2, 96});
  const auto f = [&](const std::vector<mx::array>& in) {
    return std::vector{linear(in[0], w->matrix, w)};
  };
  const auto tangents = mx::jvp(f, {x}, {t}).second;
  EXPECT_TRUE(
      mx::array_equal(tangents[0], linear(t, w->matrix, w)).item<bool>());
}

TEST_F(LinearTest, AMappedAxisIsABatch) {
  const auto x = values(random_floats(3 * 4 * 96, 16), {3, 4, 96});
  const auto f = [&](const mx::array& in) { return linear(in, w->matrix, w); };
  EXPECT_TRUE(mx::array_equal(mx::vmap(f, 1, 1)(x), f(x)).item<bool>());
}

TEST_F(LinearTest, TheGraphKeepsTheWeightsAlive) {
  const auto x = values(random_floats(96, 17), {1, 96});
  const auto expected = linear(x, w->matrix, w);
  mx::eval(expected);
  auto own = std::make_shared<RandomMatrix>(PackedFormat::q4, 37, 96, 1);
  std::weak_ptr<RandomMatrix> watch = own;
  auto y = linear(x, own->matrix, own);
  own.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_TRUE(mx::array_equal(y, expected).item<bool>());
  mx::synchronize(mx::default_stream(cpu()));
  y = mx::array(0.0f);
  EXPECT_TRUE(watch.expired());
}

TEST_F(LinearTest, RefusesWidthsAndTypesThatDoNotFit) {
  EXPECT_THROW(linear(mx::zeros({2, 95}), w->matrix, w), UserError);
  EXPECT_THROW(linear_transposed(mx::zeros({2, 96}), w->matrix, w), UserError);
  EXPECT_THROW(linear(mx::zeros({2, 96}, mx::int32), w->matrix, w), UserError);
  EXPECT_THROW(linear(mx::array(1.0f), w->matrix, w), UserError);
}

}  // namespace
}  // namespace roofline
