#include "roofline/kernels/linear.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/bf16_product/multiply.h"
#include "roofline/kernels/dense/dense.h"
#include "roofline/kernels/gemm/gemm.h"
#include "roofline/kernels/qmm/qmm.h"
#include "roofline/kernels/quantized_x.h"

namespace roofline {

namespace {

/// What a primitive and its lambda share: the lambda may outlive the primitive.
struct Operand {
  PackedMatrix w;
  std::shared_ptr<const void> keep_alive;
};

/// Pieces a thread: one that loses its core delays the rest by a fraction.
constexpr int kPiecesPerThread = 4;

/// From so many tokens on a matrix is decoded once for all of them, as on
/// tiles.
constexpr int kGemmTokens = kTiledLeastTokens;

GemmType type_of(LinearMode mode) {
  return mode == LinearMode::bf16 ? GemmType::bf16 : GemmType::f32;
}

/// Whether so many tokens meet w, which may be rounded, on tiles.
bool on_tiles(LinearMode mode, int tokens) {
  return tokens >= kTiledLeastTokens && mode != LinearMode::exact &&
         bf16_product_kernels() != nullptr;
}

void multiply(
    const PackedMatrix& w,
    LinearMode mode,
    const float* x,
    int tokens,
    float* y) {
  ThreadPool& pool = ThreadPool::global();
  if (on_tiles(mode, tokens)) {
    multiply_on_tiles(
        w,
        TileProduct::straight,
        x,
        w.cols,
        tokens,
        y,
        w.rows,
        pool);
    return;
  }
  const bool whole = !w.quantized() || mode != LinearMode::fast;
  if (tokens >= kGemmTokens && whole) {
    const GemmRight right{w, true};
    gemm(
        {x, w.cols, 1},
        tokens,
        right,
        y,
        w.rows,
        GemmResult::replace,
        pool,
        type_of(mode));
    return;
  }
  const int blocks = w.row_blocks();
  const int pieces = std::min(blocks, kPiecesPerThread * pool.threads());
  const auto run = [&](const auto& product) {
    auto piece = [&](int index, int) {
      const auto border = [&](int i) {
        return static_cast<int>(std::int64_t{blocks} * i / pieces);
      };
      product(border(index), border(index + 1));
    };
    pool.run(pieces, piece);
  };
  if (!w.quantized()) {
    run([&](int begin, int end) {
      dense_kernels().product(
          w,
          begin * kRowBlock,
          std::min(w.rows, end * kRowBlock),
          x,
          0,
          tokens,
          y,
          w.rows,
          tokens <= kMostCheckedTokens ? DenseOrder::alike : DenseOrder::quick);
    });
  } else if (mode != LinearMode::fast) {
    run([&](int begin, int end) {
      qmm_kernels().exact(w, begin, end, x, 0, tokens, y, w.rows);
    });
  } else {
    const QuantizedX q(x, tokens, w.cols, pool);
    run([&](int begin, int end) {
      qmm_kernels().fast(w, begin, end, q.rows, 0, tokens, y, w.rows);
    });
  }
}

void multiply_transposed(
    const PackedMatrix& w,
    LinearMode mode,
    const float* y,
    int tokens,
    float* x) {
  gemm(
      {y, w.rows, 1},
      tokens,
      {w},
      x,
      w.cols,
      GemmResult::replace,
      ThreadPool::global(),
      type_of(mode));
}

[[noreturn]] void refuse_gpu() {
  fail<BugError>(
      "linear: asked to run on a GPU",
      "the weights are packed for CPU kernels",
      "Use MLX's own ops there");
}

/// What both directions share: one float32 input, linear in it.
class Product : public mx::UnaryPrimitive {
 public:
  Product(mx::Stream stream, Operand operand)
      : UnaryPrimitive(stream), operand_(std::move(operand)) {}

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    if (out.size() == 0) {
      return;
    }
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.set_input_array(inputs[0]);
    encoder.set_output_array(out);
    const int tokens = static_cast<int>(inputs[0].size()) / inputs[0].shape(-1);
    dispatch(encoder, inputs[0].data<float>(), tokens, out.data<float>());
  }

  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    refuse_gpu();
  }

  std::vector<mx::array> jvp(
      const std::vector<mx::array>&,
      const std::vector<mx::array>& tangents,
      const std::vector<int>&) override {
    return {same(tangents[0])};
  }

  std::vector<mx::array> vjp(
      const std::vector<mx::array>&,
      const std::vector<mx::array>& cotangents,
      const std::vector<int>&,
      const std::vector<mx::array>&) override {
    return {opposite(cotangents[0])};
  }

  std::pair<std::vector<mx::array>, std::vector<int>> vmap(
      const std::vector<mx::array>& inputs,
      const std::vector<int>& axes) override {
    // Every axis but the last is a batch already.
    return {{same(mx::moveaxis(inputs[0], axes[0], 0, stream()))}, {0}};
  }

  std::vector<mx::Shape> output_shapes(
      const std::vector<mx::array>& inputs) override {
    mx::Shape shape = inputs[0].shape();
    shape.back() = out_width();
    return {shape};
  }

 protected:
  virtual void dispatch(
      mx::cpu::CommandEncoder& encoder,
      const float* in,
      int tokens,
      float* out) = 0;
  virtual int out_width() const = 0;
  /// The same product of another array, and the one with w's transpose.
  virtual mx::array same(const mx::array& in) = 0;
  virtual mx::array opposite(const mx::array& in) = 0;

  bool same_operand(const Product& other) const {
    return operand_.w.data == other.operand_.w.data &&
           operand_.w.rows == other.operand_.w.rows;
  }

  Operand operand_;
};

class Linear : public Product {
 public:
  Linear(mx::Stream stream, Operand operand, LinearMode mode)
      : Product(stream, std::move(operand)), mode_(mode) {}

  const char* name() const override { return "Linear"; }

  bool is_equivalent(const Primitive& other) const override {
    const auto& o = static_cast<const Linear&>(other);
    return same_operand(o) && mode_ == o.mode_;
  }

 protected:
  void dispatch(
      mx::cpu::CommandEncoder& encoder,
      const float* in,
      int tokens,
      float* out) override {
    encoder.dispatch([operand = operand_, mode = mode_, in, tokens, out] {
      multiply(operand.w, mode, in, tokens, out);
    });
  }
  int out_width() const override { return operand_.w.rows; }
  mx::array same(const mx::array& in) override {
    return linear(in, operand_.w, operand_.keep_alive, mode_, stream());
  }
  mx::array opposite(const mx::array& in) override {
    return linear_transposed(
        in,
        operand_.w,
        operand_.keep_alive,
        stream(),
        mode_);
  }

 private:
  LinearMode mode_;
};

class LinearTransposed : public Product {
 public:
  LinearTransposed(mx::Stream stream, Operand operand, LinearMode mode)
      : Product(stream, std::move(operand)), mode_(mode) {}

  const char* name() const override { return "LinearTransposed"; }

  bool is_equivalent(const Primitive& other) const override {
    const auto& o = static_cast<const LinearTransposed&>(other);
    return same_operand(o) && mode_ == o.mode_;
  }

 protected:
  void dispatch(
      mx::cpu::CommandEncoder& encoder,
      const float* in,
      int tokens,
      float* out) override {
    encoder.dispatch([operand = operand_, mode = mode_, in, tokens, out] {
      multiply_transposed(operand.w, mode, in, tokens, out);
    });
  }
  int out_width() const override { return operand_.w.cols; }
  mx::array same(const mx::array& in) override {
    return linear_transposed(
        in,
        operand_.w,
        operand_.keep_alive,
        stream(),
        mode_);
  }
  mx::array opposite(const mx::array& in) override {
    return linear(
        in,
        operand_.w,
        operand_.keep_alive,
        mode_ == LinearMode::fast ? LinearMode::exact : mode_,
        stream());
  }

 private:
  LinearMode mode_;
};

mx::Stream cpu_stream(const mx::StreamOrDevice& s) {
  if (std::holds_alternative<std::monostate>(s)) {
    return mx::default_stream(mx::Device(mx::Device::cpu));
  }
  const mx::Stream stream = mx::to_stream(s);
  if (stream.device != mx::Device::cpu) {
    refuse_gpu();
  }
  return stream;
}

void check_input(const mx::array& x, int width, const char* of_w) {
  const bool floating = x.dtype() == mx::float32 || x.dtype() == mx::float16 ||
                        x.dtype() == mx::bfloat16;
  if (!floating) {
    fail<UserError>(
        "linear: x is neither float32, float16 nor bfloat16",
        "The product is of floats",
        "Convert x with astype");
  }
  if (x.ndim() < 1 || x.shape(-1) != width) {
    fail<UserError>(
        "linear: w has " + std::to_string(width) + " " + of_w + " but x has " +
            (x.ndim() < 1 ? "no axis" : std::to_string(x.shape(-1))),
        "The axes must match",
        "Check that the weights belong to this config.json");
  }
}

/// Applies a primitive to x as contiguous float32 and restores x's type.
template <class Make>
mx::array apply(
    const mx::array& x,
    int width,
    const mx::Stream& stream,
    Make make) {
  const mx::array in =
      mx::contiguous(mx::astype(x, mx::float32, stream), false, stream);
  mx::Shape shape = x.shape();
  shape.back() = width;
  const mx::array out(std::move(shape), mx::float32, make(), {in});
  return mx::astype(out, x.dtype(), stream);
}

}  // namespace

mx::array linear(
    const mx::array& x,
    const PackedMatrix& w,
    std::shared_ptr<const void> keep_alive,
    LinearMode mode,
    mx::StreamOrDevice s) {
  const mx::Stream stream = cpu_stream(s);
  check_input(x, w.cols, "columns");
  return apply(x, w.rows, stream, [&] {
    return std::make_shared<Linear>(
        stream,
        Operand{w, std::move(keep_alive)},
        mode);
  });
}

mx::array linear_transposed(
    const mx::array& y,
    const PackedMatrix& w,
    std::shared_ptr<const void> keep_alive,
    mx::StreamOrDevice s,
    LinearMode mode) {
  const mx::Stream stream = cpu_stream(s);
  check_input(y, w.rows, "rows");
  return apply(y, w.cols, stream, [&] {
    return std::make_shared<LinearTransposed>(
        stream,
        Operand{w, std::move(keep_alive)},
        mode);
  });
}

}  // namespace roofline
