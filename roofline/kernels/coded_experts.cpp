#include "roofline/kernels/coded_experts.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <mlx/ops.h>

#include "roofline/base/each_row.h"
#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/cpu_op.h"
#include "roofline/kernels/gemm/gemm.h"

namespace roofline {

namespace {

using Codes = std::vector<std::shared_ptr<const TrainedCodes>>;

/// Where an expert's rows lie.
struct Place {
  std::size_t stack;
  int first_row;
};

struct Operand {
  Codes codes;
  int experts = 0;
  int rows = 0;  ///< of an expert
  int cols = 0;

  Place place(int expert) const {
    return codes.size() == 1 ? Place{0, expert * rows}
                             : Place{static_cast<std::size_t>(expert), 0};
  }
};

/// Numbers of the rows of x that each expert has.
std::vector<std::vector<int>> rows_by_expert(
    const float* ids,
    int count,
    int experts) {
  const auto* id = reinterpret_cast<const std::int32_t*>(ids);
  std::vector<std::vector<int>> out(static_cast<std::size_t>(experts));
  for (int i = 0; i < count; ++i) {
    out[static_cast<std::size_t>(id[i])].push_back(i);
  }
  return out;
}

/// Rows of a matrix, to the front.
void gather(
    const float* from,
    const std::vector<int>& rows,
    int cols,
    std::vector<float>& to) {
  to.resize(rows.size() * static_cast<std::size_t>(cols));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(
        from + std::ptrdiff_t{rows[i]} * cols,
        cols,
        to.data() + i * static_cast<std::size_t>(cols));
  }
}

/// And back to their places.
void scatter(
    const std::vector<float>& from,
    const std::vector<int>& rows,
    int cols,
    float* to) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(
        from.data() + i * static_cast<std::size_t>(cols),
        cols,
        to + std::ptrdiff_t{rows[i]} * cols);
  }
}

/// The expert's matrix as floats. in: what holds scales and offsets in turns.
void decode_expert(
    const Operand& operand,
    int expert,
    const float* const* in,
    std::vector<float>& w) {
  const auto cols = static_cast<std::size_t>(operand.cols);
  const Place place = operand.place(expert);
  w.resize(static_cast<std::size_t>(operand.rows) * cols);
  for_each_row(operand.rows, ThreadPool::global(), [&](int row) {
    decode_coded_row(
        *operand.codes[place.stack],
        place.first_row + row,
        in[2 * place.stack],
        in[2 * place.stack + 1],
        w.data() + static_cast<std::size_t>(row) * cols);
  });
}

void product(
    const GemmLeft& a,
    int rows,
    const GemmRight& b,
    std::vector<float>& c) {
  c.resize(
      static_cast<std::size_t>(rows) * static_cast<std::size_t>(b.width()));
  gemm(
      a,
      rows,
      b,
      c.data(),
      b.width(),
      GemmResult::replace,
      ThreadPool::global());
}

/// memory: x, ids, scales and offsets → y.
void multiply(const Operand& operand, int count, const CpuOpMemory& memory) {
  const auto own = rows_by_expert(memory.in[1], count, operand.experts);
  std::vector<float> w, x, y;
  for (int expert = 0; expert < operand.experts; ++expert) {
    const auto& rows = own[static_cast<std::size_t>(expert)];
    if (rows.empty()) {
      continue;
    }
    decode_expert(operand, expert, memory.in.data() + 2, w);
    gather(memory.in[0], rows, operand.cols, x);
    product(
        {x.data(), operand.cols, 1},
        static_cast<int>(rows.size()),
        {float_matrix(w.data(), operand.rows, operand.cols), true},
        y);
    scatter(y, rows, operand.rows, memory.out[0]);
  }
}

/// memory: dy, x, ids, scales and offsets → dx, gradients of the latter.
void multiply_back(
    const Operand& operand,
    int count,
    const CpuOpMemory& memory) {
  for (std::size_t s = 0; s < operand.codes.size(); ++s) {
    const auto& codes = *operand.codes[s];
    const auto size = static_cast<std::size_t>(codes.rows) *
                      static_cast<std::size_t>(codes.groups());
    std::fill_n(memory.out[1 + 2 * s], size, 0.0f);
    std::fill_n(memory.out[2 + 2 * s], size, 0.0f);
  }
  const auto own = rows_by_expert(memory.in[2], count, operand.experts);
  std::vector<float> w, x, dx, dy, dw;
  for (int expert = 0; expert < operand.experts; ++expert) {
    const auto& rows = own[static_cast<std::size_t>(expert)];
    if (rows.empty()) {
      continue;
    }
    const auto n = static_cast<int>(rows.size());
    const Place place = operand.place(expert);
    decode_expert(operand, expert, memory.in.data() + 3, w);
    gather(memory.in[0], rows, operand.rows, dy);
    gather(memory.in[1], rows, operand.cols, x);
    product(
        {dy.data(), operand.rows, 1},
        n,
        {float_matrix(w.data(), operand.rows, operand.cols)},
        dx);
    scatter(dx, rows, operand.cols, memory.out[0]);
    product(
        {dy.data(), 1, operand.rows},
        operand.rows,
        {float_matrix(x.data(), n, operand.cols)},
        dw);
    for_each_row(operand.rows, ThreadPool::global(), [&](int row) {
      fold_coded_row(
          *operand.codes[place.stack],
          place.first_row + row,
          dw.data() + std::ptrdiff_t{row} * operand.cols,
          memory.out[1 + 2 * place.stack],
          memory.out[2 + 2 * place.stack]);
    });
  }
}

Operand operand_of(
    const mx::array& x,
    const mx::array& ids,
    const std::vector<CodedStack>& stacks,
    int experts) {
  Operand out;
  for (const CodedStack& stack : stacks) {
    out.codes.push_back(stack.codes);
  }
  const bool one_each = stacks.size() == static_cast<std::size_t>(experts);
  bool fits = experts > 0 && (one_each || stacks.size() == 1) &&
              x.ndim() == 2 && ids.ndim() == 1 && x.shape(0) == ids.shape(0);
  if (fits) {
    out.experts = experts;
    out.rows = out.codes[0]->rows / (one_each ? 1 : experts);
    out.cols = out.codes[0]->cols;
    fits =
        x.shape(1) == out.cols &&
        std::all_of(out.codes.begin(), out.codes.end(), [&](const auto& codes) {
          return codes->cols == out.cols &&
                 codes->rows == out.rows * (one_each ? 1 : experts);
        });
  }
  if (!fits) {
    fail<BugError>(
        "coded_expert_linear: the shapes don't fit",
        "x has one row for each id, and as many columns as all matrices",
        "Please report this");
  }
  return out;
}

}  // namespace

mx::array coded_expert_linear(
    const mx::array& x,
    const mx::array& ids,
    const std::vector<CodedStack>& stacks,
    int experts) {
  const Operand operand = operand_of(x, ids, stacks, experts);
  const int count = x.shape(0);
  // A choice has no gradient.
  std::vector<mx::array> inputs{
      x,
      mx::stop_gradient(mx::astype(ids, mx::int32))};
  for (const CodedStack& stack : stacks) {
    inputs.push_back(stack.scales);
    inputs.push_back(stack.offsets);
  }
  CpuOp op;
  op.name = "CodedExpertLinear";
  op.out_shapes = {{count, operand.rows}};
  op.eval = [operand, count](const CpuOpMemory& memory) {
    multiply(operand, count, memory);
  };
  op.vjp = [operand, count](
               const std::vector<mx::array>& in,
               const std::vector<mx::array>& cotangents,
               const std::vector<mx::array>&,
               const std::vector<int>& wanted) {
    CpuOp back;
    back.name = "CodedExpertLinearGradient";
    back.out_shapes = {in[0].shape()};
    std::vector<mx::array> inputs{cotangents[0]};
    inputs.insert(inputs.end(), in.begin(), in.end());
    for (std::size_t i = 2; i < in.size(); ++i) {
      back.out_shapes.push_back(in[i].shape());
    }
    back.eval = [operand, count](const CpuOpMemory& memory) {
      multiply_back(operand, count, memory);
    };
    const auto all = cpu_op(std::move(back), inputs);
    std::vector<mx::array> out;
    for (const int index : wanted) {
      const auto i = static_cast<std::size_t>(index);
      out.push_back(
          i == 0   ? all[0]
          : i == 1 ? mx::zeros_like(in[1])  // ids
                   : all[i - 1]);
    }
    return out;
  };
  return cpu_op(std::move(op), inputs)[0];
}

}  // namespace roofline
