#include "roofline/weights/convert/file_rows.h"

#include <cmath>
#include <utility>

#include "roofline/weights/encodings.h"

namespace roofline {

namespace mx = mlx::core;

FileRows::FileRows(
    const Tensor& tensor,
    Undo undo,
    std::shared_ptr<const Checkpoint> keep)
    : tensor_(&tensor),
      undo_(std::make_shared<const Undo>(std::move(undo))),
      keep_(std::move(keep)) {}

void FileRows::read_vector(std::span<float> out) const {
  std::vector<float> values(static_cast<std::size_t>(tensor_->cols));
  decode_row(*tensor_, 0, values);
  if (undo_->change) {
    undo_->change(0, values);
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto& rows = undo_->rows;
    out[i] = values[rows.empty() ? i : static_cast<std::size_t>(rows[i])];
  }
}

void FileRows::read_row(std::int64_t row, std::span<float> out) const {
  const auto& rows = undo_->rows;
  const auto& cols = undo_->cols;
  const std::int64_t own =
      rows.empty() ? row : rows[static_cast<std::size_t>(row)];
  if (cols.empty()) {
    decode_row(*tensor_, own, out);
    if (undo_->change) {
      undo_->change(own, out);
    }
    return;
  }
  std::vector<float> values(out.size());
  decode_row(*tensor_, own, values);
  if (undo_->change) {
    undo_->change(own, values);
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = values[static_cast<std::size_t>(cols[i])];
  }
}

mx::array FileRows::read(std::int64_t first, std::int64_t count) const {
  const auto cols = static_cast<std::size_t>(tensor_->cols);
  std::vector<float> values(static_cast<std::size_t>(count) * cols);
  if (tensor_->rows == 1) {
    read_vector(values);
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      read_row(
          first + i,
          std::span(values).subspan(static_cast<std::size_t>(i) * cols, cols));
    }
  }
  for (float& value : values) {
    value = undo_->log_negative ? std::log(-value) : value;
    value -= undo_->minus_one ? 1.0f : 0.0f;
  }
  return mx::array(
      values.begin(),
      {static_cast<int>(count), static_cast<int>(tensor_->cols)},
      mx::float32);
}

RowPiece FileRows::piece(std::int64_t first, std::int64_t count) const {
  return {
      count,
      [own = *this,
       first](std::int64_t begin, std::int64_t wanted, mx::Stream) {
        return own.read(first + begin, wanted);
      }};
}

std::function<void()> FileRows::release() const {
  return [tensor = tensor_, keep = keep_] { keep->release(*tensor); };
}

RowTensor FileRows::tensor() const {
  RowTensor out;
  out.shape = rows() == 1 ? std::vector<std::int64_t>{cols()}
                          : std::vector<std::int64_t>{rows(), cols()};
  out.dtype = mx::float32;
  out.rearranged = undo_->rearranges();
  out.pieces.push_back(piece(0, rows()));
  out.release = release();
  return out;
}

RowTensor joined_vectors(
    std::string name,
    const std::vector<FileRows>& parts,
    std::vector<std::int64_t> order) {
  std::int64_t count = 0;
  for (const FileRows& part : parts) {
    count += part.cols();
  }
  RowTensor out;
  out.name = std::move(name);
  out.shape = {count};
  out.rearranged = !order.empty();
  out.pieces.push_back(
      {1,
       [parts,
        order = std::move(order),
        count](std::int64_t, std::int64_t, mx::Stream) {
         std::vector<float> values;
         for (const FileRows& part : parts) {
           mx::array each = part.read(0, 1);
           each.eval();
           values.insert(
               values.end(),
               each.data<float>(),
               each.data<float>() + part.cols());
         }
         std::vector<float> taken(values.size());
         for (std::size_t i = 0; i < values.size(); ++i) {
           const auto from =
               order.empty() ? i : static_cast<std::size_t>(order[i]);
           taken[i] = values[from];
         }
         return mx::array(
             taken.begin(),
             {1, static_cast<int>(count)},
             mx::float32);
       }});
  return out;
}

std::vector<std::int64_t> inverse_of(const std::vector<std::int64_t>& order) {
  std::vector<std::int64_t> out(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    out[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  }
  return out;
}

}  // namespace roofline
