// pack(): from a checkpoint's codes to the packed layout.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "roofline/base/errors.h"
#include "roofline/base/half.h"
#include "roofline/kernels/packed_matrix.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

std::uint32_t load_word(const std::uint8_t* from) {
  std::uint32_t word = 0;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

/// Puts a row's codes of one group at their places.
void place_codes(
    const std::uint8_t* codes,
    bool nibbles,
    int row_in_block,
    std::byte* group) {
  std::byte* line = group + 4 * row_in_block;
  if (nibbles) {
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

bool fits(const CodeForm& code_form, const PackedForm& form) {
  const PackedForm own = packed_form(code_form);
  const bool codes =
      own.format == form.format ||
      (own.format == PackedFormat::q4 && form.format == PackedFormat::q8);
  return codes && own.scale_groups % form.scale_groups == 0 &&
         (form.offset == 0 || form.offset == own.offset);
}

/// The factor that all the matrices have; 1 where they differ. In f16, scales
/// of four significant bits times a factor would be rounded.
float common_factor(std::span<const Tensor* const> tensors) {
  const float first = tensors.empty() ? 1 : tensors[0]->affine.factor;
  const bool same =
      std::all_of(tensors.begin(), tensors.end(), [&](const Tensor* tensor) {
        return tensor->affine.factor == first;
      });
  return same && first > 0 && std::isnormal(first) ? first : 1.0f;
}

struct Source {
  Tensor tensor;
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
      const PackedForm& form,
      std::span<std::byte> out);

  int blocks() const { return matrix_.row_blocks(); }
  void pack_block(int block, Scratch& scratch);
  /// Brings all blocks to one unit.
  PackedMatrix finish(ThreadPool& pool);
  Scratch scratch() const {
    return {matrix_.cols, matrix_.sets(), matrix_.cols / kLeastGroup};
  }

 private:
  static constexpr int kLeastGroup = 16;

  void pack_row(std::int64_t row, Scratch& s) const;
  /// Halves of a set that are written: scales, and biases where there are any.
  std::size_t set_halves() const {
    return static_cast<std::size_t>(matrix_.set_bytes()) / 2;
  }
  std::byte* block_at(int block) const {
    return writable(matrix_.block(block));
  }
  std::byte* writable(const std::byte* at) const {
    return out_ + (at - matrix_.data);
  }
  /// Calls fn(set, where its halves are) for the sets of a block.
  template <class F>
  void each_set(int block, F fn) const {
    const int in_group = scale_sets(matrix_.format);
    const BlockGroups groups = matrix_.block_groups(block);
    for (int set = 0; set < matrix_.sets(); ++set) {
      const int group = set / in_group * matrix_.scale_groups;
      fn(set, writable(groups.scales(group, set % in_group)));
    }
  }

  std::vector<Source> sources_;
  float factor_ = 1;  ///< of all scales, beside what is packed
  PackedMatrix matrix_;
  std::byte* out_;
  std::vector<float> units_;  ///< of each block; 0 when all is zero
};

Packer::Packer(
    std::span<const Tensor* const> tensors,
    const PackedForm& form,
    std::span<std::byte> out)
    : out_(out.data()) {
  std::int64_t rows = 0;
  for (const Tensor* tensor : tensors) {
    const auto own = code_form(*tensor);
    const bool table_fits =
        own && (sources_.empty() || table_of(*own) == matrix_.table);
    if (!table_fits || !fits(*own, form) || tensor->cols != tensors[0]->cols) {
      fail<BugError>(
          "Can't pack " + tensor->name,
          "Its encoding or width doesn't fit the packed format",
          "Ask packed_form() first");
    }
    matrix_.table = table_of(*own);
    sources_.push_back({*tensor, own->group_size, rows});
    rows += tensor->rows;
  }
  factor_ = common_factor(tensors);
  if (factor_ != 1) {
    for (Source& source : sources_) {
      source.tensor.affine.factor = 1;
    }
  }
  const std::int64_t cols = tensors.empty() ? 0 : tensors[0]->cols;
  if (out.size() < packed_bytes(form, rows, cols) ||
      rows > std::numeric_limits<int>::max() - kRowBlock ||
      cols > std::numeric_limits<int>::max()) {
    fail<BugError>(
        "Can't pack " + std::to_string(rows) + " rows",
        "The place for them is too small",
        "Allocate packed_bytes()");
  }
  static_cast<PackedForm&>(matrix_) = form;
  matrix_.rows = static_cast<int>(rows);
  matrix_.cols = static_cast<int>(cols);
  matrix_.data = out.data();
  units_.resize(static_cast<std::size_t>(blocks()));
}

void Packer::pack_row(std::int64_t row, Scratch& s) const {
  auto source = sources_.end() - 1;
  while (source->first_row > row) {
    --source;
  }
  const auto own_groups =
      static_cast<std::size_t>(matrix_.cols / source->group_size);
  read_code_row(
      source->tensor,
      row - source->first_row,
      {s.codes,
       std::span(s.row_scales).first(own_groups),
       std::span(s.row_biases).first(own_groups)});
  const auto row_in_block = static_cast<int>(row % kRowBlock);
  const BlockGroups groups =
      matrix_.block_groups(static_cast<int>(row / kRowBlock));
  for (int g = 0; g < matrix_.groups(); ++g) {
    place_codes(
        s.codes.data() + g * kGroup,
        has_nibbles(matrix_.format),
        row_in_block,
        writable(groups.codes(g)));
  }
  // A set's columns, and how many sets repeat a scale of the source.
  const int set_cols =
      kGroup * matrix_.scale_groups / scale_sets(matrix_.format);
  const int repeat = source->group_size / set_cols;
  for (int set = 0; set < matrix_.sets(); ++set) {
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
  const int first = block * kRowBlock;
  const int rows = std::min(kRowBlock, matrix_.rows - first);
  if (rows < kRowBlock) {
    const auto bytes = static_cast<std::size_t>(matrix_.block_bytes());
    std::memset(block_at(block), 0, bytes);
    std::fill(scratch.scales.begin(), scratch.scales.end(), 0.0f);
    std::fill(scratch.biases.begin(), scratch.biases.end(), 0.0f);
  }
  for (int row = 0; row < rows; ++row) {
    pack_row(first + row, scratch);
  }
  float most = largest(scratch.scales);
  if (matrix_.offset == 0) {
    most = std::max(most, largest(scratch.biases));
  }
  const float unit = unit_for(most);
  units_[static_cast<std::size_t>(block)] = unit;
  const float inverse = unit > 0 ? 1 / unit : 1;
  each_set(block, [&](int set, std::byte* out) {
    std::array<std::uint16_t, 2 * kRowBlock> halves;
    const auto from = static_cast<std::size_t>(set * kRowBlock);
    for (std::size_t i = 0; i < kRowBlock; ++i) {
      halves[i] = f32_to_f16(scratch.scales[from + i] * inverse);
      halves[kRowBlock + i] = f32_to_f16(scratch.biases[from + i] * inverse);
    }
    std::memcpy(out, halves.data(), set_halves() * sizeof(halves[0]));
  });
}

PackedMatrix Packer::finish(ThreadPool& pool) {
  float unit = 0;
  for (float of_block : units_) {
    unit = std::max(unit, of_block);
  }
  unit = unit > 0 ? unit : 1.0f;
  matrix_.unit = unit * factor_;
  auto rescale = [&](int block, int) {
    const float own = units_[static_cast<std::size_t>(block)];
    if (own == unit || own == 0) {
      return;
    }
    const float factor = own / unit;  // a power of two below 1
    each_set(block, [&](int, std::byte* at) {
      for (std::size_t i = 0; i < set_halves(); ++i, at += 2) {
        std::uint16_t half = 0;
        std::memcpy(&half, at, sizeof(half));
        half = f32_to_f16(f16_to_f32(half) * factor);
        std::memcpy(at, &half, sizeof(half));
      }
    });
  };
  pool.run(blocks(), rescale);
  return matrix_;
}

}  // namespace

PackedMatrix pack(
    std::span<const Tensor* const> tensors,
    const PackedForm& form,
    std::span<std::byte> out,
    ThreadPool& pool) {
  if (!form.quantized()) {
    fail<BugError>(
        "Can't pack into a dense format",
        "Dense matrices are read where they lie",
        "Use dense_view()");
  }
  Packer packer(tensors, form, out);
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

}  // namespace roofline
