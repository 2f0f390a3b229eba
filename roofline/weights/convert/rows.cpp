#include "roofline/weights/convert/rows.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <mlx/allocator.h>
#include <mlx/ops.h>

#include "roofline/base/errors.h"
#include "roofline/weights/printable.h"

namespace roofline {

namespace mx = mlx::core;

std::int64_t RowTensor::rows() const {
  std::int64_t out = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) {
    out *= shape[i];
  }
  return out;
}

namespace {

/// Calls fn(piece, begin, count) for the pieces that hold the rows.
template <class Fn>
void for_pieces(
    const std::vector<RowPiece>& pieces,
    std::int64_t first,
    std::int64_t count,
    Fn fn) {
  for (const RowPiece& piece : pieces) {
    const std::int64_t begin = std::max<std::int64_t>(first, 0);
    const std::int64_t end = std::min(first + count, piece.rows);
    if (begin < end) {
      fn(piece, begin, end - begin);
    }
    first -= piece.rows;
  }
}

mx::array joined(std::vector<mx::array> parts, mx::Stream stream) {
  return parts.size() == 1 ? parts[0]
                           : mx::concatenate(std::move(parts), 0, stream);
}

}  // namespace

mx::array RowTensor::read(
    std::int64_t first,
    std::int64_t count,
    mx::Stream stream) const {
  std::vector<mx::array> parts;
  for_pieces(pieces, first, count, [&](const RowPiece& piece, auto at, auto n) {
    parts.push_back(piece.read(at, n, stream));
  });
  return joined(std::move(parts), stream);
}

const PackedPiece* RowTensor::packed() const {
  const PackedPiece* first = nullptr;
  for (const RowPiece& piece : pieces) {
    if (!piece.packed ||
        (first != nullptr && (piece.packed->form != first->form ||
                              piece.packed->dtype != first->dtype))) {
      return nullptr;
    }
    first = &*piece.packed;
  }
  return first;
}

std::vector<mx::array> RowTensor::read_packed(
    std::int64_t first,
    std::int64_t count,
    mx::Stream stream) const {
  std::vector<std::vector<mx::array>> parts;
  for_pieces(pieces, first, count, [&](const RowPiece& piece, auto at, auto n) {
    const auto arrays = piece.packed->read(at, n, stream);
    parts.resize(arrays.size());
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      parts[i].push_back(arrays[i]);
    }
  });
  std::vector<mx::array> out;
  for (auto& each : parts) {
    out.push_back(joined(std::move(each), stream));
  }
  return out;
}

RowPiece RowTensor::part(std::int64_t first, std::int64_t count) const {
  RowPiece out{
      count,
      [source = *this,
       first](std::int64_t begin, std::int64_t rows, mx::Stream stream) {
        return source.read(first + begin, rows, stream);
      }};
  if (const PackedPiece* own = packed()) {
    out.packed = PackedPiece{
        own->form,
        own->dtype,
        [source = *this,
         first](std::int64_t begin, std::int64_t rows, mx::Stream stream) {
          return source.read_packed(first + begin, rows, stream);
        }};
  }
  return out;
}

mx::array view_bytes(
    std::span<const std::byte> bytes,
    mx::Shape shape,
    mx::Dtype dtype) {
  const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
  if (address % mx::size_of(dtype) == 0) {
    return mx::array(
        const_cast<void*>(static_cast<const void*>(bytes.data())),
        std::move(shape),
        dtype,
        [](void*) {});
  }
  // A safetensors tensor can begin anywhere.
  void* copy = std::malloc(bytes.size());
  std::memcpy(copy, bytes.data(), bytes.size());
  return mx::array(copy, std::move(shape), dtype, [](void* p) {
    std::free(p);
  });
}

RowTensor rows_of(const SafetensorsEntry& entry, const std::string& label) {
  const auto encoding = entry.encoding();
  if (!encoding) {
    fail<UnsupportedError>(
        fmt::format("{}: can't convert {}", label, printable(entry.name)),
        fmt::format("Its dtype is {}; F32, F16 and BF16 can be", entry.dtype),
        "Take the checkpoint in one of these");
  }
  RowTensor out;
  out.name = entry.name;
  out.shape = entry.shape;
  out.dtype = *encoding == Encoding::f32   ? mx::float32
              : *encoding == Encoding::f16 ? mx::float16
                                           : mx::bfloat16;
  const std::size_t row =
      out.rows() == 0
          ? 0
          : entry.bytes.size() / static_cast<std::size_t>(out.rows());
  const auto cols = static_cast<int>(out.cols());
  const auto read = [bytes = entry.bytes, row, cols, dtype = out.dtype](
                        std::int64_t first,
                        std::int64_t count,
                        mx::Stream) {
    return view_bytes(
        bytes.subspan(
            row * static_cast<std::size_t>(first),
            row * static_cast<std::size_t>(count)),
        {static_cast<int>(count), cols},
        dtype);
  };
  out.pieces.push_back({out.rows(), read});
  return out;
}

RowTensor computed_rows(
    std::string name,
    std::vector<std::int64_t> shape,
    mx::Dtype dtype,
    std::function<mx::array(mx::Stream)> compute) {
  RowTensor out;
  out.name = std::move(name);
  out.shape = std::move(shape);
  out.dtype = dtype;
  const auto rows = static_cast<int>(out.rows());
  const auto cols = static_cast<int>(out.cols());
  const auto read = [compute = std::move(compute), rows, cols](
                        std::int64_t first,
                        std::int64_t count,
                        mx::Stream stream) {
    const mx::array whole = mx::reshape(compute(stream), {rows, cols}, stream);
    return mx::slice(
        whole,
        {static_cast<int>(first), 0},
        {static_cast<int>(first + count), cols},
        stream);
  };
  out.pieces.push_back({rows, read});
  return out;
}

}  // namespace roofline
