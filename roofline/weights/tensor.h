// A tensor as it lies in a mapped file: a name, a shape, an encoding and bytes.
// Nothing is decoded here; encodings.h turns rows into floats or affine codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace roofline {

/// How the bytes of one row are to be read. Block types are GGML's.
enum class Encoding {
  f32,
  f16,
  bf16,
  f64,
  i8,
  i16,
  i32,
  i64,
  q1_0,
  q2_0,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  q8_k,
  iq1_s,
  iq1_m,
  iq2_xxs,
  iq2_xs,
  iq2_s,
  iq3_xxs,
  iq3_s,
  iq4_nl,
  iq4_xs,
  tq1_0,
  tq2_0,
  mxfp4,
  nvfp4,
  /// MLX's packed codes with scales and biases beside them (see `affine`).
  mlx_affine,
  /// MLX's packed small floats: e2m1 with a power of two for each 32 (mxfp4) or
  /// an e4m3 for each 16 (nvfp4); e4m3 with a power of two for each 32 (mxfp8).
  mlx_mxfp4,
  mlx_nvfp4,
  mlx_mxfp8,
  /// Layouts of other programs (see `foreign` and foreign_rows.h).
  gptq,
  awq,
  packed_int,  ///< compressed-tensors' pack-quantized
  plain_int8,  ///< compressed-tensors' int-quantized
  fp8,         ///< e4m3 with scales for blocks
  bitnet,      ///< four ternary rows a byte
  turned,      ///< floats whose rows lie as columns
};

/// Rows × cols, row-major, cols contiguous. 1-D tensors have rows == 1.
/// The bytes belong to the Checkpoint that handed the tensor out. A GGUF
/// tensor begins at a multiple of 8; a safetensors one can begin anywhere.
struct Tensor {
  std::string name;
  Encoding encoding = Encoding::f32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  /// MLX's encodings: u32 words, cols·bits/32 a row.
  std::span<const std::byte> bytes;
  /// Only for MLX's encodings. mlx_affine: w = scale·code + bias, one pair per
  /// group of cols. The others have scales of one byte and no biases, and one
  /// factor more for the whole matrix, which MLX's own files leave at 1.
  struct Affine {
    int bits = 0;
    int group_size = 0;
    Encoding dtype = Encoding::f16;  ///< of scales and biases: f32, f16 or bf16
    std::span<const std::byte> scales;  ///< [rows, cols / group_size]
    std::span<const std::byte> biases;  ///< [rows, cols / group_size]
    float factor = 1;
  } affine;
  /// Only for other programs' layouts, whose rows needn't be contiguous: the
  /// spans (`bytes` too) are those of the stored matrix, of which this tensor
  /// is the rows from first_row on.
  struct Foreign {
    enum class Scale { f32, f16, bf16, e8m0 };
    int bits = 0;
    std::int64_t stored_rows = 0;
    std::int64_t first_row = 0;
    /// Stored rows from one of ours to the next; turned alone has others
    /// than 1.
    std::int64_t row_step = 1;
    /// One scale serves a block of so many rows and cols.
    std::int64_t block_rows = 1;
    std::int64_t block_cols = 0;
    Scale scale_type = Scale::f16;  ///< turned: of the values
    std::span<const std::byte> scales;
    bool inverse_scales = false;       ///< they divide
    std::span<const std::byte> zeros;  ///< empty: the middle of the range
    int zero_shift = 0;                ///< to be added to a stored zero
    /// The group of each col, int32; empty: col / block_cols.
    std::span<const std::byte> groups;
  } foreign;

  /// Bytes a reader of the whole tensor must move, scales and biases included.
  std::size_t total_bytes() const {
    const std::size_t own =
        bytes.size() + affine.scales.size() + affine.biases.size();
    if (foreign.stored_rows == 0) {
      return own;
    }
    const std::size_t stored =
        own + foreign.scales.size() + foreign.zeros.size();
    return stored * static_cast<std::size_t>(rows) /
           static_cast<std::size_t>(foreign.stored_rows);
  }
};

}  // namespace roofline
