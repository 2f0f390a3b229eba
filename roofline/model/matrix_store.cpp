#include "roofline/model/matrix_store.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/half.h"
#include "roofline/base/pooled_rows.h"
#include "roofline/kernels/block/head_screen.h"

namespace roofline {

namespace {

/// Raised whenever packing the same tensors gives other bytes.
constexpr int kLayoutVersion = 4;
/// The blob with each packed matrix's unit, in the order of names.
constexpr std::string_view kUnits = "units";
/// The coarse copy of the head, and its rows' errors with its unit behind them.
constexpr std::string_view kScreen = "screen";
constexpr std::string_view kScreenErrors = "screen errors";
/// Rows as floats of the format, which isn't f16.
void decode_all(
    const Tensor& tensor,
    PackedFormat format,
    std::span<std::byte> out,
    ThreadPool& pool) {
  RowBuffers buffers(pool, tensor.cols);
  const std::size_t row_bytes = packed_bytes(format, 1, tensor.cols);
  each_pooled_row(tensor.rows, pool, [&](std::int64_t row, int worker) {
    const std::span<float> values = buffers.of(worker);
    decode_row(tensor, row, values);
    std::byte* to = out.data() + static_cast<std::size_t>(row) * row_bytes;
    if (format == PackedFormat::f32) {
      std::memcpy(to, values.data(), row_bytes);
      return;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint16_t half = f32_to_bf16(values[i]);
      std::memcpy(to + 2 * i, &half, sizeof(half));
    }
  });
}

/// Affine codes of a float tensor, held in memory while they are packed.
struct QuantizedCopy {
  std::vector<std::byte> codes;
  std::vector<float> scales;
  std::vector<float> biases;
  Tensor tensor;
};

void store_codes(
    std::span<const std::uint8_t> codes,
    int bits,
    std::byte* out) {
  if (bits == 8) {
    std::memcpy(out, codes.data(), codes.size());
    return;
  }
  for (std::size_t i = 0; i < codes.size(); i += 2) {
    *out++ = static_cast<std::byte>(codes[i] | (codes[i + 1] << 4));
  }
}

void quantize_tensor(
    const Tensor& tensor,
    AffineForm form,
    QuantizedCopy& copy,
    ThreadPool& pool) {
  const auto cols = static_cast<std::size_t>(tensor.cols);
  const auto rows = static_cast<std::size_t>(tensor.rows);
  const std::size_t groups = cols / static_cast<std::size_t>(form.group_size);
  const std::size_t row_bytes = cols * static_cast<std::size_t>(form.bits) / 8;
  copy.codes.resize(rows * row_bytes);
  copy.scales.resize(rows * groups);
  copy.biases.resize(rows * groups);
  RowBuffers buffers(pool, tensor.cols);
  std::vector<std::uint8_t> codes(
      cols * static_cast<std::size_t>(pool.threads()));
  each_pooled_row(tensor.rows, pool, [&](std::int64_t index, int worker) {
    const auto row = static_cast<std::size_t>(index);
    const std::span<float> values = buffers.of(worker);
    decode_row(tensor, index, values);
    const std::span<std::uint8_t> own(
        codes.data() + cols * static_cast<std::size_t>(worker),
        cols);
    quantize_row(
        values,
        form,
        {own,
         {copy.scales.data() + row * groups, groups},
         {copy.biases.data() + row * groups, groups}});
    store_codes(own, form.bits, copy.codes.data() + row * row_bytes);
  });
  copy.tensor.name = tensor.name;
  copy.tensor.encoding = Encoding::mlx_affine;
  copy.tensor.rows = tensor.rows;
  copy.tensor.cols = tensor.cols;
  copy.tensor.bytes = copy.codes;
  copy.tensor.affine = {
      form.bits,
      form.group_size,
      Encoding::f32,
      std::as_bytes(std::span(copy.scales)),
      std::as_bytes(std::span(copy.biases))};
}

PackedForm form_of(AffineForm form) {
  return packed_form({form.bits, form.group_size, nullptr, 0});
}

}  // namespace

MatrixStore::MatrixStore(
    const Checkpoint& checkpoint,
    const ModelOptions& options,
    std::span<const std::string> names,
    std::string_view head,
    ThreadPool& pool)
    : checkpoint_(checkpoint), options_(options), pool_(pool), head_(head) {
  bool any_packed = false;
  for (const std::string& name : names) {
    const Plan plan = plan_for(name, checkpoint.at(name));
    if (name == head && !options.exact && options.screen_head &&
        pays_to_screen(
            plan.tensor->rows,
            plan.tensor->cols,
            packed_bytes(
                plan.form.packed,
                plan.tensor->rows,
                plan.tensor->cols))) {
      screened_ = plan.tensor;
      any_packed = true;
    }
    plans_.emplace(name, plan);
    any_packed = any_packed || !plan.form.in_place;
    if (plan.form.in_place) {
      matrices_.emplace(name, dense_view(*plan.tensor));
    }
  }
  if (!any_packed) {
    return;
  }
  const std::string key = cache_key();
  if (!options_.cache_packed || !map_cached(key)) {
    pack_all(key);
  }
}

const PackedMatrix& MatrixStore::at(std::string_view name) const {
  const auto found = matrices_.find(name);
  if (found == matrices_.end()) {
    fail<BugError>(
        fmt::format("matrix_store: no matrix {}", name),
        "it was not in the list of names",
        "Add it to the list");
  }
  return found->second;
}

MatrixStore::Plan MatrixStore::plan_for(
    std::string_view name,
    const Tensor& tensor) const {
  const auto& choice = options_.quantize;
  if (choice && is_float(tensor.encoding) &&
      tensor.cols % choice->group_size == 0) {
    const auto layers = static_cast<int>(checkpoint_.spec().layers.size());
    const AffineForm form{choice->bits_of(name, layers), choice->group_size};
    return {&tensor, {form_of(form), false, form}};
  }
  return {&tensor, held_form(tensor, options_.exact)};
}

std::string MatrixStore::cache_key() const {
  std::string key =
      fmt::format("{} layout {}", checkpoint_.fingerprint(), kLayoutVersion);
  const auto as_floats = [](const auto& entry) {
    const HeldForm& form = entry.second.form;
    return !form.in_place && !form.packed.quantized();
  };
  if (std::any_of(plans_.begin(), plans_.end(), as_floats)) {
    key += " exact";
  }
  if (screened_ != nullptr) {
    key += " screen 2";
  }
  if (options_.quantize) {
    key += fmt::format(
        " quantize {} bits, groups of {}",
        options_.quantize->bits,
        options_.quantize->group_size);
    for (const std::string& part : options_.quantize->eight_bit) {
      key += fmt::format(", {} 8 bits", part);
    }
  }
  return key;
}

std::vector<BlobSize> MatrixStore::blob_sizes() const {
  std::vector<BlobSize> sizes;
  for (const auto& [name, plan] : plans_) {
    if (!plan.form.in_place) {
      sizes.push_back(
          {name,
           packed_bytes(
               plan.form.packed,
               plan.tensor->rows,
               plan.tensor->cols)});
    }
  }
  sizes.push_back({std::string(kUnits), sizes.size() * sizeof(float)});
  if (screened_ != nullptr) {
    sizes.push_back(
        {std::string(kScreen), screen_bytes(screened_->rows, screened_->cols)});
    sizes.push_back(
        {std::string(kScreenErrors),
         (roofline::screen_errors(screened_->rows) + 1) * sizeof(float)});
  }
  return sizes;
}

bool MatrixStore::map_cached(const std::string& key) {
  // An answer reads the head or its coarse copy.
  const std::array<std::string_view, 2> either{head_, kScreen};
  file_ = BlobFile::open(
      packed_cache_path(key),
      key,
      std::span(either).first(screened_ != nullptr ? either.size() : 0));
  if (!file_) {
    return false;
  }
  std::map<std::string, std::span<const std::byte>> blobs;
  for (const BlobSize& size : blob_sizes()) {
    const auto blob = file_->find(size.name);
    if (!blob || blob->size() != size.bytes) {
      file_.reset();
      return false;
    }
    blobs[size.name] = *blob;
  }
  const std::byte* units = blobs[std::string(kUnits)].data();
  for (const auto& [name, plan] : plans_) {
    if (plan.form.in_place) {
      continue;
    }
    PackedMatrix matrix = shaped(plan, blobs[name].data());
    std::memcpy(&matrix.unit, units, sizeof(float));
    units += sizeof(float);
    matrices_.insert_or_assign(name, matrix);
  }
  if (screened_ != nullptr) {
    view_screen(blobs[std::string(kScreen)], blobs[std::string(kScreenErrors)]);
  }
  return true;
}

void MatrixStore::view_screen(
    std::span<const std::byte> codes,
    std::span<const std::byte> errors) {
  const std::size_t rows = roofline::screen_errors(screened_->rows);
  screen_errors_ = {reinterpret_cast<const float*>(errors.data()), rows};
  PackedMatrix matrix;
  static_cast<PackedForm&>(matrix) = kScreenForm;
  matrix.rows = static_cast<int>(screened_->rows);
  matrix.cols = static_cast<int>(screened_->cols);
  matrix.data = codes.data();
  std::memcpy(
      &matrix.unit,
      errors.data() + rows * sizeof(float),
      sizeof(float));
  screen_ = matrix;
}

void MatrixStore::pack_all(const std::string& key) {
  const std::vector<BlobSize> sizes = blob_sizes();
  writer_ =
      options_.cache_packed
          ? std::make_unique<BlobFileWriter>(packed_cache_path(key), key, sizes)
          : std::make_unique<BlobFileWriter>(sizes);
  std::byte* units = writer_->blob(kUnits).data();
  for (const auto& [name, plan] : plans_) {
    if (plan.form.in_place) {
      continue;
    }
    const PackedMatrix matrix = pack_one(plan, writer_->blob(name));
    matrices_.insert_or_assign(name, matrix);
    std::memcpy(units, &matrix.unit, sizeof(float));
    units += sizeof(float);
    checkpoint_.release(*plan.tensor);
  }
  if (screened_ != nullptr) {
    const std::span<std::byte> codes = writer_->blob(kScreen);
    const std::span<std::byte> errors = writer_->blob(kScreenErrors);
    const std::size_t rows = roofline::screen_errors(screened_->rows);
    const PackedMatrix matrix = make_screen(
        *screened_,
        codes,
        {reinterpret_cast<float*>(errors.data()), rows},
        pool_);
    std::memcpy(
        errors.data() + rows * sizeof(float),
        &matrix.unit,
        sizeof(float));
    view_screen(codes, errors);
    checkpoint_.release(*screened_);
  }
  if (options_.cache_packed) {
    writer_->commit();
    note_ = writer_->note();
  }
}

PackedMatrix MatrixStore::shaped(const Plan& plan, const std::byte* data) {
  PackedMatrix matrix;
  static_cast<PackedForm&>(matrix) = plan.form.packed;
  matrix.rows = static_cast<int>(plan.tensor->rows);
  matrix.cols = static_cast<int>(plan.tensor->cols);
  matrix.data = data;
  const auto form = code_form(*plan.tensor);
  if (has_table(matrix.format) && form && form->table) {
    matrix.table = *form->table;
  }
  return matrix;
}

PackedMatrix MatrixStore::pack_one(const Plan& plan, std::span<std::byte> out)
    const {
  const Tensor* tensor = plan.tensor;
  if (!plan.form.packed.quantized()) {
    decode_all(*tensor, plan.form.packed.format, out, pool_);
    return shaped(plan, out.data());
  }
  QuantizedCopy copy;
  if (plan.form.quantize) {
    quantize_tensor(*tensor, *plan.form.quantize, copy, pool_);
    tensor = &copy.tensor;
  }
  return pack({&tensor, 1}, plan.form.packed, out, pool_);
}

}  // namespace roofline
