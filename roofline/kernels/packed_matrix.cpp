#include "roofline/kernels/packed_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "roofline/base/errors.h"
#include "roofline/base/half.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

std::size_t dense_size(PackedFormat format) {
  return format == PackedFormat::f32 ? 4 : 2;
}

std::uint32_t load_word(const std::uint8_t* from) {
  std::uint32_t word = 0;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

/// Puts one row's codes at their places in a row block.
void place_codes(
    const std::uint8_t* codes,
    PackedFormat format,
    int groups,
    int row_in_block,
    std::byte* block) {
  for (int group = 0; group < groups; ++group, codes += kGroup) {
    std::byte* line = block + 4 * row_in_block;
    if (has_nibbles(format)) {
      for (int j = 0; j < kGroup; j += 8, line += 64) {
        const std::uint32_t word =
            load_word(codes + j) | (load_word(codes + j + 4) << 4);
        std::memcpy(line, &word, sizeof(word));
      }
    } else {
      for (int j = 0; j < kGroup; j += 4, line += 64) {
        std::memcpy(line, codes + j, 4);
      }
    }
    block += group_bytes(format);
  }
}

/// The power of two that brings `most` just below the end of f16's range.
float unit_for(float most) {
  if (!(most > 0) || !std::isfinite(most)) {
    return 0;
  }
  int exponent = 0;
  std::frexp(most, &exponent);
  float unit = std::ldexp(1.0f, exponent - 16);
  if (std::isinf(f16_to_f32(f32_to_f16(most / unit)))) {
    unit *= 2;
  }
  // Below 2^-126 the unit itself would lose bits; such weights are zero.
  return std::max(unit, std::numeric_limits<float>::min());
}

CodeTable table_of(const CodeForm& form) {
  return form.table != nullptr ? *form.table : kOwnValues;
}

bool fits(const CodeForm& form, PackedFormat format) {
  const PackedFormat own = packed_format(form);
  return own == format ||
         (own == PackedFormat::q4 && format == PackedFormat::q8);
}

struct Source {
  const Tensor* tensor;
  int group_size;
  std::int64_t first_row;  ///< in the stack
};

/// A thread's buffers for one row block.
struct Scratch {
  /// own_groups: of a source's row, at most so many.
  Scratch(int cols, int sets, int own_groups)
      : codes(static_cast<std::size_t>(cols)),
        scales(static_cast<std::size_t>(kRowBlock * sets)),
        biases(scales.size()),
        row_scales(static_cast<std::size_t>(own_groups)),
        row_biases(row_scales.size()) {}
  std::vector<std::uint8_t> codes;
  std::vector<float> scales;  ///< [sets, 16]
  std::vector<float> biases;
  std::vector<float> row_scales;
  std::vector<float> row_biases;
};

class Packer {
 public:
  Packer(
      std::span<const Tensor* const> tensors,
      PackedFormat format,
      std::span<std::byte> out);

  int blocks() const { return matrix_.row_blocks(); }
  void pack_block(int block, Scratch& scratch);
  /// Brings all blocks to one unit.
  PackedMatrix finish(ThreadPool& pool);
  Scratch scratch() const {
    return {matrix_.cols, sets(), matrix_.cols / kLeastGroup};
  }

 private:
  static constexpr int kLeastGroup = 16;

  /// Scales a row.
  int sets() const { return matrix_.groups() * scale_sets(matrix_.format); }
  void pack_row(std::int64_t row, int row_in_block, std::byte* out, Scratch& s)
      const;
  /// Where in a block's stream the scales of a set are.
  int scales_at(int set) const {
    const int each = scale_sets(matrix_.format);
    return set / each * matrix_.group_bytes() + matrix_.code_bytes() +
           set % each * kGroupScales;
  }
  std::byte* block_at(int block) const {
    return out_ + (matrix_.block(block) - matrix_.data);
  }

  std::vector<Source> sources_;
  PackedMatrix matrix_;
  std::byte* out_;
  std::vector<float> units_;  ///< of each block; 0 when all is zero
};

Packer::Packer(
    std::span<const Tensor* const> tensors,
    PackedFormat format,
    std::span<std::byte> out)
    : out_(out.data()) {
  std::int64_t rows = 0;
  for (const Tensor* tensor : tensors) {
    const auto form = code_form(*tensor);
    const bool table_fits =
        form && (sources_.empty() || table_of(*form) == matrix_.table);
    if (!table_fits || !fits(*form, format) ||
        tensor->cols != tensors[0]->cols) {
      fail<BugError>(
          "Can't pack " + tensor->name,
          "Its encoding or width doesn't fit the packed format",
          "Ask packed_format() first");
    }
    matrix_.table = table_of(*form);
    sources_.push_back({tensor, form->group_size, rows});
    rows += tensor->rows;
  }
  const std::int64_t cols = tensors.empty() ? 0 : tensors[0]->cols;
  if (out.size() < packed_bytes(format, rows, cols) ||
      rows > std::numeric_limits<int>::max() - kRowBlock ||
      cols > std::numeric_limits<int>::max()) {
    fail<BugError>(
        "Can't pack " + std::to_string(rows) + " rows",
        "The place for them is too small",
        "Allocate packed_bytes()");
  }
  matrix_.format = format;
  matrix_.rows = static_cast<int>(rows);
  matrix_.cols = static_cast<int>(cols);
  matrix_.data = out.data();
  units_.resize(static_cast<std::size_t>(blocks()));
}

void Packer::pack_row(
    std::int64_t row,
    int row_in_block,
    std::byte* out,
    Scratch& s) const {
  auto source = sources_.end() - 1;
  while (source->first_row > row) {
    --source;
  }
  const auto own_groups =
      static_cast<std::size_t>(matrix_.cols / source->group_size);
  const int repeat = source->group_size * scale_sets(matrix_.format) / kGroup;
  read_code_row(
      *source->tensor,
      row - source->first_row,
      {s.codes,
       std::span(s.row_scales).first(own_groups),
       std::span(s.row_biases).first(own_groups)});
  place_codes(
      s.codes.data(),
      matrix_.format,
      matrix_.groups(),
      row_in_block,
      out);
  for (int set = 0; set < sets(); ++set) {
    const auto from = static_cast<std::size_t>(set / repeat);
    const auto to = static_cast<std::size_t>(set * kRowBlock + row_in_block);
    s.scales[to] = s.row_scales[from];
    s.biases[to] = s.row_biases[from];
  }
}

float largest(const std::vector<float>& values) {
  float most = 0;
  for (float value : values) {
    const float magnitude = std::fabs(value);
    if (magnitude > most && std::isfinite(magnitude)) {
      most = magnitude;
    }
  }
  return most;
}

void Packer::pack_block(int block, Scratch& scratch) {
  std::byte* out = block_at(block);
  const int first = block * kRowBlock;
  const int rows = std::min(kRowBlock, matrix_.rows - first);
  if (rows < kRowBlock) {
    std::memset(
        out,
        0,
        static_cast<std::size_t>(matrix_.groups() * matrix_.group_bytes()));
    std::fill(scratch.scales.begin(), scratch.scales.end(), 0.0f);
    std::fill(scratch.biases.begin(), scratch.biases.end(), 0.0f);
  }
  for (int row = 0; row < rows; ++row) {
    pack_row(first + row, row, out, scratch);
  }
  const float unit =
      unit_for(std::max(largest(scratch.scales), largest(scratch.biases)));
  units_[static_cast<std::size_t>(block)] = unit;
  const float inverse = unit > 0 ? 1 / unit : 1;
  for (int set = 0; set < sets(); ++set) {
    std::array<std::uint16_t, 2 * kRowBlock> halves;
    const auto from = static_cast<std::size_t>(set * kRowBlock);
    for (std::size_t i = 0; i < kRowBlock; ++i) {
      halves[i] = f32_to_f16(scratch.scales[from + i] * inverse);
      halves[kRowBlock + i] = f32_to_f16(scratch.biases[from + i] * inverse);
    }
    std::memcpy(out + scales_at(set), halves.data(), sizeof(halves));
  }
}

PackedMatrix Packer::finish(ThreadPool& pool) {
  float unit = 0;
  for (float of_block : units_) {
    unit = std::max(unit, of_block);
  }
  matrix_.unit = unit > 0 ? unit : 1.0f;
  auto rescale = [&](int block, int) {
    const float own = units_[static_cast<std::size_t>(block)];
    if (own == matrix_.unit || own == 0) {
      return;
    }
    const float factor = own / matrix_.unit;  // a power of two below 1
    for (int set = 0; set < sets(); ++set) {
      std::byte* at = block_at(block) + scales_at(set);
      std::array<std::uint16_t, 2 * kRowBlock> halves;
      std::memcpy(halves.data(), at, sizeof(halves));
      for (std::uint16_t& half : halves) {
        half = f32_to_f16(f16_to_f32(half) * factor);
      }
      std::memcpy(at, halves.data(), sizeof(halves));
    }
  };
  pool.run(blocks(), rescale);
  return matrix_;
}

void read_quantized_row(
    const PackedMatrix& matrix,
    int row,
    std::span<float> out) {
  const bool nibbles = has_nibbles(matrix.format);
  const int in_block = row % kRowBlock;
  const int set_cols = kGroup / scale_sets(matrix.format);
  const std::byte* group = matrix.block(row / kRowBlock);
  for (int g = 0; g < matrix.groups(); ++g, group += matrix.group_bytes()) {
    for (int first = 0; first < kGroup; first += set_cols) {
      std::array<std::uint16_t, 2 * kRowBlock> halves;
      std::memcpy(
          halves.data(),
          group + matrix.code_bytes() + first / set_cols * kGroupScales,
          sizeof(halves));
      const auto r = static_cast<std::size_t>(in_block);
      const float scale = matrix.unit * f16_to_f32(halves[r]);
      const float bias = matrix.unit * f16_to_f32(halves[kRowBlock + r]);
      for (int c = first; c < first + set_cols; ++c) {
        const int line = nibbles ? c / 8 : c / 4;
        const auto byte =
            static_cast<unsigned>(group[64 * line + 4 * in_block + c % 4]);
        const unsigned code = !nibbles    ? byte
                              : c % 8 < 4 ? byte & 15u
                                          : byte >> 4;
        const unsigned value =
            has_table(matrix.format) ? matrix.table[code] : code;
        out[static_cast<std::size_t>(g * kGroup + c)] =
            scale * static_cast<float>(value) + bias;
      }
    }
  }
}

}  // namespace

std::size_t PackedMatrix::bytes() const {
  return packed_bytes(format, rows, cols);
}

std::size_t packed_bytes(
    PackedFormat format,
    std::int64_t rows,
    std::int64_t cols) {
  if (!is_quantized(format)) {
    return static_cast<std::size_t>(rows * cols) * dense_size(format);
  }
  if (cols % kGroup != 0) {
    fail<UnsupportedError>(
        "A quantized matrix has " + std::to_string(cols) + " columns",
        "The packed form has groups of 32 columns",
        "Use a checkpoint that isn't quantized");
  }
  const std::int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  return static_cast<std::size_t>(
      blocks * (cols / kGroup) * group_bytes(format));
}

std::string_view format_name(PackedFormat format) {
  switch (format) {
    case PackedFormat::f32:
      return "f32";
    case PackedFormat::f16:
      return "f16";
    case PackedFormat::bf16:
      return "bf16";
    case PackedFormat::q4:
      return "q4";
    case PackedFormat::q8:
      return "q8";
    case PackedFormat::q4_table:
      return "q4 by table";
    case PackedFormat::q4_16:
      return "q4/16";
    case PackedFormat::q8_16:
      return "q8/16";
  }
  return "";
}

PackedFormat packed_format(const CodeForm& form) {
  const bool sixteen = form.group_size < kGroup;
  if (form.bits > 4) {
    return sixteen ? PackedFormat::q8_16 : PackedFormat::q8;
  }
  if (sixteen) {
    return PackedFormat::q4_16;
  }
  return form.table != nullptr ? PackedFormat::q4_table : PackedFormat::q4;
}

PackedMatrix pack(
    std::span<const Tensor* const> tensors,
    PackedFormat format,
    std::span<std::byte> out,
    ThreadPool& pool) {
  if (!is_quantized(format)) {
    fail<BugError>(
        "Can't pack into a dense format",
        "Dense matrices are read where they lie",
        "Use dense_view()");
  }
  Packer packer(tensors, format, out);
  std::vector<Scratch> scratch;
  for (int worker = 0; worker < pool.threads(); ++worker) {
    scratch.push_back(packer.scratch());
  }
  // A few blocks a piece: taking one costs less than a thousandth of its work.
  constexpr int kBlocks = 4;
  auto pack_some = [&](int piece, int worker) {
    const int end = std::min(packer.blocks(), (piece + 1) * kBlocks);
    for (int block = piece * kBlocks; block < end; ++block) {
      packer.pack_block(block, scratch[static_cast<std::size_t>(worker)]);
    }
  };
  pool.run((packer.blocks() + kBlocks - 1) / kBlocks, pack_some);
  return packer.finish(pool);
}

PackedMatrix dense_view(const Tensor& tensor) {
  PackedMatrix matrix;
  switch (tensor.encoding) {
    case Encoding::f32:
      matrix.format = PackedFormat::f32;
      break;
    case Encoding::f16:
      matrix.format = PackedFormat::f16;
      break;
    case Encoding::bf16:
      matrix.format = PackedFormat::bf16;
      break;
    default:
      fail<BugError>(
          "Can't view " + tensor.name + " as a dense matrix",
          "It is " + std::string(encoding_name(tensor.encoding)),
          "Use pack()");
  }
  matrix.rows = static_cast<int>(tensor.rows);
  matrix.cols = static_cast<int>(tensor.cols);
  matrix.data = tensor.bytes.data();
  if (tensor.bytes.size() < matrix.bytes()) {
    fail<CheckpointError>(
        tensor.name + " has " + std::to_string(tensor.bytes.size()) + " bytes",
        "Its shape needs " + std::to_string(matrix.bytes()),
        "Download the file again");
  }
  return matrix;
}

void read_packed_row(
    const PackedMatrix& matrix,
    int row,
    std::span<float> out) {
  if (row < 0 || row >= matrix.rows ||
      out.size() != static_cast<std::size_t>(matrix.cols)) {
    fail<BugError>(
        "Can't read row " + std::to_string(row) + " of " +
            std::to_string(matrix.rows),
        "The row or the place for it is wrong",
        "Check the ids against the vocabulary");
  }
  if (matrix.quantized()) {
    read_quantized_row(matrix, row, out);
    return;
  }
  const std::size_t size = dense_size(matrix.format);
  const std::byte* from =
      matrix.data + static_cast<std::size_t>(row) * out.size() * size;
  if (matrix.format == PackedFormat::f32) {
    std::memcpy(out.data(), from, out.size() * size);
    return;
  }
  for (float& value : out) {
    std::uint16_t half = 0;
    std::memcpy(&half, from, size);
    from += size;
    value = matrix.format == PackedFormat::f16 ? f16_to_f32(half)
                                               : bf16_to_f32(half);
  }
}

}  // namespace roofline
