#include "roofline/model/graph_forms.h"

#include <array>
#include <cstring>

#include <mlx/allocator.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/thread_pool.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

/// Memory of MLX's own, to be filled by the host.
struct Fresh {
  mx::array array;
  std::byte* bytes;

  Fresh(const mx::Shape& shape, mx::Dtype dtype) : Fresh(sized(shape, dtype)) {}

 private:
  struct Sized {
    mx::allocator::Data data;
    std::byte* bytes;
    mx::Shape shape;
    mx::Dtype dtype;
  };
  static Sized sized(const mx::Shape& shape, mx::Dtype dtype) {
    std::size_t size = mx::size_of(dtype);
    for (const auto each : shape) {
      size *= static_cast<std::size_t>(each);
    }
    auto data = mx::allocator::malloc(size);
    auto* bytes = static_cast<std::byte*>(data.buffer().raw_ptr());
    return {std::move(data), bytes, shape, dtype};
  }
  explicit Fresh(Sized sized)
      : array(std::move(sized.data), sized.shape, sized.dtype),
        bytes(sized.bytes) {}
};

void append(std::byte*& at, std::span<const std::byte> bytes) {
  std::memcpy(at, bytes.data(), bytes.size());
  at += bytes.size();
}

/// MLX's mode for an encoding of small floats; "" for others.
std::string small_float_mode(Encoding encoding) {
  switch (encoding) {
    case Encoding::mlx_mxfp4:
    case Encoding::mxfp4:
      return "mxfp4";
    case Encoding::mlx_nvfp4:
    case Encoding::nvfp4:
      return "nvfp4";
    case Encoding::mlx_mxfp8:
      return "mxfp8";
    default:
      return "";
  }
}

mx::Shape shape_of(std::int64_t rows, std::int64_t cols) {
  return {static_cast<int>(rows), static_cast<int>(cols)};
}

GraphMatrixPart copy_dense(
    std::span<const Tensor* const> tensors,
    const GraphForm& form) {
  Fresh weight(shape_of(rows_of(tensors), tensors[0]->cols), form.dtype);
  auto* at = weight.bytes;
  for (const auto* tensor : tensors) {
    append(at, tensor->bytes);
  }
  return {weight.array, std::nullopt, std::nullopt, 0, 0};
}

GraphMatrixPart copy_words(
    std::span<const Tensor* const> tensors,
    const GraphForm& form) {
  const auto rows = rows_of(tensors);
  const auto cols = tensors[0]->cols;
  const auto groups = shape_of(rows, cols / form.group_size);
  Fresh weight(shape_of(rows, cols * form.bits / 32), mx::uint32);
  Fresh scales(groups, form.dtype);
  Fresh biases(groups, form.dtype);
  std::array<std::byte*, 3> at = {weight.bytes, scales.bytes, biases.bytes};
  for (const auto* tensor : tensors) {
    append(at[0], tensor->bytes);
    append(at[1], tensor->affine.scales);
    append(at[2], tensor->affine.biases);
  }
  return {weight.array, scales.array, biases.array, form.bits, form.group_size};
}

/// MLX's order: the first code in the lowest bits of a little-endian word.
void pack_codes(std::span<const std::uint8_t> codes, int bits, std::byte* out) {
  if (bits == 8) {
    std::memcpy(out, codes.data(), codes.size());
    return;
  }
  for (std::size_t i = 0; i < codes.size() / 2; ++i) {
    out[i] = static_cast<std::byte>(codes[2 * i] | codes[2 * i + 1] << 4);
  }
}

/// Runs fn(row, tensor, row_in_tensor, worker) for all rows, in pieces.
template <class Fn>
void for_rows(std::span<const Tensor* const> tensors, Fn fn) {
  constexpr std::int64_t kPieceRows = 64;
  auto& pool = ThreadPool::global();
  std::int64_t first = 0;
  for (const auto* tensor : tensors) {
    auto piece_fn = [&](int piece, int worker) {
      const auto begin = piece * kPieceRows;
      const auto end = std::min(tensor->rows, begin + kPieceRows);
      for (auto row = begin; row < end; ++row) {
        fn(first + row, *tensor, row, worker);
      }
    };
    const auto pieces = (tensor->rows + kPieceRows - 1) / kPieceRows;
    pool.run(static_cast<int>(pieces), piece_fn);
    first += tensor->rows;
  }
}

/// MLX's modes of small floats: words and a byte of scale a group.
GraphMatrixPart copy_small_floats(
    std::span<const Tensor* const> tensors,
    const GraphForm& form) {
  const auto rows = rows_of(tensors);
  const auto cols = tensors[0]->cols;
  const auto groups = cols / form.group_size;
  Fresh weight(shape_of(rows, cols * form.bits / 32), mx::uint32);
  Fresh scales(shape_of(rows, groups), mx::uint8);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(cols));
  std::array<std::byte*, 2> at = {weight.bytes, scales.bytes};
  for (const auto* tensor : tensors) {
    if (!tensor->affine.scales.empty()) {
      append(at[0], tensor->bytes);
      append(at[1], tensor->affine.scales);
      continue;
    }
    for (std::int64_t row = 0; row < tensor->rows; ++row) {
      const std::span<std::byte> row_scales(at[1], groups);
      read_small_float_row(*tensor, row, codes, row_scales);
      pack_codes(codes, form.bits, at[0]);
      at[0] += cols * form.bits / 8;
      at[1] += groups;
    }
  }
  return {
      weight.array,
      scales.array,
      std::nullopt,
      form.bits,
      form.group_size,
      std::nullopt,
      form.mode};
}

/// Block types become codes with float32 scales and biases; what has no form
/// of codes is quantized.
GraphMatrixPart copy_codes(
    std::span<const Tensor* const> tensors,
    const GraphForm& form) {
  const auto rows = rows_of(tensors);
  const auto cols = tensors[0]->cols;
  const auto groups = cols / form.group_size;
  Fresh weight(shape_of(rows, cols * form.bits / 32), mx::uint32);
  Fresh scales(shape_of(rows, groups), mx::float32);
  Fresh biases(shape_of(rows, groups), mx::float32);
  const auto threads = ThreadPool::global().threads();
  std::vector<std::uint8_t> codes(threads * cols);
  for_rows(
      tensors,
      [&](std::int64_t row,
          const Tensor& tensor,
          std::int64_t tensor_row,
          int worker) {
        const std::span<std::uint8_t> row_codes(
            codes.data() + worker * cols,
            cols);
        const auto row_groups = [&](Fresh& values) {
          auto* begin = reinterpret_cast<float*>(values.bytes) + row * groups;
          return std::span<float>(begin, groups);
        };
        const AffineRow out{row_codes, row_groups(scales), row_groups(biases)};
        if (form.kind == GraphForm::Kind::codes) {
          read_affine_row(tensor, tensor_row, out);
        } else {
          std::vector<float> values(cols);
          decode_row(tensor, tensor_row, values);
          quantize_row(values, {form.bits, form.group_size}, out);
        }
        pack_codes(
            row_codes,
            form.bits,
            weight.bytes + row * cols * form.bits / 8);
      });
  return {weight.array, scales.array, biases.array, form.bits, form.group_size};
}

}  // namespace

mx::Dtype dtype_of(Encoding encoding) {
  switch (encoding) {
    case Encoding::f32:
      return mx::float32;
    case Encoding::bf16:
      return mx::bfloat16;
    default:
      return mx::float16;
  }
}

GraphForm form_of(const Tensor& tensor, mx::Dtype decoded) {
  if (is_float(tensor.encoding)) {
    return {GraphForm::Kind::dense, dtype_of(tensor.encoding), 0, 0};
  }
  const auto mode = small_float_mode(tensor.encoding);
  // MLX's products have no place for a matrix's own factor.
  if (!mode.empty() && tensor.affine.factor == 1) {
    const bool eight = mode == "mxfp8";
    const int group = mode == "nvfp4" ? 16 : 32;
    return {GraphForm::Kind::small_floats, decoded, eight ? 8 : 4, group, mode};
  }
  if (tensor.encoding == Encoding::mlx_affine) {
    return {
        GraphForm::Kind::words,
        dtype_of(tensor.affine.dtype),
        tensor.affine.bits,
        tensor.affine.group_size};
  }
  if (const auto affine = affine_form(tensor)) {
    return {GraphForm::Kind::codes, decoded, affine->bits, affine->group_size};
  }
  constexpr AffineForm kEight{8, 32};
  if (decoded != mx::float32 && tensor.cols % kEight.group_size == 0) {
    return {
        GraphForm::Kind::requantized,
        decoded,
        kEight.bits,
        kEight.group_size};
  }
  return {GraphForm::Kind::decoded, decoded, 0, 0};
}

std::int64_t rows_of(std::span<const Tensor* const> tensors) {
  std::int64_t rows = 0;
  for (const auto* tensor : tensors) {
    rows += tensor->rows;
  }
  return rows;
}

GraphMatrixPart copy_decoded(std::span<const Tensor* const> tensors) {
  const auto cols = tensors[0]->cols;
  Fresh weight(shape_of(rows_of(tensors), cols), mx::float32);
  for_rows(
      tensors,
      [&](std::int64_t row,
          const Tensor& tensor,
          std::int64_t tensor_row,
          int) {
        auto* begin = reinterpret_cast<float*>(weight.bytes) + row * cols;
        decode_row(tensor, tensor_row, std::span<float>(begin, cols));
      });
  return {weight.array, std::nullopt, std::nullopt, 0, 0};
}

mx::array cast_now(const mx::array& array, mx::Dtype dtype) {
  auto result = mx::astype(array, dtype);
  mx::eval(result);
  return result;
}

GraphMatrixPart read_part(
    std::span<const Tensor* const> tensors,
    const GraphForm& form) {
  switch (form.kind) {
    case GraphForm::Kind::dense:
      return copy_dense(tensors, form);
    case GraphForm::Kind::words:
      return copy_words(tensors, form);
    case GraphForm::Kind::small_floats:
      return copy_small_floats(tensors, form);
    case GraphForm::Kind::codes:
    case GraphForm::Kind::requantized: {
      auto part = copy_codes(tensors, form);
      part.scales = cast_now(*part.scales, form.dtype);
      part.biases = cast_now(*part.biases, form.dtype);
      return part;
    }
    case GraphForm::Kind::decoded:
      break;
  }
  auto part = copy_decoded(tensors);
  part.weight = cast_now(part.weight, form.dtype);
  return part;
}

}  // namespace roofline
