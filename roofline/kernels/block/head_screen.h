// A coarse copy of a model's head: 4 bits with a scale for each 32 columns.
// Where few logits decide, the step reads it instead of the head and then the
// few rows of the head that can be among them (step_head.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/packed_matrix.h"
#include "roofline/weights/tensor.h"

namespace roofline {

inline constexpr PackedForm kScreenForm{PackedFormat::q4, 1, 8};
/// No row is taken for more exact: it is at most so many times as long as its
/// error. (4 bits leave a tenth of a row.)
inline constexpr double kMostErrorRatio = 32;

/// Whether reading a coarse copy saves enough of reading a head [rows, cols]
/// that is held in so many bytes.
bool pays_to_screen(std::int64_t rows, std::int64_t cols, std::size_t bytes);

/// Bytes of the coarse copy.
std::size_t screen_bytes(std::int64_t rows, std::int64_t cols);
/// How many row errors go with it: one a row, zeros up to a whole row block.
std::size_t screen_errors(std::int64_t rows);

/// Makes the coarse copy in out [screen_bytes, 64-byte aligned]; errors
/// [screen_errors] are the lengths of the rows' differences from the head's, or
/// 1 / kMostErrorRatio of the rows' own where that is more.
PackedMatrix make_screen(
    const Tensor& head,
    std::span<std::byte> out,
    std::span<float> errors,
    ThreadPool& pool);

}  // namespace roofline
