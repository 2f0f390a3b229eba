#include "roofline/model/graph_weights.h"

#include <map>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/model/graph_forms.h"
#include "roofline/weights/encodings.h"

namespace roofline {

std::size_t GraphMatrix::bytes() const {
  std::size_t sum = bias ? bias->nbytes() : 0;
  for (const auto& part : parts) {
    sum += part.bytes();
  }
  return sum;
}

mx::Dtype stored_dtype(const Checkpoint& checkpoint) {
  std::map<mx::Dtype::Val, std::size_t> bytes;
  for (const auto& tensor : checkpoint.tensors()) {
    if (tensor.rows > 1) {
      const auto form = form_of(tensor, mx::float16);
      bytes[form.dtype.val()] += tensor.total_bytes();
    }
  }
  auto best = mx::float16;
  for (const auto dtype : {mx::float16, mx::bfloat16, mx::float32}) {
    if (bytes[dtype.val()] > bytes[best.val()]) {
      best = dtype;
    }
  }
  return best;
}

bool requantized_in_graph(const Tensor& tensor) {
  return form_of(tensor, mx::float16).kind == GraphForm::Kind::requantized;
}

GraphWeights::GraphWeights(
    const Checkpoint& checkpoint,
    const GraphWeightOptions& options)
    : checkpoint_(checkpoint), options_(options) {}

int GraphWeights::bits_of(const std::string& name) const {
  const auto layers = static_cast<int>(checkpoint_.spec().layers.size());
  return options_.quantize ? options_.quantize->bits_of(name, layers) : 0;
}

GraphMatrixPart GraphWeights::quantized(
    const GraphMatrixPart& part,
    int cols,
    int bits) const {
  const auto& choice = *options_.quantize;
  if (part.scales || cols % choice.group_size != 0) {
    return part;
  }
  const auto source = mx::astype(part.weight, options_.activations);
  auto arrays = mx::quantize(source, choice.group_size, bits);
  mx::eval(arrays);
  return {arrays[0], arrays[1], arrays[2], bits, choice.group_size};
}

GraphMatrixPart GraphWeights::prepared(GraphMatrixPart part, int cols, int bits)
    const {
  if (bits > 0) {
    part = quantized(part, cols, bits);
  }
  if (options_.cpu_kernels) {
    prepare_for_cpu(part, *options_.cpu_kernels, options_.keep_scales);
  }
  return part;
}

GraphMatrixPart GraphWeights::transposed(
    const Tensor& tensor,
    const std::string& name) const {
  const auto turned = mx::astype(
      mx::contiguous(mx::transpose(floats(tensor))),
      dtype_of(tensor.encoding));
  mx::eval(turned);
  const auto cols = static_cast<int>(tensor.rows);
  return prepared({turned, std::nullopt, std::nullopt}, cols, bits_of(name));
}

std::vector<GraphMatrixPart> GraphWeights::parts(
    std::span<const Tensor* const> tensors,
    std::span<const std::string> names) const {
  // bf16 would round the scales of block types.
  const auto made =
      options_.activations == mx::float32 ? mx::float32 : mx::float16;
  std::vector<GraphMatrixPart> out;
  std::size_t begin = 0;
  while (begin < tensors.size()) {
    const auto form = form_of(*tensors[begin], made);
    const int bits = bits_of(names[begin]);
    auto end = begin + 1;
    while (end < tensors.size() && form_of(*tensors[end], made) == form &&
           bits_of(names[end]) == bits) {
      ++end;
    }
    const auto sources = tensors.subspan(begin, end - begin);
    // Codes are packed from where they lie: a copy of a large table would stand
    // beside its source and what is packed.
    const bool in_codes = form.kind != GraphForm::Kind::dense;
    if (in_codes && bits == 0 && options_.cpu_kernels &&
        !options_.keep_scales) {
      // Those with one factor have one unit, which leaves their scales alone.
      std::size_t same = 1;
      while (same < sources.size() &&
             sources[same]->affine.factor == sources[0]->affine.factor) {
        ++same;
      }
      if (auto part =
              pack_sources(sources.first(same), *options_.cpu_kernels)) {
        out.push_back(std::move(*part));
        begin += same;
        continue;
      }
    }
    out.push_back(prepared(
        read_part(sources, form),
        static_cast<int>(tensors[begin]->cols),
        bits));
    begin = end;
  }
  for (const auto* tensor : tensors) {
    checkpoint_.release(*tensor);
  }
  return out;
}

namespace {

mx::array multiply_parts(
    const mx::array& x,
    const std::vector<GraphMatrixPart>& parts) {
  std::vector<mx::array> outputs;
  for (const auto& part : parts) {
    outputs.push_back(multiply_part(x, part));
  }
  return outputs.size() == 1 ? outputs[0]
                             : mx::concatenate(std::move(outputs), 1);
}

/// Σ w² of all rows of a stack, some rows at a time.
mx::array row_squares(const std::vector<GraphMatrixPart>& parts) {
  constexpr int kPieceRows = 1024;
  std::vector<mx::array> sums;
  for (const auto& part : parts) {
    const int rows = rows_of(part);
    for (int begin = 0; begin < rows; begin += kPieceRows) {
      const auto ids =
          mx::arange(begin, std::min(rows, begin + kPieceRows), 1, mx::int32);
      sums.push_back(mx::sum(mx::square(part_rows(part, ids, mx::float32)), 1));
      mx::eval(sums.back());
    }
  }
  auto all = mx::concatenate(sums);
  mx::eval(all);
  return all;
}

/// Lets the hooks of a stack reach their rows.
void tell_stored_rows(GraphMatrix& matrix) {
  const auto parts =
      std::make_shared<const std::vector<GraphMatrixPart>>(matrix.parts);
  const auto squares = std::make_shared<std::optional<mx::array>>();
  int begin = 0;
  for (const auto& hook : matrix.hooks) {
    const int end = begin + hook->rows;
    hook->stored.times = [parts, begin, end](const mx::array& x) {
      const auto y = multiply_parts(x, *parts);
      return mx::slice(y, {0, begin}, {y.shape(0), end});
    };
    hook->stored.squares = [parts, squares, begin, end] {
      if (!*squares) {
        *squares = row_squares(*parts);
      }
      return mx::slice(**squares, {begin}, {end});
    };
    begin = end;
  }
}

}  // namespace

GraphMatrix GraphWeights::matrix(std::span<const std::string> names) const {
  std::vector<const Tensor*> tensors;
  std::vector<mx::array> biases;
  bool any_bias = false;
  for (const auto& name : names) {
    tensors.push_back(&checkpoint_.at(name));
    const auto bias = vector(name + ".bias");
    any_bias = any_bias || bias;
    const auto rows = static_cast<int>(tensors.back()->rows);
    biases.push_back(bias ? *bias : mx::zeros({rows}, mx::float32));
  }
  GraphMatrix matrix;
  for (const auto& name : names) {
    matrix.hooks.push_back(hook(name));
    matrix.bias_hooks.push_back(hook(name + ".bias"));
  }
  if (!is_trained(matrix.hooks)) {
    matrix.parts = parts(tensors, names);
    tell_stored_rows(matrix);
  }
  if (any_bias) {
    matrix.bias = cast_now(mx::concatenate(biases), options_.activations);
  }
  if (options_.observe) {
    matrix.observe = [observe = options_.observe,
                      all =
                          std::vector<std::string>(names.begin(), names.end())](
                         const mx::array& x) { observe(all, x); };
  }
  return matrix;
}

GraphHookPtr GraphWeights::hook(const std::string& name) const {
  const auto* tensor = checkpoint_.find(name);
  if (tensor == nullptr) {
    return nullptr;
  }
  auto& held = hooks_[name];
  if (held == nullptr) {
    held = std::make_shared<GraphHook>();
    held->rows = static_cast<int>(tensor->rows);
    held->cols = static_cast<int>(tensor->cols);
    if (const auto codes = options_.codes ? options_.codes(name) : nullptr) {
      const auto none = mx::zeros({codes->rows, codes->groups()});
      held->coded = {codes, none, none};
    } else if (options_.trained && options_.trained(name)) {
      const auto values = copy_decoded(std::span(&tensor, 1)).weight;
      held->trained =
          tensor->rows == 1 ? mx::reshape(values, {held->cols}) : values;
      checkpoint_.release(*tensor);  // it won't be read again
    }
  }
  return held;
}

GraphHookPtr GraphWeights::addition_hook(
    const std::string& name,
    int rows,
    int cols,
    int experts) const {
  auto& held = hooks_[name];
  if (held == nullptr) {
    held = std::make_shared<GraphHook>();
  }
  held->rows = rows;
  held->cols = cols;
  held->experts = experts;
  return held;
}

GraphMatrix GraphWeights::matrix(const std::string& name) const {
  return matrix(std::span<const std::string>(&name, 1));
}

std::optional<mx::array> GraphWeights::vector(const std::string& name) const {
  const auto* tensor = checkpoint_.find(name);
  if (tensor == nullptr) {
    return std::nullopt;
  }
  std::vector<float> values(tensor->cols);
  decode_row(*tensor, 0, values);
  return mx::array(values.data(), {static_cast<int>(tensor->cols)});
}

std::optional<mx::array> GraphWeights::values(const std::string& name) const {
  const auto* tensor = checkpoint_.find(name);
  if (tensor == nullptr || tensor->rows == 1) {
    return vector(name);
  }
  return copy_decoded(std::span(&tensor, 1)).weight;
}

mx::array GraphWeights::floats(const Tensor& tensor) const {
  const Tensor* one = &tensor;
  return copy_decoded({&one, 1}).weight;
}

namespace {

mx::array multiply(const mx::array& x, const GraphMatrix& matrix) {
  return is_trained(matrix.hooks) ? multiply_trained(x, matrix.hooks)
                                  : multiply_parts(x, matrix.parts);
}

/// The bias with its trained parts in their places.
mx::array bias_of(const GraphMatrix& matrix) {
  bool any = false;
  int begin = 0;
  std::vector<mx::array> parts;
  for (std::size_t i = 0; i < matrix.bias_hooks.size(); ++i) {
    const auto& hook = matrix.bias_hooks[i];
    const int end = begin + matrix.hooks[i]->rows;
    const bool trained = hook && hook->trained;
    any = any || trained;
    parts.push_back(
        trained ? *hook->trained : mx::slice(*matrix.bias, {begin}, {end}));
    begin = end;
  }
  return any ? mx::concatenate(parts) : *matrix.bias;
}

}  // namespace

mx::array linear(const mx::array& x, const GraphMatrix& matrix) {
  if (matrix.observe) {
    matrix.observe(x);
  }
  auto y = add_additions(x, multiply(x, matrix), matrix.hooks);
  if (matrix.bias) {
    y = mx::add(y, bias_of(matrix));
  }
  return mx::astype(y, x.dtype());
}

mx::array take_rows(
    const GraphMatrix& matrix,
    const mx::array& ids,
    mx::Dtype dtype) {
  if (is_trained(matrix.hooks)) {
    return mx::astype(trained_rows(*matrix.hooks[0], ids), dtype);
  }
  if (matrix.parts.size() != 1) {
    fail<BugError>(
        "graph_weights: rows of a stacked matrix",
        "Its parts differ in form",
        "Take rows of a matrix that was read alone.");
  }
  return part_rows(matrix.parts[0], ids, dtype);
}

}  // namespace roofline
