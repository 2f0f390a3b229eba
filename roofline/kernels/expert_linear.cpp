#include "roofline/kernels/expert_linear.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include <mlx/ops.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/cpu_op.h"
#include "roofline/kernels/dense/dense.h"
#include "roofline/kernels/gemm/gemm.h"
#include "roofline/kernels/quantized_x.h"
#include "roofline/kernels/rounded_x.h"

namespace roofline {

namespace {

/// Pieces a thread: one that loses its core delays the rest by a fraction.
constexpr int kPiecesPerThread = 4;

/// Fewer rows of an expert aren't worth decoding its matrix for tiles. More
/// than a step has that checks guesses, which must round as a token alone does.
constexpr int kLeastTileRows = 40;

struct Operand {
  std::shared_ptr<const ExpertMatrices> experts;
  std::shared_ptr<const void> keep_alive;
  LinearMode mode = LinearMode::fast;
};

/// Rows of x in order of their experts: rows [begin[e], begin[e + 1]) of the
/// order belong to expert e.
struct Order {
  Order(const std::int32_t* ids, int count, std::size_t experts)
      : begin(experts + 1, 0), rows(static_cast<std::size_t>(count)) {
    for (int i = 0; i < count; ++i) {
      ++begin[static_cast<std::size_t>(ids[i]) + 1];
    }
    for (std::size_t e = 0; e < experts; ++e) {
      begin[e + 1] += begin[e];
    }
    std::vector<int> at(begin.begin(), begin.end() - 1);
    for (int i = 0; i < count; ++i) {
      rows[static_cast<std::size_t>(at[static_cast<std::size_t>(ids[i])]++)] =
          i;
    }
  }

  std::vector<int> begin;
  std::vector<int> rows;
};

/// Row blocks of one expert's matrix, times the rows that are its own.
struct Piece {
  std::size_t expert = 0;
  int block_begin = 0;
  int block_end = 0;
};

std::vector<Piece> cut(
    const ExpertMatrices& experts,
    const Order& order,
    int threads) {
  int active = 0;
  for (std::size_t e = 0; e < experts.size(); ++e) {
    active += order.begin[e + 1] > order.begin[e] ? 1 : 0;
  }
  std::vector<Piece> pieces;
  for (std::size_t e = 0; e < experts.size(); ++e) {
    if (order.begin[e + 1] == order.begin[e]) {
      continue;
    }
    const int blocks = experts[e].row_blocks();
    const int wanted = (kPiecesPerThread * threads + active - 1) / active;
    const int count = std::min(blocks, wanted);
    for (int i = 0; i < count; ++i) {
      const auto border = [&](int at) {
        return static_cast<int>(std::int64_t{blocks} * at / count);
      };
      pieces.push_back({e, border(i), border(i + 1)});
    }
  }
  return pieces;
}

/// Each checked token goes to some eight experts.
constexpr int kMostCheckedRows = 8 * kMostCheckedTokens;

/// The rows of the experts that have many, on tiles.
struct TiledRows {
  TiledRows(const Order& order, const float* x, int cols, ThreadPool& pool)
      : begin(order.begin.size() - 1, -1) {
    if (bf16_product_kernels() == nullptr) {
      return;
    }
    constexpr int kRows = RoundedRows::kTokens;
    std::vector<int> from;
    std::vector<int> places;
    int room = 0;
    for (std::size_t e = 0; e < begin.size(); ++e) {
      const int count = order.begin[e + 1] - order.begin[e];
      if (count < kLeastTileRows) {
        continue;
      }
      begin[e] = room;
      for (int i = 0; i < count; ++i) {
        from.push_back(order.begin[e] + i);
        places.push_back(room + i);
      }
      room += (count + kRows - 1) / kRows * kRows;
    }
    if (room > 0) {
      const auto row = [](const std::vector<int>& of, int i) {
        return of[static_cast<std::size_t>(i)];
      };
      x_.emplace(
          static_cast<int>(from.size()),
          room,
          cols,
          pool,
          [&](int i) { return x + std::ptrdiff_t{row(from, i)} * cols; },
          [&](int i) { return row(places, i); });
    }
  }

  /// Where an expert's rows begin; -1: it has too few.
  std::vector<int> begin;
  const RoundedRows& rows() const { return x_->rows; }

 private:
  std::optional<RoundedX> x_;
};

/// x and y: rows in the order of their experts.
void multiply_ordered(
    const Operand& operand,
    const Order& order,
    const float* x,
    int count,
    float* y) {
  const ExpertMatrices& experts = *operand.experts;
  ThreadPool& pool = ThreadPool::global();
  const bool any_codes =
      std::any_of(experts.begin(), experts.end(), [](const PackedMatrix& w) {
        return w.quantized();
      });
  std::optional<TiledRows> tiled;
  if (operand.mode != LinearMode::exact) {
    tiled.emplace(order, x, experts[0].cols, pool);
  }
  std::optional<QuantizedX> codes;
  if (any_codes && operand.mode == LinearMode::fast) {
    codes.emplace(x, count, experts[0].cols, pool);
  }
  const std::vector<Piece> pieces = cut(experts, order, pool.threads());
  auto run = [&](int index, int) {
    const Piece& piece = pieces[static_cast<std::size_t>(index)];
    const PackedMatrix& w = experts[piece.expert];
    const int first = order.begin[piece.expert];
    const int last = order.begin[piece.expert + 1];
    const int begin = piece.block_begin;
    const int end = piece.block_end;
    if (tiled && tiled->begin[piece.expert] >= 0) {
      bf16_product_kernels()->product(
          w,
          {begin, end, 0, last - first},
          tiled->rows().from(tiled->begin[piece.expert]),
          y + static_cast<std::ptrdiff_t>(first) * w.rows,
          w.rows);
    } else if (!w.quantized()) {
      dense_kernels().product(
          w,
          begin * kRowBlock,
          std::min(w.rows, end * kRowBlock),
          x,
          first,
          last,
          y,
          w.rows,
          count <= kMostCheckedRows ? DenseOrder::alike : DenseOrder::quick);
    } else if (codes) {
      qmm_kernels().fast(w, begin, end, codes->rows, first, last, y, w.rows);
    } else {
      qmm_kernels().exact(w, begin, end, x, first, last, y, w.rows);
    }
  };
  pool.run(static_cast<int>(pieces.size()), run);
}

void multiply(
    const Operand& operand,
    const float* x,
    const std::int32_t* ids,
    int count,
    float* y) {
  const ExpertMatrices& experts = *operand.experts;
  const auto cols = static_cast<std::size_t>(experts[0].cols);
  const auto rows = static_cast<std::size_t>(experts[0].rows);
  const Order order(ids, count, experts.size());
  if (std::is_sorted(ids, ids + count)) {
    multiply_ordered(operand, order, x, count, y);
    return;
  }
  const auto n = static_cast<std::size_t>(count);
  std::vector<float> own_x(n * cols);
  std::vector<float> own_y(n * rows);
  for (std::size_t i = 0; i < n; ++i) {
    const float* from = x + static_cast<std::size_t>(order.rows[i]) * cols;
    std::copy_n(from, cols, own_x.data() + i * cols);
  }
  multiply_ordered(operand, order, own_x.data(), count, own_y.data());
  for (std::size_t i = 0; i < n; ++i) {
    float* to = y + static_cast<std::size_t>(order.rows[i]) * rows;
    std::copy_n(own_y.data() + i * rows, rows, to);
  }
}

/// x[i] = y[i] · experts[ids[i]], the gradient of multiply().
void multiply_back(
    const Operand& operand,
    const float* y,
    const std::int32_t* ids,
    int count,
    float* x) {
  const ExpertMatrices& experts = *operand.experts;
  const auto cols = static_cast<std::size_t>(experts[0].cols);
  const auto rows = static_cast<std::size_t>(experts[0].rows);
  const Order order(ids, count, experts.size());
  std::vector<float> own_y;
  std::vector<float> own_x;
  for (std::size_t e = 0; e < experts.size(); ++e) {
    const auto first = static_cast<std::size_t>(order.begin[e]);
    const auto n = static_cast<std::size_t>(order.begin[e + 1]) - first;
    if (n == 0) {
      continue;
    }
    own_y.resize(n * rows);
    own_x.resize(n * cols);
    const auto row_at = [&](std::size_t i) {
      return static_cast<std::size_t>(order.rows[first + i]);
    };
    for (std::size_t i = 0; i < n; ++i) {
      std::copy_n(y + row_at(i) * rows, rows, own_y.data() + i * rows);
    }
    gemm(
        {own_y.data(), experts[e].rows, 1},
        static_cast<int>(n),
        {experts[e]},
        own_x.data(),
        experts[e].cols,
        GemmResult::replace,
        ThreadPool::global(),
        operand.mode == LinearMode::bf16 ? GemmType::bf16 : GemmType::f32);
    for (std::size_t i = 0; i < n; ++i) {
      std::copy_n(own_x.data() + i * cols, cols, x + row_at(i) * cols);
    }
  }
}

void check(
    const mx::array& x,
    const mx::array& ids,
    const ExpertMatrices& experts) {
  const bool fits = !experts.empty() && x.ndim() == 2 && ids.ndim() == 1 &&
                    x.shape(0) == ids.shape(0) && x.shape(1) == experts[0].cols;
  const bool alike =
      std::all_of(experts.begin(), experts.end(), [&](const PackedMatrix& w) {
        return w.rows == experts[0].rows && w.cols == experts[0].cols;
      });
  if (!fits || !alike) {
    fail<UserError>(
        "expert_linear: the shapes don't fit",
        "x has one row for each id, and as many columns as all matrices",
        "Check that the weights belong to this config.json");
  }
}

}  // namespace

mx::array expert_linear(
    const mx::array& x,
    const mx::array& ids,
    std::shared_ptr<const ExpertMatrices> experts,
    std::shared_ptr<const void> keep_alive,
    LinearMode mode) {
  check(x, ids, *experts);
  const int count = x.shape(0);
  const int rows = (*experts)[0].rows;
  CpuOp op;
  op.name = "ExpertLinear";
  op.out_shapes = {{count, rows}};
  const Operand operand{std::move(experts), std::move(keep_alive), mode};
  op.eval = [operand, count](const CpuOpMemory& memory) {
    const auto* of = reinterpret_cast<const std::int32_t*>(memory.in[1]);
    multiply(operand, memory.in[0], of, count, memory.out[0]);
  };
  op.vjp = [operand, count](
               const std::vector<mx::array>& in,
               const std::vector<mx::array>& cotangents,
               const std::vector<mx::array>&,
               const std::vector<int>&) {
    CpuOp grad;
    grad.name = "ExpertLinearGrad";
    grad.out_shapes = {in[0].shape()};
    grad.eval = [operand, count](const CpuOpMemory& memory) {
      const auto* of = reinterpret_cast<const std::int32_t*>(memory.in[1]);
      multiply_back(operand, memory.in[0], of, count, memory.out[0]);
    };
    return cpu_op(std::move(grad), {cotangents[0], in[1]});
  };
  // A choice has no gradient.
  const auto own = mx::stop_gradient(mx::astype(ids, mx::int32));
  const auto y = cpu_op(std::move(op), {x, own})[0];
  return mx::astype(y, x.dtype());
}

}  // namespace roofline
