#include "roofline/kernels/train_ops.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include <mlx/device.h>
#include <mlx/ops.h>
#include <mlx/random.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/cpu_op.h"
#include "roofline/kernels/gemm/gemm.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/row_grads/row_grads.h"

namespace roofline {

namespace {

using Arrays = std::vector<mx::array>;

Side flipped(Side side) {
  return side == Side::plain ? Side::transposed : Side::plain;
}

GemmLeft left_of(const float* data, int cols, Side side) {
  return side == Side::plain ? GemmLeft{data, cols, 1}
                             : GemmLeft{data, 1, cols};
}

/// Runs fn(row, worker) for all rows, a few at a time.
template <class Fn>
void each_row(std::int64_t rows, Fn fn) {
  constexpr std::int64_t kPiece = 16;
  auto piece = [&](int index, int worker) {
    const auto end = std::min(rows, (index + 1) * kPiece);
    for (auto row = index * kPiece; row < end; ++row) {
      fn(row, worker);
    }
  };
  ThreadPool::global().run(
      static_cast<int>((rows + kPiece - 1) / kPiece),
      piece);
}

bool asked(const std::vector<int>& wanted, int input) {
  return std::find(wanted.begin(), wanted.end(), input) != wanted.end();
}

/// The gradients that are asked for, of all that there are.
Arrays pick(const Arrays& all, const std::vector<int>& wanted) {
  Arrays picked;
  for (const int index : wanted) {
    picked.push_back(all[static_cast<std::size_t>(index)]);
  }
  return picked;
}

}  // namespace

mx::array product(
    const mx::array& a,
    Side a_side,
    const mx::array& b,
    Side b_side) {
  const auto extent = [](const mx::array& x, Side side, int axis) {
    return x.shape(side == Side::plain ? axis : 1 - axis);
  };
  const int rows = extent(a, a_side, 0);
  const int width = extent(b, b_side, 1);
  if (a.ndim() != 2 || b.ndim() != 2 ||
      extent(a, a_side, 1) != extent(b, b_side, 0)) {
    fail<BugError>(
        "product: the inner axes differ",
        std::to_string(extent(a, a_side, 1)) + " and " +
            std::to_string(extent(b, b_side, 0)),
        "Check what is multiplied");
  }
  CpuOp op;
  op.name = "Product";
  op.out_shapes = {{rows, width}};
  op.eval = [a_side,
             b_side,
             rows,
             width,
             a_cols = a.shape(1),
             b_rows = b.shape(0),
             b_cols = b.shape(1)](const CpuOpMemory& m) {
    gemm(
        left_of(m.in[0], a_cols, a_side),
        rows,
        {float_matrix(m.in[1], b_rows, b_cols), b_side == Side::transposed},
        m.out[0],
        width,
        GemmResult::replace,
        ThreadPool::global());
  };
  op.vjp = [a_side, b_side](
               const Arrays& in,
               const Arrays& cotangents,
               const Arrays&,
               const std::vector<int>& wanted) {
    const auto& d = cotangents[0];
    Arrays grads;
    for (const int index : wanted) {
      const auto other = computed_again(in[index == 0 ? 1 : 0]);
      if (index == 0) {
        grads.push_back(
            a_side == Side::plain
                ? product(d, Side::plain, other, flipped(b_side))
                : product(other, b_side, d, Side::transposed));
      } else {
        grads.push_back(
            b_side == Side::plain
                ? product(other, flipped(a_side), d, Side::plain)
                : product(d, Side::transposed, other, a_side));
      }
    }
    return grads;
  };
  return cpu_op(std::move(op), {a, b})[0];
}

namespace {

/// A low-rank matrix in numbers: where it stands in y and in h.
struct LowRankPlace {
  int begin;
  int rows;
  int rank;
  int first_rank;
  float scale;
};

struct LowRankShape {
  int tokens;
  int out;
  int ranks;
  std::vector<LowRankPlace> places;
};

/// scaled := scale · h's columns of one place
void scale_columns(
    const LowRankShape& shape,
    const LowRankPlace& place,
    const float* h,
    std::vector<float>& scaled) {
  const auto rank = static_cast<std::size_t>(place.rank);
  scaled.resize(static_cast<std::size_t>(shape.tokens) * rank);
  for (int t = 0; t < shape.tokens; ++t) {
    const float* from = h + std::ptrdiff_t{t} * shape.ranks + place.first_rank;
    for (std::size_t r = 0; r < rank; ++r) {
      scaled[static_cast<std::size_t>(t) * rank + r] = place.scale * from[r];
    }
  }
}

void add_low_rank_on(const LowRankShape& shape, const CpuOpMemory& m) {
  const auto row_bytes = sizeof(float) * static_cast<std::size_t>(shape.out);
  each_row(shape.tokens, [&](std::int64_t t, int) {
    std::memcpy(m.out[0] + t * shape.out, m.in[0] + t * shape.out, row_bytes);
  });
  std::vector<float> scaled;
  for (std::size_t i = 0; i < shape.places.size(); ++i) {
    const auto& place = shape.places[i];
    scale_columns(shape, place, m.in[1], scaled);
    gemm(
        {scaled.data(), place.rank, 1},
        shape.tokens,
        {float_matrix(m.in[2 + i], place.rows, place.rank), true},
        m.out[0] + place.begin,
        shape.out,
        GemmResult::add,
        ThreadPool::global());
  }
}

/// in: d [tokens, out], h, then the b's; out: d_h, then the d_b's.
void low_rank_grad_on(const LowRankShape& shape, const CpuOpMemory& m) {
  auto& pool = ThreadPool::global();
  std::vector<float> scaled;
  for (std::size_t i = 0; i < shape.places.size(); ++i) {
    const auto& place = shape.places[i];
    const float* d = m.in[0] + place.begin;
    // d_h = scale · d · b, by way of scaled b
    const auto size = static_cast<std::size_t>(place.rows) *
                      static_cast<std::size_t>(place.rank);
    std::vector<float> b(m.in[2 + i], m.in[2 + i] + size);
    for (float& value : b) {
      value *= place.scale;
    }
    gemm(
        {d, shape.out, 1},
        shape.tokens,
        {float_matrix(b.data(), place.rows, place.rank)},
        m.out[0] + place.first_rank,
        shape.ranks,
        GemmResult::replace,
        pool);
    // d_b = dᵀ · (scale · h)
    scale_columns(shape, place, m.in[1], scaled);
    gemm(
        {d, 1, shape.out},
        place.rows,
        {float_matrix(scaled.data(), shape.tokens, place.rank)},
        m.out[1 + i],
        place.rank,
        GemmResult::replace,
        pool);
  }
}

LowRankShape low_rank_shape(
    const mx::array& y,
    const mx::array& h,
    const std::vector<LowRankRows>& rows) {
  LowRankShape shape{y.shape(0), y.shape(1), h.shape(1), {}};
  int rank = 0;
  for (const auto& each : rows) {
    shape.places.push_back(
        {each.begin, each.b.shape(0), each.b.shape(1), rank, each.scale});
    rank += each.b.shape(1);
  }
  if (rank != shape.ranks) {
    fail<BugError>(
        "add_low_rank: the ranks don't add up",
        std::to_string(rank) + " and " + std::to_string(shape.ranks),
        "Give h the columns of every matrix");
  }
  return shape;
}

}  // namespace

mx::array add_low_rank(
    const mx::array& y,
    const mx::array& h,
    const std::vector<LowRankRows>& rows) {
  const auto shape = low_rank_shape(y, h, rows);
  Arrays inputs{y, h};
  for (const auto& each : rows) {
    inputs.push_back(each.b);
  }
  CpuOp op;
  op.name = "AddLowRank";
  op.out_shapes = {y.shape()};
  op.eval = [shape](const CpuOpMemory& m) { add_low_rank_on(shape, m); };
  op.vjp = [shape](
               const Arrays& in,
               const Arrays& cotangents,
               const Arrays&,
               const std::vector<int>& wanted) {
    CpuOp grad;
    grad.name = "AddLowRankGrad";
    Arrays inputs{cotangents[0]};
    for (std::size_t i = 1; i < in.size(); ++i) {
      grad.out_shapes.push_back(in[i].shape());
      inputs.push_back(in[i]);
    }
    grad.eval = [shape](const CpuOpMemory& m) { low_rank_grad_on(shape, m); };
    Arrays all{cotangents[0]};
    for (auto& each : cpu_op(std::move(grad), inputs)) {
      all.push_back(each);
    }
    return pick(all, wanted);
  };
  return cpu_op(std::move(op), inputs)[0];
}

namespace {

/// in: x, dy and, where there is one, the weight; out: dx, d_weight. The sums
/// over rows are of fixed pieces, so that they are the same with any threads.
void rms_norm_grad_on(
    const CpuOpMemory& m,
    std::int64_t rows,
    int n,
    float eps) {
  constexpr std::int64_t kMostPieces = 64;
  const auto pieces =
      std::min(kMostPieces, std::max<std::int64_t>(1, rows / 16));
  const float* weight = m.in.size() > 2 ? m.in[2] : nullptr;
  const bool want_weight = m.out.size() > 1;
  const auto width = static_cast<std::size_t>(n);
  std::vector<float> sums(
      want_weight ? static_cast<std::size_t>(pieces) * width : 0,
      0.0f);
  auto piece = [&](int index, int) {
    const auto end = rows * (index + 1) / pieces;
    for (auto row = rows * index / pieces; row < end; ++row) {
      const auto at = row * n;
      row_grad_kernels().rms_norm_grad(
          m.in[0] + at,
          weight,
          m.in[1] + at,
          eps,
          n,
          m.out[0] + at,
          want_weight ? &sums[static_cast<std::size_t>(index) * width]
                      : nullptr);
    }
  };
  ThreadPool::global().run(static_cast<int>(pieces), piece);
  if (want_weight) {
    std::fill_n(m.out[1], width, 0.0f);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      m.out[1][i % width] += sums[i];
    }
  }
}

}  // namespace

mx::array rms_norm_rows(
    const mx::array& x,
    const std::optional<mx::array>& weight,
    float eps) {
  const int n = x.shape(-1);
  const auto rows = static_cast<std::int64_t>(x.size()) / n;
  CpuOp op;
  op.name = "RmsNormRows";
  op.cheap = true;
  op.out_shapes = {x.shape()};
  op.eval = [=](const CpuOpMemory& m) {
    const float* weights = m.in.size() > 1 ? m.in[1] : nullptr;
    each_row(rows, [&](std::int64_t row, int) {
      row_kernels()
          .rms_norm(m.in[0] + row * n, weights, eps, n, m.out[0] + row * n);
    });
  };
  op.vjp = [=](const Arrays& in,
               const Arrays& cotangents,
               const Arrays&,
               const std::vector<int>& wanted) {
    CpuOp grad;
    grad.name = "RmsNormGrad";
    grad.out_shapes = {in[0].shape()};
    Arrays inputs{in[0], cotangents[0]};
    if (in.size() > 1) {
      inputs.push_back(in[1]);
    }
    if (asked(wanted, 1)) {
      grad.out_shapes.push_back(in[1].shape());
    }
    grad.eval = [=](const CpuOpMemory& m) {
      rms_norm_grad_on(m, rows, n, eps);
    };
    return pick(cpu_op(std::move(grad), inputs), wanted);
  };
  return cpu_op(std::move(op), weight ? Arrays{x, *weight} : Arrays{x})[0];
}

mx::array activate_rows(const mx::array& x, Activation activation, bool gated) {
  const int width = x.shape(1);
  const int hidden = gated ? width / 2 : width;
  const int rows = x.shape(0);
  CpuOp op;
  op.name = "ActivateRows";
  op.cheap = true;
  op.out_shapes = {{rows, hidden}};
  op.eval = [=](const CpuOpMemory& m) {
    each_row(rows, [&](std::int64_t row, int) {
      const float* gate = m.in[0] + row * width;
      row_kernels().activate(
          activation,
          gate,
          gated ? gate + hidden : nullptr,
          hidden,
          m.out[0] + row * hidden);
    });
  };
  op.vjp = [=](const Arrays& in,
               const Arrays& cotangents,
               const Arrays&,
               const std::vector<int>&) {
    CpuOp grad;
    grad.name = "ActivateGrad";
    grad.out_shapes = {in[0].shape()};
    grad.eval = [=](const CpuOpMemory& m) {
      each_row(rows, [&](std::int64_t row, int) {
        const float* gate = m.in[0] + row * width;
        float* to = m.out[0] + row * width;
        row_grad_kernels().activate_grad(
            activation,
            gate,
            gated ? gate + hidden : nullptr,
            m.in[1] + row * hidden,
            hidden,
            to,
            gated ? to + hidden : nullptr);
      });
    };
    return cpu_op(std::move(grad), {in[0], cotangents[0]});
  };
  return cpu_op(std::move(op), {x})[0];
}

namespace {

/// A well-mixed word of a counter (splitmix64).
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

mx::array dropout(const mx::array& x, float share, std::uint64_t seed) {
  if (share <= 0.0f) {
    return x;
  }
  const float kept = 1.0f / (1.0f - share);
  if (mx::default_device() == mx::Device::gpu) {
    const auto stays =
        mx::random::bernoulli(1.0f - share, x.shape(), mx::random::key(seed));
    return mx::multiply(
        mx::multiply(x, mx::astype(stays, x.dtype())),
        mx::array(kept, x.dtype()));
  }
  const int n = x.shape(-1);
  const auto rows = static_cast<std::int64_t>(x.size()) / n;
  const auto limit = static_cast<std::uint64_t>(share * 0x1p32);
  CpuOp op;
  op.name = "Dropout";
  op.cheap = true;
  op.out_shapes = {x.shape()};
  op.eval = [=](const CpuOpMemory& m) {
    each_row(rows, [&](std::int64_t row, int) {
      for (auto i = row * n; i < (row + 1) * n; ++i) {
        const auto word = mixed(seed + static_cast<std::uint64_t>(i)) >> 32;
        m.out[0][i] = word < limit ? 0.0f : m.in[0][i] * kept;
      }
    });
  };
  op.vjp = [=](const Arrays&,
               const Arrays& cotangents,
               const Arrays&,
               const std::vector<int>&) {
    return Arrays{dropout(cotangents[0], share, seed)};
  };
  return cpu_op(std::move(op), {x})[0];
}

}  // namespace roofline
