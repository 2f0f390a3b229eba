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
  /// MLX's packed codes with scales and biases beside them (see `affine`).
  mlx_affine,
};

/// Rows × cols, row-major, cols contiguous. 1-D tensors have rows == 1.
/// The bytes belong to the Checkpoint that handed the tensor out. A GGUF
/// tensor begins at a multiple of 8; a safetensors one can begin anywhere.
struct Tensor {
  std::string name;
  Encoding encoding = Encoding::f32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  /// mlx_affine: u32 words, cols·bits/32 a row.
  std::span<const std::byte> bytes;
  /// Only for mlx_affine: w = scale·code + bias, one pair per group of cols.
  struct Affine {
    int bits = 0;
    int group_size = 0;
    Encoding dtype = Encoding::f16;  ///< of scales and biases: f32, f16 or bf16
    std::span<const std::byte> scales;  ///< [rows, cols / group_size]
    std::span<const std::byte> biases;  ///< [rows, cols / group_size]
  } affine;

  /// Bytes a reader of the whole tensor must move, scales and biases included.
  std::size_t total_bytes() const {
    return bytes.size() + affine.scales.size() + affine.biases.size();
  }
};

}  // namespace roofline
