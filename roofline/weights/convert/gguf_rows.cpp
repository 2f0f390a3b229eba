#include "roofline/weights/convert/gguf_rows.h"

#include <algorithm>
#include <cmath>

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
  if (!source.rows.empty()) {
    (vector_ ? cols_ : rows_) = static_cast<std::int64_t>(source.rows.size());
  }
  if (!source.cols.empty()) {
    cols_ = static_cast<std::int64_t>(source.cols.size());
  }
  if (source.change == GgufChange::latent_keys) {
    // [heads · (keys + values), rank] becomes [heads · rank, keys].
    rank_ = cols_;
    per_head_ = rows_ / source.planes;
    rows_ = source.planes * rank_;
    cols_ = source.key_dims;
  }
}

std::vector<std::int64_t> GgufRows::shape() const {
  if (!source_.sizes.empty()) {
    return source_.sizes;
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
  if (!source_.cols.empty() || !source_.factors.empty()) {
    return false;
  }
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
  } else {
    read_row(row, out);
  }
  change(row, out);
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

std::int64_t GgufRows::source_row(std::int64_t row) const {
  return source_.rows.empty() ? row
                              : source_.rows[static_cast<std::size_t>(row)];
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
  std::vector<float> values;
  for (const Tensor* part : parts_) {
    const std::size_t at = values.size();
    values.resize(at + static_cast<std::size_t>(part->cols));
    decode(*part, 0, std::span(values).subspan(at));
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = values[static_cast<std::size_t>(
        source_row(static_cast<std::int64_t>(i)))];
  }
}

void GgufRows::read_row(std::int64_t row, std::span<float> out) const {
  const auto [part, inner] = find(source_row(row));
  if (source_.cols.empty()) {
    decode(*part, inner, out);
    return;
  }
  std::vector<float> values(static_cast<std::size_t>(part->cols));
  decode(*part, inner, values);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = values[static_cast<std::size_t>(source_.cols[i])];
  }
}

void GgufRows::change(std::int64_t row, std::span<float> out) const {
  const auto& factors = source_.factors;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (source_.change == GgufChange::add_one) {
      out[i] += 1;
    } else if (source_.change == GgufChange::negative_exp) {
      out[i] = -std::exp(out[i]);
    }
    if (!factors.empty()) {
      const std::size_t own = vector_ ? i : static_cast<std::size_t>(row);
      out[i] *= factors[factors.size() == 1 ? 0 : own];
    }
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
