#include "roofline/model/graph_parts.h"

#include <new>

#include <mlx/backend/cuda/cuda.h>
#include <mlx/ops.h>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/packed_rows.h"
#include "roofline/model/graph_forms.h"
#include "roofline/model/step_memory.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

mx::array decoded(const GraphMatrixPart& part) {
  return mx::dequantize(
      part.weight,
      *part.scales,
      part.biases,
      part.group_size,
      part.bits,
      part.mode);
}

std::span<const std::byte> bytes_of(const mx::array& array) {
  return {
      reinterpret_cast<const std::byte*>(array.data<char>()),
      array.nbytes()};
}

/// An array of MLX's as a tensor that the packer and the kernels read.
Tensor tensor_of(const GraphMatrixPart& part) {
  const bool codes = part.scales.has_value();
  const auto encoding = [](mx::Dtype dtype) {
    return dtype == mx::float32   ? Encoding::f32
           : dtype == mx::float16 ? Encoding::f16
                                  : Encoding::bf16;
  };
  Tensor tensor;
  tensor.name = "a matrix of the graph";
  tensor.encoding =
      codes ? Encoding::mlx_affine : encoding(part.weight.dtype());
  tensor.rows = part.weight.shape(0);
  tensor.cols =
      codes ? part.scales->shape(1) * part.group_size : part.weight.shape(1);
  tensor.bytes = bytes_of(part.weight);
  if (codes) {
    tensor.affine = {
        part.bits,
        part.group_size,
        encoding(part.scales->dtype()),
        bytes_of(*part.scales),
        part.biases ? bytes_of(*part.biases) : std::span<const std::byte>{}};
  }
  if (codes && part.mode != "affine") {
    tensor.encoding = part.mode == "mxfp4"   ? Encoding::mlx_mxfp4
                      : part.mode == "nvfp4" ? Encoding::mlx_nvfp4
                                             : Encoding::mlx_mxfp8;
  }
  return tensor;
}

/// Memory for packed codes: kernels read whole cache lines.
std::shared_ptr<std::byte> packed_memory(std::size_t bytes) {
  constexpr std::align_val_t kLine{64};
  return {
      static_cast<std::byte*>(::operator new(bytes, kLine)),
      [](std::byte* at) { ::operator delete(at, kLine); }};
}

/// Absent values fit too.
bool fits_half(const std::optional<mx::array>& values) {
  if (!values) {
    return true;
  }
  const auto half =
      mx::astype(mx::astype(*values, mx::float16), values->dtype());
  return mx::array_equal(half, *values).item<bool>();
}

CpuMatrixPart pack_for_cpu(
    std::span<const Tensor* const> tensors,
    const PackedForm& form,
    LinearMode mode) {
  const auto bytes = packed_bytes(form, rows_of(tensors), tensors[0]->cols);
  const auto memory = packed_memory(bytes);
  return {
      pack(tensors, form, {memory.get(), bytes}, ThreadPool::global()),
      memory,
      mode};
}

}  // namespace

std::size_t GraphMatrixPart::bytes() const {
  if (cpu) {
    return cpu->matrix.bytes();
  }
  return weight.nbytes() + (scales ? scales->nbytes() : 0) +
         (biases ? biases->nbytes() : 0);
}

int rows_of(const GraphMatrixPart& part) {
  return part.cpu ? part.cpu->matrix.rows : part.weight.shape(0);
}

void prepare_for_cpu(GraphMatrixPart& part, LinearMode mode, bool keep_scales) {
  const Tensor tensor = tensor_of(part);
  if (!part.scales) {
    part.cpu = {
        dense_view(tensor),
        std::make_shared<mx::array>(part.weight),
        mode};
    return;
  }
  const auto form = code_form(tensor);
  const bool affine = part.mode == "affine";
  const bool rounds = keep_scales && affine &&
                      !(fits_half(part.scales) && fits_half(part.biases));
  if (!form || tensor.cols % kGroup != 0 || rounds) {
    return;
  }
  const Tensor* const one = &tensor;
  part.cpu = pack_for_cpu({&one, 1}, packed_form(*form), mode);
  part.weight = mx::array({}, mx::uint32);
  part.scales.reset();
  part.biases.reset();
}

std::optional<GraphMatrixPart> pack_sources(
    std::span<const Tensor* const> tensors,
    LinearMode mode) {
  const auto first = code_form(*tensors[0]);
  if (!first || tensors[0]->cols % kGroup != 0) {
    return std::nullopt;
  }
  for (const auto* tensor : tensors) {
    const auto form = code_form(*tensor);
    if (!form || packed_form(*form) != packed_form(*first) ||
        form->table != first->table) {
      return std::nullopt;
    }
  }
  GraphMatrixPart part{mx::array({}, mx::uint32), std::nullopt, std::nullopt};
  part.cpu = pack_for_cpu(tensors, packed_form(*first), mode);
  return part;
}

bool multiplies_densely(int tokens) {
  return tokens >= kDenseFromTokens && mx::cu::is_available();
}

mx::array multiply_part(const mx::array& x, const GraphMatrixPart& part) {
  if (part.cpu) {
    return linear(x, part.cpu->matrix, part.cpu->memory, part.cpu->mode);
  }
  if (!part.scales) {
    return mx::matmul(x, mx::transpose(part.weight));
  }
  if (multiplies_densely(x.shape(0))) {
    return mx::matmul(x, mx::transpose(decoded(part)));
  }
  return mx::quantized_matmul(
      x,
      part.weight,
      *part.scales,
      part.biases,
      /* transpose = */ true,
      part.group_size,
      part.bits,
      part.mode);
}

mx::array part_rows(
    const GraphMatrixPart& part,
    const mx::array& ids,
    mx::Dtype dtype) {
  if (part.cpu && part.cpu->matrix.quantized()) {
    return mx::astype(
        packed_rows(ids, part.cpu->matrix, part.cpu->memory),
        dtype);
  }
  auto rows = mx::take(part.weight, ids, 0);
  if (part.scales && !part.biases) {
    rows = mx::dequantize(
        rows,
        mx::take(*part.scales, ids, 0),
        std::nullopt,
        part.group_size,
        part.bits,
        part.mode,
        std::nullopt,
        dtype);
  } else if (part.scales) {
    rows = mx::dequantize(
        rows,
        mx::astype(mx::take(*part.scales, ids, 0), dtype),
        mx::astype(mx::take(*part.biases, ids, 0), dtype),
        part.group_size,
        part.bits);
  }
  return mx::astype(rows, dtype);
}

mx::array dense_weight(const GraphMatrixPart& part) {
  if (part.cpu && part.cpu->matrix.quantized()) {
    const auto all = mx::arange(0, part.cpu->matrix.rows, 1, mx::int32);
    return packed_rows(all, part.cpu->matrix, part.cpu->memory);
  }
  return part.scales ? decoded(part) : part.weight;
}

}  // namespace roofline
