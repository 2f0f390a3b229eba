#include "roofline/weights/rearrange.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/weights/printable.h"

namespace roofline {

namespace {

std::size_t float_bytes(Encoding encoding) {
  switch (encoding) {
    case Encoding::f32:
      return 4;
    case Encoding::f16:
    case Encoding::bf16:
      return 2;
    default:
      return 0;
  }
}

std::span<const std::byte> keep(MadeBytes& made, std::vector<std::byte> bytes) {
  made.push_back(std::move(bytes));
  return made.back();
}

/// [rows, cols] floats as [cols, rows]; in blocks, so that both sides stay in
/// the cache.
Tensor turned(const Tensor& source, MadeBytes& made, const std::string& label) {
  constexpr std::int64_t kBlock = 32;
  const std::size_t size = float_bytes(source.encoding);
  if (size == 0) {
    fail<UnsupportedError>(
        fmt::format("{}: can't read {}", label, printable(source.name)),
        "It is stored as [in, out] and packed, so it can't be turned",
        "Take a checkpoint whose weights aren't packed");
  }
  std::vector<std::byte> bytes(source.bytes.size());
  for (std::int64_t top = 0; top < source.rows; top += kBlock) {
    const std::int64_t bottom = std::min(source.rows, top + kBlock);
    for (std::int64_t col = 0; col < source.cols; ++col) {
      for (std::int64_t row = top; row < bottom; ++row) {
        std::memcpy(
            bytes.data() + (col * source.rows + row) * size,
            source.bytes.data() + (row * source.cols + col) * size,
            size);
      }
    }
  }
  Tensor out = source;
  std::swap(out.rows, out.cols);
  out.bytes = keep(made, std::move(bytes));
  return out;
}

/// The runs of rows that `wanted` names, out of `rows` rows of equal bytes.
std::span<const std::byte> gather(
    std::span<const std::byte> bytes,
    std::int64_t rows,
    const NamedRows& wanted,
    MadeBytes& made) {
  const std::size_t row = bytes.size() / static_cast<std::size_t>(rows);
  const auto run = [&](std::int64_t index) {
    return bytes.subspan(
        row * static_cast<std::size_t>(
                  wanted.row_begin + index * wanted.run_stride),
        row * static_cast<std::size_t>(wanted.rows));
  };
  if (wanted.runs == 1 || bytes.empty()) {
    return run(0);
  }
  std::vector<std::byte> out;
  for (std::int64_t i = 0; i < wanted.runs; ++i) {
    const auto part = run(i);
    out.insert(out.end(), part.begin(), part.end());
  }
  return keep(made, std::move(out));
}

[[noreturn]] void refuse_foreign(
    const Tensor& tensor,
    const std::string& label) {
  fail<UnsupportedError>(
      fmt::format("{}: can't read {}", label, printable(tensor.name)),
      "Its rows must be gathered or joined, which their packing doesn't allow",
      "Take a checkpoint of another layout or an unquantized one");
}

void check_rows(
    const Tensor& whole,
    const NamedRows& wanted,
    const std::string& label,
    std::string_view config) {
  const std::int64_t last = (wanted.runs - 1) * wanted.run_stride;
  if (wanted.row_begin >= 0 && wanted.rows > 0 && last >= 0 &&
      wanted.row_begin <= whole.rows - wanted.rows - last) {
    return;
  }
  fail<CheckpointError>(
      fmt::format("{}: tensor {} is too small", label, printable(whole.name)),
      fmt::format(
          "It has {} rows; {} asks for rows {} to {} of it as {}",
          whole.rows,
          config,
          wanted.row_begin,
          wanted.row_begin + wanted.rows + last,
          wanted.name),
      fmt::format("Check that {} belongs to these weights", config));
}

}  // namespace

Tensor take_rows(
    const Tensor& source,
    const NamedRows& asked,
    MadeBytes& made,
    const std::string& label,
    std::string_view config) {
  NamedRows wanted = asked;
  const bool vector = source.rows == 1;
  Tensor whole =
      wanted.transposed && !vector ? turned(source, made, label) : source;
  Tensor out = whole;
  out.name = wanted.name;
  if (wanted.rows == 0 && wanted.row_begin == 0) {
    return out;
  }
  if (vector) {
    std::swap(whole.rows, whole.cols);
  }
  if (wanted.rows == 0) {
    wanted.rows = whole.rows - wanted.row_begin;
  }
  check_rows(whole, wanted, label, config);
  const std::int64_t rows = wanted.rows * wanted.runs;
  out.rows = vector ? 1 : rows;
  out.cols = vector ? rows : whole.cols;
  if (source.foreign.stored_rows > 0) {
    if (wanted.runs != 1) {
      refuse_foreign(source, label);
    }
    out.foreign.first_row += wanted.row_begin;
    return out;
  }
  out.bytes = gather(whole.bytes, whole.rows, wanted, made);
  out.affine.scales = gather(whole.affine.scales, whole.rows, wanted, made);
  out.affine.biases = gather(whole.affine.biases, whole.rows, wanted, made);
  return out;
}

Tensor stack_rows(
    const std::vector<const Tensor*>& pieces,
    const std::string& name,
    MadeBytes& made,
    const std::string& label) {
  Tensor out = *pieces.front();
  std::vector<std::byte> bytes;
  for (const Tensor* piece : pieces) {
    if (piece->foreign.stored_rows > 0) {
      refuse_foreign(*piece, label);
    }
    if (piece->encoding != out.encoding || piece->rows != out.rows ||
        piece->cols != out.cols || !piece->affine.scales.empty()) {
      fail<CheckpointError>(
          fmt::format("{}: the parts of {} differ", label, name),
          fmt::format(
              "{} and {} must be alike",
              printable(pieces.front()->name),
              printable(piece->name)),
          "Check that the files belong to one checkpoint");
    }
    bytes.insert(bytes.end(), piece->bytes.begin(), piece->bytes.end());
  }
  out.name = name;
  out.rows *= static_cast<std::int64_t>(pieces.size());
  out.bytes = keep(made, std::move(bytes));
  return out;
}

}  // namespace roofline
