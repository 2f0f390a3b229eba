#include "roofline/weights/convert/gguf_rows.h"

#include <algorithm>

#include "roofline/base/errors.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/expert_tensors.h"

namespace roofline {

GgufRows::GgufRows(
    const Checkpoint& checkpoint,
    const GgufSource& source,
    const WeightChanges* changes)
    : source_(source), changes_(changes) {
  for (const std::string& name : source.ours) {
    add_parts(checkpoint, name);
  }
  for (const Tensor* part : parts_) {
    cols_ = part->cols;
    rows_ += part->rows;
  }
  if (in_turns()) {
    (is_bias() ? cols_ : rows_) /= 2;
  }
  if (source.planes > 0) {
    take_planes();
  }
  // Vectors are joined end to end.
  if (source.experts == 0 && source.planes == 0 &&
      rows_ == static_cast<std::int64_t>(parts_.size())) {
    vector_ = parts_.front()->rows == 1;
  }
  if (vector_) {
    cols_ = 0;
    for (const Tensor* part : parts_) {
      cols_ += part->cols;
    }
    rows_ = 1;
  }
}

std::vector<std::int64_t> GgufRows::shape() const {
  if (vector_ && source_.vector_cols > 0) {
    return {source_.vector_cols, cols_ / source_.vector_cols};
  }
  if (vector_) {
    return {cols_};
  }
  if (source_.planes > 0) {
    return {cols_, rows_ / source_.planes, source_.planes};
  }
  if (source_.experts == 0 || is_bias()) {
    return {cols_, rows_};
  }
  return {cols_, rows_ / source_.experts, source_.experts};
}

bool GgufRows::has_blocks() const {
  return std::all_of(parts_.begin(), parts_.end(), [&](const Tensor* part) {
    const bool changed = changes_ != nullptr && changes_->contains(part->name);
    return part->encoding == Encoding::mlx_mxfp4 && part->affine.factor == 1 &&
           !changed;
  });
}

void GgufRows::read_blocks(std::int64_t row, std::span<std::byte> out) const {
  constexpr std::size_t kHalf = 16;
  const auto [part, inner] = find(source_row(row));
  const Tensor one = row_slice(*part, inner, 1);
  const auto code = [&](std::size_t at) {
    const auto pair = std::to_integer<unsigned>(one.bytes[at / 2]);
    return at % 2 == 0 ? pair & 15 : pair >> 4;
  };
  for (std::size_t group = 0; group < one.affine.scales.size(); ++group) {
    std::byte* block = out.data() + group * (kHalf + 1);
    block[0] = one.affine.scales[group];
    for (std::size_t i = 0; i < kHalf; ++i) {
      const std::size_t first = group * 2 * kHalf + i;
      block[i + 1] =
          static_cast<std::byte>(code(first) | code(first + kHalf) << 4);
    }
  }
}

void GgufRows::read(std::int64_t row, std::span<float> out) const {
  if (vector_) {
    read_vector(out);
  } else if (source_.change == GgufChange::latent_keys) {
    read_turned_keys(row, out);
  } else if (in_turns() && is_bias()) {
    read_every_second(row, out);
  } else {
    const auto [part, inner] = find(source_row(row));
    decode(*part, inner, out);
  }
  if (source_.change == GgufChange::add_one) {
    for (float& value : out) {
      value += 1;
    }
  }
}

void GgufRows::release(const Checkpoint& checkpoint) const {
  turned_ = {};
  for (const Tensor* part : parts_) {
    checkpoint.release(*part);
  }
}

/// A stack of experts, or each in its own tensor.
void GgufRows::add_parts(
    const Checkpoint& checkpoint,
    const std::string& name) {
  if (source_.experts == 0 || checkpoint.find(name) != nullptr) {
    parts_.push_back(&checkpoint.at(name));
    return;
  }
  const ExpectedTensor stack{name, 0, 0, false, source_.experts};
  for (int i = 0; i < source_.experts; ++i) {
    parts_.push_back(&checkpoint.at(stack.piece(i)));
  }
}

/// Of [heads · (keys + values), rank]: keys as [heads · rank, keys], values
/// as [heads · values, rank].
void GgufRows::take_planes() {
  const std::int64_t keys = source_.key_dims;
  if (source_.change == GgufChange::latent_keys) {
    rank_ = cols_;
    per_head_ = rows_ / source_.planes;
    rows_ = source_.planes * rank_;
    cols_ = keys;
  } else if (source_.change == GgufChange::latent_values) {
    per_head_ = rows_ / source_.planes;
    rows_ -= source_.planes * keys;
  }
}

/// A column of a head's keys. The whole is turned at the first one.
void GgufRows::read_turned_keys(std::int64_t row, std::span<float> out) const {
  std::call_once(*turned_once_, [&] { turn_keys(); });
  const auto begin = turned_.begin() + static_cast<std::ptrdiff_t>(row * cols_);
  std::copy(begin, begin + static_cast<std::ptrdiff_t>(cols_), out.begin());
}

void GgufRows::turn_keys() const {
  turned_.resize(static_cast<std::size_t>(rows_ * cols_));
  std::vector<float> values(static_cast<std::size_t>(rank_));
  for (std::int64_t head = 0; head < source_.planes; ++head) {
    for (std::int64_t key = 0; key < cols_; ++key) {
      const auto [part, inner] = find(head * per_head_ + key);
      decode(*part, inner, values);
      for (std::int64_t i = 0; i < rank_; ++i) {
        turned_[static_cast<std::size_t>((head * rank_ + i) * cols_ + key)] =
            values[static_cast<std::size_t>(i)];
      }
    }
  }
}

bool GgufRows::in_turns() const {
  return source_.change == GgufChange::even_rows ||
         source_.change == GgufChange::odd_rows;
}
std::int64_t GgufRows::first_in_turns() const {
  return source_.change == GgufChange::odd_rows ? 1 : 0;
}

void GgufRows::read_every_second(std::int64_t row, std::span<float> out) const {
  const auto [part, inner] = find(row);
  std::vector<float> all(static_cast<std::size_t>(part->cols));
  decode_row(*part, inner, all);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = all[2 * i + static_cast<std::size_t>(first_in_turns())];
  }
}

/// The place of ours that goes to place `row` of the file's: pair i of a
/// head is at i and i + half here, at 2i and 2i + 1 there.
std::int64_t GgufRows::source_row(std::int64_t row) const {
  if (in_turns()) {
    return 2 * row + first_in_turns();
  }
  if (source_.change == GgufChange::latent_values) {
    const std::int64_t values = per_head_ - source_.key_dims;
    return row / values * per_head_ + source_.key_dims + row % values;
  }
  if (source_.change != GgufChange::turn_heads) {
    return row;
  }
  const std::int64_t all = vector_ ? cols_ : rows_;
  const std::int64_t head_dim = all / source_.heads;
  const std::int64_t within = row % head_dim;
  return row - within + within % 2 * (head_dim / 2) + within / 2;
}

std::pair<const Tensor*, std::int64_t> GgufRows::find(std::int64_t row) const {
  for (const Tensor* part : parts_) {
    if (row < part->rows) {
      return {part, row};
    }
    row -= part->rows;
  }
  fail<BugError>("convert: a row is out of range", source_.name, "");
}

void GgufRows::read_vector(std::span<float> out) const {
  std::vector<float> values(out.size());
  std::size_t at = 0;
  for (const Tensor* part : parts_) {
    const auto count = static_cast<std::size_t>(part->cols);
    decode(*part, 0, std::span(values).subspan(at, count));
    at += count;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = values[static_cast<std::size_t>(
        source_row(static_cast<std::int64_t>(i)))];
  }
}

void GgufRows::decode(
    const Tensor& part,
    std::int64_t row,
    std::span<float> out) const {
  decode_row(part, row, out);
  if (changes_ == nullptr) {
    return;
  }
  if (const auto found = changes_->find(part.name); found != changes_->end()) {
    found->second(row, out);
  }
}

}  // namespace roofline
