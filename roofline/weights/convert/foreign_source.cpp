#include "roofline/weights/convert/foreign_source.h"

#include <cstring>
#include <optional>
#include <utility>

#include <mlx/ops.h>

#include "roofline/base/thread_pool.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/expert_tensors.h"

namespace roofline {

namespace mx = mlx::core;

namespace {

int narrow(std::int64_t size) {
  return static_cast<int>(size);
}

/// Memory of MLX's own, to be filled row by row.
template <class T>
class Filled {
 public:
  Filled(std::int64_t rows, std::int64_t cols)
      : cols_(static_cast<std::size_t>(cols)),
        values_(static_cast<T*>(
            std::malloc(sizeof(T) * static_cast<std::size_t>(rows) * cols_))) {}

  std::span<T> row(std::int64_t i) const {
    return {values_ + static_cast<std::size_t>(i) * cols_, cols_};
  }
  mx::array array(mx::Shape shape, mx::Dtype dtype) const {
    return mx::array(values_, std::move(shape), dtype, [](void* memory) {
      std::free(memory);
    });
  }

 private:
  std::size_t cols_;
  T* values_;
};

template <class Fn>
void for_rows(std::int64_t count, Fn fn) {
  auto one = [&](int row, int) { fn(row); };
  ThreadPool::global().run(narrow(count), one);
}

mx::array decoded_rows(
    const Tensor& tensor,
    std::int64_t first,
    std::int64_t count) {
  const Filled<float> values(count, tensor.cols);
  for_rows(count, [&](int row) {
    decode_row(tensor, first + row, values.row(row));
  });
  return values.array({narrow(count), narrow(tensor.cols)}, mx::float32);
}

/// MLX's name for small floats that it holds alike; nullopt for others.
std::optional<MlxForm> small_float_form(const Tensor& tensor) {
  if (tensor.affine.factor != 1) {
    return std::nullopt;
  }
  switch (tensor.encoding) {
    case Encoding::mlx_mxfp4:
      return MlxForm{4, 32, "mxfp4"};
    case Encoding::mlx_nvfp4:
      return MlxForm{4, 16, "nvfp4"};
    case Encoding::mlx_mxfp8:
      return MlxForm{8, 32, "mxfp8"};
    default:
      return std::nullopt;
  }
}

std::vector<mx::array> stored_rows(
    const Tensor& tensor,
    const MlxForm& form,
    std::int64_t first,
    std::int64_t count) {
  const Tensor rows = row_slice(tensor, first, count);
  return {
      view_bytes(
          rows.bytes,
          {narrow(count), narrow(tensor.cols * form.bits / 32)},
          mx::uint32),
      view_bytes(
          rows.affine.scales,
          {narrow(count), narrow(tensor.cols / form.group_size)},
          mx::uint8)};
}

mx::Dtype scale_dtype(const Tensor& tensor) {
  switch (tensor.foreign.scale_type) {
    case Tensor::Foreign::Scale::f16:
      return mx::float16;
    case Tensor::Foreign::Scale::bf16:
      return mx::bfloat16;
    default:
      return mx::float32;
  }
}

/// MLX's order: the first code in the lowest bits.
void pack_codes(std::span<const std::uint8_t> codes, int bits, std::byte* out) {
  if (bits == 8) {
    std::memcpy(out, codes.data(), codes.size());
    return;
  }
  for (std::size_t i = 0; i < codes.size() / 2; ++i) {
    out[i] = static_cast<std::byte>(codes[2 * i] | codes[2 * i + 1] << 4);
  }
}

std::vector<mx::array> affine_rows(
    const Tensor& tensor,
    const MlxForm& form,
    std::int64_t first,
    std::int64_t count,
    mx::Stream stream) {
  const std::int64_t groups = tensor.cols / form.group_size;
  const Filled<std::byte> words(count, tensor.cols * form.bits / 8);
  const Filled<float> scales(count, groups);
  const Filled<float> biases(count, groups);
  for_rows(count, [&](int row) {
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(tensor.cols));
    read_affine_row(
        tensor,
        first + row,
        {codes, scales.row(row), biases.row(row)});
    pack_codes(codes, form.bits, words.row(row).data());
  });
  const mx::Dtype dtype = scale_dtype(tensor);
  const mx::Shape sides{narrow(count), narrow(groups)};
  return {
      words.array(
          {narrow(count), narrow(tensor.cols * form.bits / 32)},
          mx::uint32),
      mx::astype(scales.array(sides, mx::float32), dtype, stream),
      mx::astype(biases.array(sides, mx::float32), dtype, stream)};
}

std::optional<PackedPiece> packed_piece(const Tensor& tensor) {
  if (const auto form = small_float_form(tensor)) {
    return PackedPiece{
        *form,
        mx::float16,
        [tensor,
         form = *form](std::int64_t first, std::int64_t count, mx::Stream) {
          return stored_rows(tensor, form, first, count);
        }};
  }
  const auto affine = affine_form(tensor);
  if (!affine || tensor.foreign.inverse_scales ||
      tensor.cols % affine->group_size != 0) {
    return std::nullopt;
  }
  const MlxForm form{affine->bits, affine->group_size, "affine"};
  return PackedPiece{
      form,
      scale_dtype(tensor),
      [tensor,
       form](std::int64_t first, std::int64_t count, mx::Stream stream) {
        return affine_rows(tensor, form, first, count, stream);
      }};
}

}  // namespace

RowTensor foreign_row_tensor(
    const Tensor& tensor,
    const SafetensorsEntry& codes) {
  RowTensor out;
  out.name = tensor.name;
  out.shape = {tensor.rows, tensor.cols};
  // Blocks of a stack of experts: [experts, rows, groups, 16].
  if (codes.shape.size() == 4) {
    out.shape = {codes.shape[0], tensor.rows / codes.shape[0], tensor.cols};
  }
  out.dtype = mx::float32;
  out.pieces.push_back(
      {tensor.rows,
       [tensor](std::int64_t first, std::int64_t count, mx::Stream) {
         return decoded_rows(tensor, first, count);
       },
       packed_piece(tensor)});
  return out;
}

}  // namespace roofline
