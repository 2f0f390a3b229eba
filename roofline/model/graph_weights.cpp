#include "roofline/model/graph_weights.h"

#include <array>
#include <cstring>
#include <map>
#include <new>

#include <fmt/format.h>
#include <mlx/allocator.h>
#include <mlx/backend/cuda/cuda.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/packed_rows.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

/// From this many tokens on CUDA decodes a quantized matrix and multiplies
/// densely: its quantized product doesn't use the tensor cores well, and
/// decoding costs about as much as 50 rows of the product.
constexpr int kDenseFromTokens = 128;

mx::Dtype dtype_of(Encoding encoding) {
  switch (encoding) {
    case Encoding::f32:
      return mx::float32;
    case Encoding::bf16:
      return mx::bfloat16;
    default:
      return mx::float16;
  }
}

/// Memory of MLX's own, to be filled by the host.
struct Fresh {
  mx::array array;
  std::byte* bytes;

  Fresh(const mx::Shape& shape, mx::Dtype dtype) : Fresh(sized(shape, dtype)) {}

 private:
  struct Sized {
    mx::allocator::Data data;
    std::byte* bytes;
    mx::Shape shape;
    mx::Dtype dtype;
  };
  static Sized sized(const mx::Shape& shape, mx::Dtype dtype) {
    std::size_t size = mx::size_of(dtype);
    for (const auto each : shape) {
      size *= static_cast<std::size_t>(each);
    }
    auto data = mx::allocator::malloc(size);
    auto* bytes = static_cast<std::byte*>(data.buffer().raw_ptr());
    return {std::move(data), bytes, shape, dtype};
  }
  explicit Fresh(Sized sized)
      : array(std::move(sized.data), sized.shape, sized.dtype),
        bytes(sized.bytes) {}
};

void append(std::byte*& at, std::span<const std::byte> bytes) {
  std::memcpy(at, bytes.data(), bytes.size());
  at += bytes.size();
}

/// How a tensor will be stored; equal ones can be stacked.
struct Form {
  enum class Kind {
    dense,
    words,
    codes,
    requantized,
    small_floats,
    decoded,
  } kind = Kind::dense;
  mx::Dtype dtype = mx::float16;  ///< of floats, or of scales and biases
  int bits = 0;
  int group_size = 0;
  std::string mode = "affine";

  friend bool operator==(const Form&, const Form&) = default;
};

/// MLX's mode for an encoding of small floats; "" for others.
std::string small_float_mode(Encoding encoding) {
  switch (encoding) {
    case Encoding::mlx_mxfp4:
    case Encoding::mxfp4:
      return "mxfp4";
    case Encoding::mlx_nvfp4:
    case Encoding::nvfp4:
      return "nvfp4";
    case Encoding::mlx_mxfp8:
      return "mxfp8";
    default:
      return "";
  }
}

/// decoded: the type of floats that are made here.
Form form_of(const Tensor& tensor, mx::Dtype decoded) {
  if (is_float(tensor.encoding)) {
    return {Form::Kind::dense, dtype_of(tensor.encoding), 0, 0};
  }
  const auto mode = small_float_mode(tensor.encoding);
  // MLX's products have no place for a matrix's own factor.
  if (!mode.empty() && tensor.affine.factor == 1) {
    const bool eight = mode == "mxfp8";
    const int group = mode == "nvfp4" ? 16 : 32;
    return {Form::Kind::small_floats, decoded, eight ? 8 : 4, group, mode};
  }
  if (tensor.encoding == Encoding::mlx_affine) {
    return {
        Form::Kind::words,
        dtype_of(tensor.affine.dtype),
        tensor.affine.bits,
        tensor.affine.group_size};
  }
  if (const auto affine = affine_form(tensor)) {
    return {Form::Kind::codes, decoded, affine->bits, affine->group_size};
  }
  constexpr AffineForm kEight{8, 32};
  if (decoded != mx::float32 && tensor.cols % kEight.group_size == 0) {
    return {Form::Kind::requantized, decoded, kEight.bits, kEight.group_size};
  }
  return {Form::Kind::decoded, decoded, 0, 0};
}

std::int64_t rows_of(std::span<const Tensor* const> tensors) {
  std::int64_t rows = 0;
  for (const auto* tensor : tensors) {
    rows += tensor->rows;
  }
  return rows;
}

mx::Shape shape_of(std::int64_t rows, std::int64_t cols) {
  return {static_cast<int>(rows), static_cast<int>(cols)};
}

GraphMatrixPart copy_dense(
    std::span<const Tensor* const> tensors,
    const Form& form) {
  Fresh weight(shape_of(rows_of(tensors), tensors[0]->cols), form.dtype);
  auto* at = weight.bytes;
  for (const auto* tensor : tensors) {
    append(at, tensor->bytes);
  }
  return {weight.array, std::nullopt, std::nullopt, 0, 0};
}

GraphMatrixPart copy_words(
    std::span<const Tensor* const> tensors,
    const Form& form) {
  const auto rows = rows_of(tensors);
  const auto cols = tensors[0]->cols;
  const auto groups = shape_of(rows, cols / form.group_size);
  Fresh weight(shape_of(rows, cols * form.bits / 32), mx::uint32);
  Fresh scales(groups, form.dtype);
  Fresh biases(groups, form.dtype);
  std::array<std::byte*, 3> at = {weight.bytes, scales.bytes, biases.bytes};
  for (const auto* tensor : tensors) {
    append(at[0], tensor->bytes);
    append(at[1], tensor->affine.scales);
    append(at[2], tensor->affine.biases);
  }
  return {weight.array, scales.array, biases.array, form.bits, form.group_size};
}

/// MLX's order: the first code in the lowest bits of a little-endian word.
void pack_codes(std::span<const std::uint8_t> codes, int bits, std::byte* out) {
  if (bits == 8) {
    std::memcpy(out, codes.data(), codes.size());
    return;
  }
  for (std::size_t i = 0; i < codes.size() / 2; ++i) {
    out[i] = static_cast<std::byte>(codes[2 * i] | codes[2 * i + 1] << 4);
  }
}

/// Runs fn(row, tensor, row_in_tensor, worker) for all rows, in pieces.
template <class Fn>
void for_rows(std::span<const Tensor* const> tensors, Fn fn) {
  constexpr std::int64_t kPieceRows = 64;
  auto& pool = ThreadPool::global();
  std::int64_t first = 0;
  for (const auto* tensor : tensors) {
    auto piece_fn = [&](int piece, int worker) {
      const auto begin = piece * kPieceRows;
      const auto end = std::min(tensor->rows, begin + kPieceRows);
      for (auto row = begin; row < end; ++row) {
        fn(first + row, *tensor, row, worker);
      }
    };
    const auto pieces = (tensor->rows + kPieceRows - 1) / kPieceRows;
    pool.run(static_cast<int>(pieces), piece_fn);
    first += tensor->rows;
  }
}

/// MLX's modes of small floats: words and a byte of scale a group.
GraphMatrixPart copy_small_floats(
    std::span<const Tensor* const> tensors,
    const Form& form) {
  const auto rows = rows_of(tensors);
  const auto cols = tensors[0]->cols;
  const auto groups = cols / form.group_size;
  Fresh weight(shape_of(rows, cols * form.bits / 32), mx::uint32);
  Fresh scales(shape_of(rows, groups), mx::uint8);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(cols));
  std::array<std::byte*, 2> at = {weight.bytes, scales.bytes};
  for (const auto* tensor : tensors) {
    if (!tensor->affine.scales.empty()) {
      append(at[0], tensor->bytes);
      append(at[1], tensor->affine.scales);
      continue;
    }
    for (std::int64_t row = 0; row < tensor->rows; ++row) {
      const std::span<std::byte> row_scales(at[1], groups);
      read_small_float_row(*tensor, row, codes, row_scales);
      pack_codes(codes, form.bits, at[0]);
      at[0] += cols * form.bits / 8;
      at[1] += groups;
    }
  }
  return {
      weight.array,
      scales.array,
      std::nullopt,
      form.bits,
      form.group_size,
      std::nullopt,
      form.mode};
}

/// Block types become codes with float32 scales and biases; what has no form
/// of codes is quantized.
GraphMatrixPart copy_codes(
    std::span<const Tensor* const> tensors,
    const Form& form) {
  const auto rows = rows_of(tensors);
  const auto cols = tensors[0]->cols;
  const auto groups = cols / form.group_size;
  Fresh weight(shape_of(rows, cols * form.bits / 32), mx::uint32);
  Fresh scales(shape_of(rows, groups), mx::float32);
  Fresh biases(shape_of(rows, groups), mx::float32);
  const auto threads = ThreadPool::global().threads();
  std::vector<std::uint8_t> codes(threads * cols);
  for_rows(
      tensors,
      [&](std::int64_t row,
          const Tensor& tensor,
          std::int64_t tensor_row,
          int worker) {
        const std::span<std::uint8_t> row_codes(
            codes.data() + worker * cols,
            cols);
        const auto row_groups = [&](Fresh& values) {
          auto* begin = reinterpret_cast<float*>(values.bytes) + row * groups;
          return std::span<float>(begin, groups);
        };
        const AffineRow out{row_codes, row_groups(scales), row_groups(biases)};
        if (form.kind == Form::Kind::codes) {
          read_affine_row(tensor, tensor_row, out);
        } else {
          std::vector<float> values(cols);
          decode_row(tensor, tensor_row, values);
          quantize_row(values, {form.bits, form.group_size}, out);
        }
        pack_codes(
            row_codes,
            form.bits,
            weight.bytes + row * cols * form.bits / 8);
      });
  return {weight.array, scales.array, biases.array, form.bits, form.group_size};
}

GraphMatrixPart copy_decoded(std::span<const Tensor* const> tensors) {
  const auto cols = tensors[0]->cols;
  Fresh weight(shape_of(rows_of(tensors), cols), mx::float32);
  for_rows(
      tensors,
      [&](std::int64_t row,
          const Tensor& tensor,
          std::int64_t tensor_row,
          int) {
        auto* begin = reinterpret_cast<float*>(weight.bytes) + row * cols;
        decode_row(tensor, tensor_row, std::span<float>(begin, cols));
      });
  return {weight.array, std::nullopt, std::nullopt, 0, 0};
}

/// Small pieces are cast right away, so that the wide copy can go.
mx::array cast_now(const mx::array& array, mx::Dtype dtype) {
  auto result = mx::astype(array, dtype);
  mx::eval(result);
  return result;
}

GraphMatrixPart read_part(
    std::span<const Tensor* const> tensors,
    const Form& form) {
  switch (form.kind) {
    case Form::Kind::dense:
      return copy_dense(tensors, form);
    case Form::Kind::words:
      return copy_words(tensors, form);
    case Form::Kind::small_floats:
      return copy_small_floats(tensors, form);
    case Form::Kind::codes:
    case Form::Kind::requantized: {
      auto part = copy_codes(tensors, form);
      part.scales = cast_now(*part.scales, form.dtype);
      part.biases = cast_now(*part.biases, form.dtype);
      return part;
    }
    case Form::Kind::decoded:
      break;
  }
  auto part = copy_decoded(tensors);
  part.weight = cast_now(part.weight, form.dtype);
  return part;
}

mx::array decoded(const GraphMatrixPart& part) {
  return mx::dequantize(
      part.weight,
      *part.scales,
      part.biases,
      part.group_size,
      part.bits,
      part.mode);
}

std::span<const std::byte> bytes_of(const mx::array& array) {
  return {
      reinterpret_cast<const std::byte*>(array.data<char>()),
      array.nbytes()};
}

/// An array of MLX's as a tensor that the packer and the kernels read.
Tensor tensor_of(const GraphMatrixPart& part) {
  const bool codes = part.scales.has_value();
  const auto encoding = [](mx::Dtype dtype) {
    return dtype == mx::float32   ? Encoding::f32
           : dtype == mx::float16 ? Encoding::f16
                                  : Encoding::bf16;
  };
  Tensor tensor;
  tensor.name = "a matrix of the graph";
  tensor.encoding =
      codes ? Encoding::mlx_affine : encoding(part.weight.dtype());
  tensor.rows = part.weight.shape(0);
  tensor.cols =
      codes ? part.scales->shape(1) * part.group_size : part.weight.shape(1);
  tensor.bytes = bytes_of(part.weight);
  if (codes) {
    tensor.affine = {
        part.bits,
        part.group_size,
        encoding(part.scales->dtype()),
        bytes_of(*part.scales),
        part.biases ? bytes_of(*part.biases) : std::span<const std::byte>{}};
  }
  if (codes && part.mode != "affine") {
    tensor.encoding = part.mode == "mxfp4"   ? Encoding::mlx_mxfp4
                      : part.mode == "nvfp4" ? Encoding::mlx_nvfp4
                                             : Encoding::mlx_mxfp8;
  }
  return tensor;
}

/// Memory for packed codes: kernels read whole cache lines.
std::shared_ptr<std::byte> packed_memory(std::size_t bytes) {
  constexpr std::align_val_t kLine{64};
  return {
      static_cast<std::byte*>(::operator new(bytes, kLine)),
      [](std::byte* at) { ::operator delete(at, kLine); }};
}

/// Absent values fit too.
bool fits_half(const std::optional<mx::array>& values) {
  if (!values) {
    return true;
  }
  const auto half =
      mx::astype(mx::astype(*values, mx::float16), values->dtype());
  return mx::array_equal(half, *values).item<bool>();
}

CpuMatrixPart pack_for_cpu(
    std::span<const Tensor* const> tensors,
    const PackedForm& form,
    LinearMode mode) {
  const auto bytes = packed_bytes(form, rows_of(tensors), tensors[0]->cols);
  const auto memory = packed_memory(bytes);
  return {
      pack(tensors, form, {memory.get(), bytes}, ThreadPool::global()),
      memory,
      mode};
}

/// Floats are read where they lie; codes are packed, and MLX's copy goes.
void prepare_for_cpu(GraphMatrixPart& part, LinearMode mode, bool keep_scales) {
  const Tensor tensor = tensor_of(part);
  if (!part.scales) {
    part.cpu = {
        dense_view(tensor),
        std::make_shared<mx::array>(part.weight),
        mode};
    return;
  }
  const auto form = code_form(tensor);
  const bool affine = part.mode == "affine";
  const bool rounds = keep_scales && affine &&
                      !(fits_half(part.scales) && fits_half(part.biases));
  if (!form || tensor.cols % kGroup != 0 || rounds) {
    return;
  }
  const Tensor* const one = &tensor;
  part.cpu = pack_for_cpu({&one, 1}, packed_form(*form), mode);
  part.weight = mx::array({}, mx::uint32);
  part.scales.reset();
  part.biases.reset();
}

/// Codes that MLX has no form for but our kernels do, packed straight from the
/// checkpoint; nullopt for others and when the tensors' forms differ.
std::optional<GraphMatrixPart> pack_sources(
    std::span<const Tensor* const> tensors,
    LinearMode mode) {
  const auto first = code_form(*tensors[0]);
  if (!first || tensors[0]->cols % kGroup != 0) {
    return std::nullopt;
  }
  for (const auto* tensor : tensors) {
    const auto form = code_form(*tensor);
    if (!form || packed_form(*form) != packed_form(*first) ||
        form->table != first->table) {
      return std::nullopt;
    }
  }
  GraphMatrixPart part{mx::array({}, mx::uint32), std::nullopt, std::nullopt};
  part.cpu = pack_for_cpu(tensors, packed_form(*first), mode);
  return part;
}

mx::array multiply_part(const mx::array& x, const GraphMatrixPart& part) {
  if (part.cpu) {
    return linear(x, part.cpu->matrix, part.cpu->memory, part.cpu->mode);
  }
  if (!part.scales) {
    return mx::matmul(x, mx::transpose(part.weight));
  }
  if (x.shape(0) >= kDenseFromTokens && mx::cu::is_available()) {
    return mx::matmul(x, mx::transpose(decoded(part)));
  }
  return mx::quantized_matmul(
      x,
      part.weight,
      *part.scales,
      part.biases,
      /* transpose = */ true,
      part.group_size,
      part.bits,
      part.mode);
}

/// Rows of a part as floats.
mx::array part_rows(
    const GraphMatrixPart& part,
    const mx::array& ids,
    mx::Dtype dtype) {
  if (part.cpu && part.cpu->matrix.quantized()) {
    return mx::astype(
        packed_rows(ids, part.cpu->matrix, part.cpu->memory),
        dtype);
  }
  auto rows = mx::take(part.weight, ids, 0);
  if (part.scales && !part.biases) {
    rows = mx::dequantize(
        rows,
        mx::take(*part.scales, ids, 0),
        std::nullopt,
        part.group_size,
        part.bits,
        part.mode,
        std::nullopt,
        dtype);
  } else if (part.scales) {
    rows = mx::dequantize(
        rows,
        mx::astype(mx::take(*part.scales, ids, 0), dtype),
        mx::astype(mx::take(*part.biases, ids, 0), dtype),
        part.group_size,
        part.bits);
  }
  return mx::astype(rows, dtype);
}

}  // namespace

std::size_t GraphMatrixPart::bytes() const {
  if (cpu) {
    return cpu->matrix.bytes();
  }
  return weight.nbytes() + (scales ? scales->nbytes() : 0) +
         (biases ? biases->nbytes() : 0);
}

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
  return form_of(tensor, mx::float16).kind == Form::Kind::requantized;
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
    const bool no_form = form.kind == Form::Kind::decoded ||
                         form.kind == Form::Kind::requantized;
    if (no_form && bits == 0 && options_.cpu_kernels && !options_.keep_scales) {
      if (auto part = pack_sources(sources, *options_.cpu_kernels)) {
        out.push_back(std::move(*part));
        begin = end;
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

int rows_of(const GraphMatrixPart& part) {
  return part.cpu ? part.cpu->matrix.rows : part.weight.shape(0);
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
    }
  }
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

mx::array dense_weight(const GraphMatrixPart& part) {
  if (part.cpu && part.cpu->matrix.quantized()) {
    const auto all = mx::arange(0, part.cpu->matrix.rows, 1, mx::int32);
    return packed_rows(all, part.cpu->matrix, part.cpu->memory);
  }
  return part.scales ? decoded(part) : part.weight;
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
