#include "roofline/weights/expert_tensors.h"

#include "roofline/spec/tensor_names.h"

namespace roofline {

namespace {

std::span<const std::byte> slice(
    std::span<const std::byte> bytes,
    std::int64_t rows,
    std::int64_t begin,
    std::int64_t count) {
  const std::size_t row = bytes.size() / static_cast<std::size_t>(rows);
  return bytes.subspan(
      row * static_cast<std::size_t>(begin),
      row * static_cast<std::size_t>(count));
}

}  // namespace

Tensor row_slice(const Tensor& tensor, std::int64_t begin, std::int64_t rows) {
  Tensor out = tensor;
  out.rows = rows;
  if (tensor.foreign.stored_rows > 0) {
    out.foreign.first_row += begin * out.foreign.row_step;
    return out;
  }
  out.bytes = slice(tensor.bytes, tensor.rows, begin, rows);
  out.affine.scales = slice(tensor.affine.scales, tensor.rows, begin, rows);
  out.affine.biases = slice(tensor.affine.biases, tensor.rows, begin, rows);
  return out;
}

std::vector<Tensor> expert_tensors(
    const Checkpoint& checkpoint,
    const std::string& name,
    int experts) {
  std::vector<Tensor> out;
  if (const Tensor* stack = checkpoint.find(name)) {
    const std::int64_t rows = stack->rows / experts;
    for (int e = 0; e < experts; ++e) {
      out.push_back(row_slice(*stack, e * rows, rows));
    }
    return out;
  }
  const ExpectedTensor pieces{name, 0, 0, false, experts};
  if (checkpoint.find(pieces.piece(0)) == nullptr) {
    return out;
  }
  for (int e = 0; e < experts; ++e) {
    out.push_back(checkpoint.at(pieces.piece(e)));
  }
  return out;
}

}  // namespace roofline
