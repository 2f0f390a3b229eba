// The matrix products and the quantization of their x.
#include <cstdint>
#include <memory>

#include <fmt/format.h>

#include "kernel_cases_parts.h"
#include "packed_scales.h"
#include "roofline/kernels/bf16_product/bf16_product.h"
#include "roofline/kernels/dense/dense.h"
#include "roofline/kernels/product_grid.h"
#include "roofline/kernels/qmm/qmm.h"
#include "roofline/kernels/quantized_x.h"
#include "roofline/weights/blocks.h"

namespace roofline::bench {

namespace {

struct Shape {
  int rows;
  int cols;
};

/// Llama-3.2-1B's gate and up in one.
constexpr Shape kWide{16384, 2048};

/// Copies of one matrix that together don't fit a cache.
struct Matrices {
  Matrices(const PackedForm& form, Shape shape, std::size_t at_least)
      : one(packed_bytes(form, shape.rows, shape.cols)),
        copies(static_cast<int>(std::max<std::size_t>(1, at_least / one))),
        memory(one * static_cast<std::size_t>(copies)) {
    static_cast<PackedForm&>(matrix) = form;
    matrix.rows = shape.rows;
    matrix.cols = shape.cols;
    matrix.data = memory.data();
    if (!matrix.quantized()) {
      return;  // 0x3535… is a small number in every float format
    }
    for (int i = 0; i < copies; ++i) {
      tame_scales(copy(i), memory.data());
    }
  }

  PackedMatrix copy(int index) const {
    PackedMatrix m = matrix;
    m.data += one * static_cast<std::size_t>(index);
    return m;
  }

  std::size_t one;
  int copies;
  Buffer memory;
  PackedMatrix matrix;
};

/// trimmed: fast, as a step of many tokens calls it.
enum class Precision { fast, trimmed, exact };

/// What some type of a checkpoint becomes, for products of many tokens: their
/// speed can depend on how far values are from the offset.
struct Weights {
  const char* name;
  PackedForm form;
  int most;  ///< of the codes, or of two in a byte
  const CodeTable* table = &kOwnValues;
};

/// A product's matrices and rows.
struct ProductState {
  ProductState(const PackedForm& form, int tokens, std::size_t at_least)
      : matrices(form, kWide, at_least),
        x(some_floats(std::size_t(tokens) * kWide.cols)),
        y(std::size_t(tokens) * kWide.rows),
        q(x.data(), tokens, kWide.cols, ThreadPool::global()) {}

  void trim() {
    high.resize(q.factors.size() / 4);
    q.rows.high = high.data();
    qmm_kernels().trim(q.rows, 0, q.rows.tokens, 0.0f);
  }

  Matrices matrices;
  std::vector<float> x;
  std::vector<float> y;
  QuantizedX q;
  std::vector<std::uint8_t> high;
};

/// One product with each of the matrices.
KernelCase product_case(
    const std::shared_ptr<ProductState>& s,
    int tokens,
    Precision precision) {
  // About 64 KiB of weights a piece, as the step cuts it.
  const int each = tokens > 8 ? 16 : 2;
  KernelCase out;
  out.run = [s, tokens, precision, each] {
    for (int i = 0; i < s->matrices.copies; ++i) {
      const PackedMatrix w = s->matrices.copy(i);
      float* y = s->y.data();
      QuantizedRows x = s->q.rows;
      x.stamp = new_stamp();
      in_pieces(w.rows / kRowBlock, each, [&](int begin, int end) {
        if (!w.quantized()) {
          dense_kernels().product(
              w,
              begin * kRowBlock,
              end * kRowBlock,
              s->x.data(),
              0,
              tokens,
              y,
              w.rows,
              DenseOrder::quick);
        } else if (precision == Precision::exact) {
          qmm_kernels().exact(w, begin, end, s->x.data(), 0, tokens, y, w.rows);
        } else {
          qmm_kernels().fast(w, begin, end, x, 0, tokens, y, w.rows);
        }
      });
    }
  };
  const double products = 1.0 * s->matrices.copies * kWide.rows * kWide.cols;
  const bool planes =
      s->matrices.matrix.quantized() && precision == Precision::fast;
  out.bytes = static_cast<double>(s->matrices.one) * s->matrices.copies;
  out.operations = 2.0 * (planes ? kPlanes : 1) * tokens * products;
  return out;
}

/// Many tokens whose rows are trimmed.
KernelCase trimmed_case(const Weights& weights, int tokens) {
  const auto s = std::make_shared<ProductState>(weights.form, tokens, 0);
  s->matrices.matrix.table = *weights.table;
  spread_codes(s->matrices.matrix, s->matrices.memory.data(), weights.most);
  s->trim();
  return product_case(s, tokens, Precision::trimmed);
}

/// On tiles; x is rounded already.
KernelCase tiles_case(PackedFormat format, Shape shape, int tokens) {
  struct State {
    State(PackedFormat format, Shape shape, int tokens)
        : matrices(format, shape, 0),
          y(std::size_t(tokens) * shape.rows),
          memory(2 * RoundedRows::size(tokens, shape.cols)),
          x(RoundedRows::over(
              tokens,
              shape.cols,
              reinterpret_cast<std::uint16_t*>(memory.data()))) {}
    Matrices matrices;
    std::vector<float> y;
    Buffer memory;
    RoundedRows x;
  };
  const auto s = std::make_shared<State>(format, shape, tokens);
  const int blocks = s->matrices.matrix.row_blocks();
  const auto grid = ProductGrid::for_tiles(
      blocks,
      blocks,
      tokens,
      ThreadPool::global().threads(),
      kMostTiledBlocks);
  KernelCase out;
  out.run = [s, grid, kernels = bf16_product_kernels()] {
    auto piece = [&](int index, int) {
      kernels->product(
          s->matrices.matrix,
          grid.piece(index),
          s->x,
          s->y.data(),
          s->matrices.matrix.rows);
    };
    ThreadPool::global().run(grid.pieces(), piece);
  };
  out.bytes = static_cast<double>(s->matrices.one);
  out.operations = 2.0 * tokens * shape.rows * shape.cols;
  return out;
}

KernelCase quantize_case() {
  constexpr int kTokens = 8192;
  constexpr int kCols = 2048;
  struct State {
    std::vector<float> x = some_floats(std::size_t{kTokens} * kCols);
    QuantizedX q{x.data(), kTokens, kCols, ThreadPool::global()};
  };
  const auto s = std::make_shared<State>();
  KernelCase out;
  out.run = [s] {
    in_pieces(kTokens, 16, [&](int begin, int end) {
      qmm_kernels().quantize(s->x.data(), begin, end, s->q.rows);
    });
  };
  out.bytes = 1.0 * kTokens * kCols * (sizeof(float) + kPlanes);
  return out;
}

}  // namespace

void add_products(std::vector<CaseMaker>& cases) {
  const auto shape = [](int tokens) {
    return fmt::format(
        "{} × {}, {} token{}",
        kWide.rows,
        kWide.cols,
        tokens,
        tokens == 1 ? "" : "s");
  };
  const auto add = [&](std::string kernel,
                       PackedForm form,
                       int tokens,
                       Precision precision,
                       Roof roof) {
    const std::size_t least = roof == Roof::bandwidth ? kWorkingSet : 0;
    cases.push_back(
        {kernel + " " + form_name(form) +
             (tokens == 1 ? "" : fmt::format(", {} tokens", tokens)),
         shape(tokens),
         roof,
         [=] {
           return product_case(
               std::make_shared<ProductState>(form, tokens, least),
               tokens,
               precision);
         }});
  };
  using enum PackedFormat;
  for (const PackedFormat format : {q4, q8, q4_table, q4_16, q8_16}) {
    add("qmm.fast", format, 1, Precision::fast, Roof::bandwidth);
  }
  add("qmm.fast", {q4, 1, 8}, 1, Precision::fast, Roof::bandwidth);
  for (const PackedFormat format : {q4, q8}) {
    add("qmm.fast", format, 256, Precision::fast, Roof::int8);
  }
  constexpr int kMany = 256;
  const Weights trimmed[] = {
      {"q4", {q4, 1, 8}, 255},
      {"q4 with biases", q4, 255},
      {"q8 up to 31", {q8, 1, 16}, 31},  // Q5_0; Q5_1 and Q5_K have biases
      {"q8", {q8, 1, 128}, 255},         // Q8_0
      {"q4 by table", {q4_table, 1, kFp4Offset}, 255, &kFp4Table},  // MXFP4
      {"q4/16", {q4_16, 1, kFp4Offset}, 255, &kFp4Table},           // NVFP4
      {"q8/16 up to 63", {q8_16, 1, 32}, 63}};                      // Q6_K
  for (const Weights& weights : trimmed) {
    cases.push_back(
        {fmt::format("qmm.fast trimmed {}, {} tokens", weights.name, kMany),
         shape(kMany),
         Roof::int8,
         [=] { return trimmed_case(weights, kMany); }});
  }
  add("qmm.exact", q4, 1, Precision::exact, Roof::bandwidth);
  add("qmm.exact", q4, 128, Precision::exact, Roof::float32);
  for (const PackedFormat format : {bf16, f16, f32}) {
    add("dense.product", format, 1, Precision::exact, Roof::bandwidth);
  }
  add("dense.product", bf16, 64, Precision::exact, Roof::float32);
  if (bf16_product_kernels() != nullptr) {
    constexpr int kTokens = 512;
    constexpr Shape kSmall{1536, 576};  // SmolLM2-135M's gate
    constexpr Shape kDeep{2048, 8192};  // Llama-3.2-1B's down
    for (const Shape s : {kSmall, kWide, kDeep}) {
      for (const PackedFormat format : {q4, bf16}) {
        cases.push_back(
            {fmt::format(
                 "bf16_product {}, {} × {}",
                 format_name(format),
                 s.rows,
                 s.cols),
             fmt::format("{} × {}, {} tokens", s.rows, s.cols, kTokens),
             Roof::bfloat16,
             [=] { return tiles_case(format, s, kTokens); }});
      }
    }
  }
  cases.push_back({"qmm.quantize", "8192 × 2048", Roof::bandwidth, [] {
                     return quantize_case();
                   }});
}

}  // namespace roofline::bench
