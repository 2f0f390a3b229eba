#include "roofline/kernels/coded_weight.h"

#include <algorithm>
#include <cstring>

#include "roofline/base/each_row.h"
#include "roofline/base/half.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/cpu_op.h"

namespace roofline {

namespace {

using Arrays = std::vector<mx::array>;
using CodesPtr = std::shared_ptr<const TrainedCodes>;

float stored(float value, Encoding type) {
  return type == Encoding::f16    ? f16_to_f32(f32_to_f16(value))
         : type == Encoding::bf16 ? bf16_to_f32(f32_to_bf16(value))
                                  : value;
}

Arrays pick(const Arrays& all, const std::vector<int>& wanted) {
  Arrays picked;
  for (const int index : wanted) {
    picked.push_back(all[static_cast<std::size_t>(index)]);
  }
  return picked;
}

std::size_t fold_size(const TrainedCodes& codes) {
  return static_cast<std::size_t>(codes.rows) *
         static_cast<std::size_t>(codes.groups());
}

}  // namespace

void decode_coded_row(
    const TrainedCodes& codes,
    int row,
    const float* scales,
    const float* offsets,
    float* out) {
  const auto r = static_cast<std::size_t>(row);
  const auto groups = static_cast<std::size_t>(codes.groups());
  const auto* from =
      codes.codes.data() + r * static_cast<std::size_t>(codes.cols);
  for (std::size_t g = 0; g < groups; ++g) {
    const float s = scales[r * groups + g];
    const float scale = codes.scale(s);
    const float bias = codes.bias(s, offsets[r * groups + g]);
    for (int i = 0; i < codes.group_size; ++i) {
      *out++ = scale * static_cast<float>(*from++) + bias;
    }
  }
}

void fold_coded_row(
    const TrainedCodes& codes,
    int row,
    const float* gradient,
    float* d_scales,
    float* d_offsets) {
  const auto r = static_cast<std::size_t>(row);
  const auto groups = static_cast<std::size_t>(codes.groups());
  const auto* from =
      codes.codes.data() + r * static_cast<std::size_t>(codes.cols);
  for (std::size_t g = 0; g < groups; ++g) {
    float weighed = 0;
    float plain = 0;
    for (int i = 0; i < codes.group_size; ++i) {
      weighed += *gradient * static_cast<float>(*from++);
      plain += *gradient++;
    }
    d_scales[r * groups + g] += codes.unit * (weighed - codes.middle * plain);
    d_offsets[r * groups + g] += codes.unit * plain;
  }
}

float TrainedCodes::scale(float s) const {
  return stored(unit * s, scale_type);
}

float TrainedCodes::bias(float s, float o) const {
  return stored(unit * (o - middle * s), scale_type);
}

mx::array coded_weight(
    std::shared_ptr<const TrainedCodes> codes,
    const mx::array& scales,
    const mx::array& offsets) {
  CpuOp op;
  op.name = "CodedWeight";
  op.out_shapes = {{codes->rows, codes->cols}};
  op.eval = [codes](const CpuOpMemory& m) {
    for_each_row(codes->rows, ThreadPool::global(), [&](int row) {
      decode_coded_row(
          *codes,
          row,
          m.in[0],
          m.in[1],
          m.out[0] + static_cast<std::size_t>(row) *
                         static_cast<std::size_t>(codes->cols));
    });
  };
  op.vjp = [codes](
               const Arrays& in,
               const Arrays& cotangents,
               const Arrays&,
               const std::vector<int>& wanted) {
    CpuOp back;
    back.name = "CodedWeightGradient";
    back.out_shapes = {in[0].shape(), in[1].shape()};
    back.eval = [codes](const CpuOpMemory& m) {
      std::fill_n(m.out[0], fold_size(*codes), 0.0f);
      std::fill_n(m.out[1], fold_size(*codes), 0.0f);
      for_each_row(codes->rows, ThreadPool::global(), [&](int row) {
        const auto at = static_cast<std::size_t>(row) *
                        static_cast<std::size_t>(codes->cols);
        fold_coded_row(*codes, row, m.in[0] + at, m.out[0], m.out[1]);
      });
    };
    return pick(cpu_op(std::move(back), {cotangents[0]}), wanted);
  };
  return cpu_op(std::move(op), {scales, offsets})[0];
}

mx::array coded_rows(
    std::shared_ptr<const TrainedCodes> codes,
    const mx::array& scales,
    const mx::array& offsets,
    const mx::array& ids) {
  const int tokens = ids.shape(0);
  const auto id = [](const CpuOpMemory& m, std::size_t input, int token) {
    std::int32_t value = 0;
    std::memcpy(&value, m.in[input] + token, sizeof(value));
    return value;
  };
  CpuOp op;
  op.name = "CodedRows";
  op.out_shapes = {{tokens, codes->cols}};
  op.eval = [codes, tokens, id](const CpuOpMemory& m) {
    for (int t = 0; t < tokens; ++t) {
      decode_coded_row(
          *codes,
          id(m, 2, t),
          m.in[0],
          m.in[1],
          m.out[0] + static_cast<std::size_t>(t) *
                         static_cast<std::size_t>(codes->cols));
    }
  };
  op.vjp = [codes, tokens, id](
               const Arrays& in,
               const Arrays& cotangents,
               const Arrays&,
               const std::vector<int>& wanted) {
    CpuOp back;
    back.name = "CodedRowsGradient";
    back.out_shapes = {in[0].shape(), in[1].shape()};
    back.eval = [codes, tokens, id](const CpuOpMemory& m) {
      std::fill_n(m.out[0], fold_size(*codes), 0.0f);
      std::fill_n(m.out[1], fold_size(*codes), 0.0f);
      // A token can be there more than once.
      for (int t = 0; t < tokens; ++t) {
        const auto at =
            static_cast<std::size_t>(t) * static_cast<std::size_t>(codes->cols);
        fold_coded_row(*codes, id(m, 1, t), m.in[0] + at, m.out[0], m.out[1]);
      }
    };
    return pick(cpu_op(std::move(back), {cotangents[0], in[2]}), wanted);
  };
  return cpu_op(std::move(op), {scales, offsets, ids})[0];
}

}  // namespace roofline
