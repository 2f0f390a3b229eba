// The matrices of ForeignTensors, one function a layout.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "roofline/base/errors.h"
#include "roofline/base/round_up.h"
#include "roofline/weights/foreign_names.h"
#include "roofline/weights/foreign_tensors.h"
#include "roofline/weights/mlx_packed.h"
#include "roofline/weights/printable.h"

namespace roofline {

using namespace foreign_names;

namespace {

std::string shape_text(const SafetensorsEntry& entry) {
  std::string out;
  for (const std::int64_t size : entry.shape) {
    out += (out.empty() ? "" : " × ") + std::to_string(size);
  }
  return out;
}

/// The type that scales can have; nullopt for others.
std::optional<Tensor::Foreign::Scale> scale_type_of(
    const SafetensorsEntry& entry) {
  using Scale = Tensor::Foreign::Scale;
  if (entry.dtype == "F8_E8M0" || entry.dtype == "U8") {
    return Scale::e8m0;
  }
  return entry.dtype == "F32"    ? std::optional(Scale::f32)
         : entry.dtype == "F16"  ? std::optional(Scale::f16)
         : entry.dtype == "BF16" ? std::optional(Scale::bf16)
                                 : std::nullopt;
}

/// ModelOpt writes scales of blocks as [out, 1, in, 1].
std::vector<std::int64_t> squeezed(const std::vector<std::int64_t>& shape) {
  const bool blocks = shape.size() == 4 && shape[1] == 1 && shape[3] == 1 &&
                      shape[0] > 0 && shape[2] > 0;
  return blocks ? std::vector{shape[0], shape[2]} : shape;
}

}  // namespace

/// Blocks [..., rows, groups, 16] of two codes a byte, the first in the low
/// bits, and scales [..., rows, groups]: the bytes are those of MLX's mxfp4.
Tensor ForeignTensors::mxfp4(const SafetensorsEntry& blocks) const {
  constexpr std::int64_t kGroup = 32;
  const std::string module =
      blocks.name.substr(0, blocks.name.size() - kBlocks.size());
  const SafetensorsEntry& scales =
      needed(module + std::string(kScales), blocks);
  const std::size_t axes = blocks.shape.size();
  if (axes < 3 || blocks.shape[axes - 1] != kGroup / 2 ||
      scales.dtype != "U8" ||
      !std::equal(
          scales.shape.begin(),
          scales.shape.end(),
          blocks.shape.begin(),
          blocks.shape.end() - 1)) {
    fail_tensor(
        blocks.name,
        "Each group of 16 bytes must have a byte of scale in " + scales.name);
  }
  Tensor out;
  out.name = blocks.name;
  out.encoding = Encoding::mlx_mxfp4;
  out.cols = blocks.shape[axes - 2] * kGroup;
  out.rows = 1;
  for (std::size_t i = 0; i + 2 < axes; ++i) {
    out.rows *= blocks.shape[i];
  }
  out.bytes = blocks.bytes;
  out.affine.bits = 4;
  out.affine.group_size = static_cast<int>(kGroup);
  out.affine.scales = scales.bytes;
  return out;
}

/// Codes [out, in / 2] of e2m1, the first of a pair in the low bits, and the
/// scale of each group: e4m3 for 16 with a factor for the whole matrix, or a
/// power of two for 32. The bytes are those of MLX's modes.
Tensor ForeignTensors::packed_floats(const SafetensorsEntry& codes) const {
  const std::string module = module_of(codes.name);
  const SafetensorsEntry& scales = needed(module + ".weight_scale", codes);
  if (shards_.find(module + ".weight_zero_point") != nullptr) {
    refuse(printable(module) + " has zero points beside small floats");
  }
  if (shards_.find(module + ".pre_quant_scale") != nullptr) {
    refuse(
        printable(module) +
        " has factors for what it is multiplied with (pre_quant_scale)");
  }
  // Sizes of what isn't empty are those of bytes in the file.
  if (codes.shape[0] == 0 || codes.shape[1] == 0) {
    fail_tensor(codes.name, "It is empty");
  }
  const bool powers = scales.dtype == "U8" || scales.dtype == "F8_E8M0";
  Tensor out;
  out.name = module + std::string(kWeight);
  out.encoding = powers ? Encoding::mlx_mxfp4 : Encoding::mlx_nvfp4;
  out.rows = codes.shape[0];
  out.cols = codes.shape[1] * 2;
  out.bytes = codes.bytes;
  out.affine.bits = 4;
  out.affine.group_size = powers ? 32 : 16;
  out.affine.scales = scales.bytes;
  if ((!powers && scales.dtype != "F8_E4M3") || scales.shape.size() != 2 ||
      scales.shape[0] != out.rows ||
      scales.shape[1] * out.affine.group_size != out.cols) {
    fail_tensor(
        codes.name,
        fmt::format(
            "Its codes are {}, its scales {} {}",
            shape_text(codes),
            scales.dtype,
            shape_text(scales)));
  }
  out.affine.factor = matrix_factor(module);
  return out;
}

/// compressed-tensors divides by its number, ModelOpt multiplies.
float ForeignTensors::matrix_factor(const std::string& module) const {
  const bool divides = method_ == Method::compressed;
  const SafetensorsEntry* entry = shards_.find(
      module + (divides ? ".weight_global_scale" : ".weight_scale_2"));
  if (entry == nullptr) {
    return 1;
  }
  float value = 0;
  if (entry->dtype == "F32" && entry->elements() == 1) {
    std::memcpy(&value, entry->bytes.data(), sizeof(value));
  }
  if (!std::isfinite(value) || value <= 0) {
    fail_tensor(entry->name, "It must be one positive number of F32");
  }
  return divides ? 1 / value : value;
}

void ForeignTensors::set_scales(Tensor& tensor, const SafetensorsEntry& scales)
    const {
  const auto type = scale_type_of(scales);
  if (!type) {
    fail_tensor(
        scales.name,
        fmt::format(
            "It has {}; scales must be F32, F16, BF16 or powers of two (U8, "
            "F8_E8M0)",
            scales.dtype));
  }
  tensor.foreign.scale_type = *type;
  tensor.foreign.scales = scales.bytes;
}

/// Row-major codes: one scale for all, one a row, or one a block.
void set_block(
    Tensor& tensor,
    const SafetensorsEntry& scales,
    std::int64_t block_rows,
    std::int64_t block_cols) {
  Tensor::Foreign& f = tensor.foreign;
  const std::int64_t count = scales.elements();
  if (count == 1) {
    f.block_rows = tensor.rows;
    f.block_cols = tensor.cols;
  } else if (count == tensor.rows && scales.shape[0] == tensor.rows) {
    f.block_rows = 1;
    f.block_cols = tensor.cols;
  } else {
    f.block_rows = block_rows;
    f.block_cols = block_cols;
  }
}

bool scales_fit(const Tensor& tensor, const SafetensorsEntry& scales) {
  const Tensor::Foreign& f = tensor.foreign;
  return scales.elements() == ceil_div(tensor.rows, f.block_rows) *
                                  ceil_div(tensor.cols, f.block_cols);
}

void ForeignTensors::set_order(Tensor& tensor, const SafetensorsEntry* groups)
    const {
  if (groups == nullptr) {
    return;
  }
  const std::int64_t count = ceil_div(tensor.cols, tensor.foreign.block_cols);
  if (groups->dtype != "I32" || groups->elements() != tensor.cols) {
    fail_tensor(
        groups->name,
        fmt::format("It must have {} values of I32", tensor.cols));
  }
  bool in_order = true;
  for (std::int64_t c = 0; c < tensor.cols; ++c) {
    std::int32_t group;
    std::memcpy(&group, groups->bytes.data() + 4 * c, sizeof(group));
    if (group == -1) {  // compressed-tensors: not yet ordered
      return;
    }
    if (group < 0 || group >= count) {
      fail_tensor(
          groups->name,
          fmt::format("It names group {} of {}", group, count));
    }
    in_order = in_order && group == c / tensor.foreign.block_cols;
  }
  if (!in_order) {
    tensor.foreign.groups = groups->bytes;
  }
}

/// GPTQ: [in·bits/32, out]; AWQ: [in, out/8]. Scales: [groups, out].
Tensor ForeignTensors::transposed(const SafetensorsEntry& codes) const {
  const bool awq = method_ == Method::awq;
  const std::string module = module_of(codes.name);
  const SafetensorsEntry& scales = needed(module + ".scales", codes);
  const SafetensorsEntry& zeros = needed(module + ".qzeros", codes);
  Tensor out;
  out.name = module + std::string(kWeight);
  out.encoding = awq ? Encoding::awq : Encoding::gptq;
  out.rows = awq ? codes.shape[1] * 8 : codes.shape[1];
  out.cols = awq ? codes.shape[0] : codes.shape[0] * 32 / bits_;
  out.bytes = codes.bytes;
  Tensor::Foreign& f = out.foreign;
  f.bits = bits_;
  f.stored_rows = out.rows;
  f.block_cols = group_size_ > 0 ? group_size_ : out.cols;
  f.zero_shift = zero_shift_;
  f.zeros = zeros.bytes;
  set_scales(out, scales);
  const std::int64_t groups =
      out.cols > 0 ? ceil_div(out.cols, f.block_cols) : 0;
  const std::int64_t zero_words = groups * out.rows * bits_ / 32;
  if (out.cols == 0 || out.rows == 0 || out.cols % 32 != 0 ||
      out.rows * bits_ % 32 != 0 || zeros.dtype != "I32" ||
      scales.elements() != groups * out.rows ||
      zeros.elements() != zero_words) {
    fail_tensor(
        codes.name,
        fmt::format(
            "With {} bits in groups of {} it has {} × {} values; its scales "
            "are {} and its zeros {}",
            bits_,
            f.block_cols,
            out.rows,
            out.cols,
            shape_text(scales),
            shape_text(zeros)));
  }
  if (!awq) {
    set_order(out, shards_.find(module + ".g_idx"));
  }
  return out;
}

/// weight_packed [out, in·bits/32], weight_scale [out, groups],
/// weight_zero_point [out·bits/32, groups], weight_shape [2].
Tensor ForeignTensors::packed_int(const SafetensorsEntry& codes) const {
  const std::string module = module_of(codes.name);
  const SafetensorsEntry& scales = needed(module + ".weight_scale", codes);
  const SafetensorsEntry& shape = needed(module + ".weight_shape", codes);
  std::array<std::int64_t, 2> sizes{};
  if (shape.elements() == 2 && shape.dtype == "I64") {
    std::memcpy(sizes.data(), shape.bytes.data(), sizeof(sizes));
  } else if (shape.elements() == 2 && shape.dtype == "I32") {
    std::array<std::int32_t, 2> narrow;
    std::memcpy(narrow.data(), shape.bytes.data(), sizeof(narrow));
    sizes = {narrow[0], narrow[1]};
  }
  Tensor out;
  out.name = module + std::string(kWeight);
  out.encoding = Encoding::packed_int;
  out.rows = sizes[0];
  out.cols = sizes[1];
  out.bytes = codes.bytes;
  Tensor::Foreign& f = out.foreign;
  const std::int64_t bits_a_row = codes.shape[1] * 32;
  f.bits = out.cols > 0 ? static_cast<int>(bits_a_row / out.cols) : 0;
  f.stored_rows = out.rows;
  const bool known_bits = f.bits == 2 || f.bits == 4 || f.bits == 8;
  if (out.rows <= 0 || out.rows != codes.shape[0] || !known_bits ||
      out.cols * f.bits != bits_a_row || out.cols % 32 != 0) {
    fail_tensor(
        codes.name,
        fmt::format(
            "Its words are {}, its weight_shape says {} × {}",
            shape_text(codes),
            sizes[0],
            sizes[1]));
  }
  set_scales(out, scales);
  const std::int64_t groups =
      std::max<std::int64_t>(1, scales.shape.size() == 2 ? scales.shape[1] : 1);
  set_block(out, scales, 1, ceil_div(out.cols, groups));
  const SafetensorsEntry* zeros = shards_.find(module + ".weight_zero_point");
  if (zeros != nullptr && zeros->dtype == "I32") {
    f.zeros = zeros->bytes;
  }
  if (!scales_fit(out, scales) ||
      (zeros != nullptr &&
       (zeros->dtype != "I32" || out.rows * f.bits % 32 != 0 ||
        zeros->elements() != out.rows * f.bits / 32 * groups))) {
    fail_tensor(
        codes.name,
        fmt::format(
            "Its scales are {} and its zeros {} {}",
            shape_text(scales),
            zeros ? zeros->dtype : "none",
            zeros ? shape_text(*zeros) : ""));
  }
  set_order(out, shards_.find(module + ".weight_g_idx"));
  return out;
}

/// int8 or e4m3 [out, in] with scales for all, for rows, groups or blocks.
Tensor ForeignTensors::plain(const SafetensorsEntry& codes) const {
  const std::string module = module_of(codes.name);
  const SafetensorsEntry* scales = shards_.find(module + ".weight_scale_inv");
  if (scales == nullptr) {
    scales = &needed(module + ".weight_scale", codes);
  }
  const bool int8 = codes.dtype == "I8";
  Tensor out;
  out.name = codes.name;
  out.encoding = int8 ? Encoding::plain_int8 : Encoding::fp8;
  out.rows = codes.shape[0];
  out.cols = codes.shape[1];
  out.bytes = codes.bytes;
  if (out.rows == 0 || out.cols == 0) {
    fail_tensor(codes.name, "It is empty");
  }
  out.foreign.bits = 8;
  out.foreign.stored_rows = out.rows;
  set_scales(out, *scales);
  const auto shape = squeezed(scales->shape);
  const bool blocks = shape.size() == 2 &&
                      shape[0] == ceil_div(out.rows, block_rows_) &&
                      shape[1] == ceil_div(out.cols, block_cols_);
  const bool groups = shape.size() == 2 && shape[1] > 0 && shape[0] == out.rows;
  const bool powers = out.foreign.scale_type == Tensor::Foreign::Scale::e8m0;
  if (groups && powers && !int8 && shape[1] * 32 == out.cols) {
    return mxfp8(codes, *scales);
  }
  const bool even = shape.size() == 2 && scales->shape.size() == 4 &&
                    out.rows % shape[0] == 0 && out.cols % shape[1] == 0;
  if (blocks && !int8 && scales->elements() > 1) {
    out.foreign.block_rows = block_rows_;
    out.foreign.block_cols = block_cols_;
  } else if (even) {
    out.foreign.block_rows = out.rows / shape[0];
    out.foreign.block_cols = out.cols / shape[1];
  } else {
    set_block(
        out,
        *scales,
        1,
        groups ? ceil_div(out.cols, shape[1]) : out.cols);
  }
  const SafetensorsEntry* zeros = shards_.find(module + ".weight_zero_point");
  if (zeros != nullptr && zeros->dtype == "I8" &&
      zeros->elements() == scales->elements()) {
    out.foreign.zeros = zeros->bytes;
    zeros = nullptr;
  }
  if (!scales_fit(out, *scales) || (zeros != nullptr && int8)) {
    fail_tensor(
        codes.name,
        fmt::format(
            "It is {}, its scales are {}",
            shape_text(codes),
            shape_text(*scales)));
  }
  return out;
}

/// e4m3 with a power of two for each 32 of a row, as MLX has them.
Tensor ForeignTensors::mxfp8(
    const SafetensorsEntry& codes,
    const SafetensorsEntry& scales) {
  Tensor out;
  out.name = codes.name;
  out.encoding = Encoding::mlx_mxfp8;
  out.rows = codes.shape[0];
  out.cols = codes.shape[1];
  out.bytes = codes.bytes;
  out.affine.bits = 8;
  out.affine.group_size = 32;
  out.affine.scales = scales.bytes;
  return out;
}

/// Two bits each: rows r, r + out/4, … share the bytes of row r.
Tensor ForeignTensors::bitnet(const SafetensorsEntry& codes) const {
  const SafetensorsEntry& scales =
      needed(module_of(codes.name) + ".weight_scale", codes);
  Tensor out;
  out.name = codes.name;
  out.encoding = Encoding::bitnet;
  out.rows = codes.shape[0] * 4;
  out.cols = codes.shape[1];
  out.bytes = codes.bytes;
  if (out.rows == 0 || out.cols == 0 || scales.elements() != 1) {
    fail_tensor(
        codes.name,
        fmt::format(
            "It is {}, its scales are {}",
            shape_text(codes),
            shape_text(scales)));
  }
  out.foreign.bits = 2;
  out.foreign.stored_rows = out.rows;
  out.foreign.inverse_scales = inverse_scale_;
  set_scales(out, scales);
  set_block(out, scales, 1, out.cols);
  return out;
}

}  // namespace roofline
