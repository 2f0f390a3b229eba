// Quantized matrix product: y = x · wᵀ, w in 4 or 8 bits (PackedMatrix), wc the
// value of a code.
//
// Fast: x is quantized to 15 bits in groups of 32 columns (symmetric), held as
// two planes of int8: x = xs·xc, xc = 128·high + low. Products are summed as
// integers within a group, and
//   y[t,r] = unit · Σ_g xs[t,g]·(ws[r,g]·Σ_c xc·wc + wb[r,g]·Σ_c xc).
// With two scales a group (q4_16, q8_16) each half of it has its own two terms.
// With many tokens the second plane is half of the work. Leaving it out costs
// small models their answers (SmolLM2: KL 4e-3 nats a token; two planes: 3e-7),
// but nearly all of that comes from few values, the outliers: trim() leaves
// them alone their high codes, in a unit that suits the others, and the
// products skip the rest of that plane (docs/accuracy.md). Exact: x stays
// float32 and w is decoded in registers. Reads w once: bytes() of the matrix;
// 2·tokens·rows·cols operations.
#pragma once

#include <cstdint>

#include "roofline/base/cpu_features.h"
#include "roofline/kernels/packed_matrix.h"

namespace roofline {

/// int8 codes a column of x: high and low.
constexpr int kPlanes = 2;
/// What the high plane counts in.
constexpr int kHighUnit = 128;
/// The code of a group's largest magnitude.
constexpr int kMostCode = 127 * kHighUnit;

/// x in integer codes, row-major. The caller owns the memory.
struct QuantizedRows {
  int tokens = 0;
  int cols = 0;
  /// [tokens, cols / 32, 2, 32]: a group's high codes, then its low ones, in
  /// [-127, 127]; 64-byte aligned.
  std::int8_t* codes = nullptr;
  float* scales = nullptr;  ///< [tokens, cols / 32]
  float* sums = nullptr;    ///< [tokens, cols / 32]: scale · Σ xc
  /// [tokens, cols / 32, 2]: the same for each 16 columns, which only q4_16 and
  /// q8_16 read, and with AVX2 q8 and q4_table; nullptr: not wanted.
  float* half_sums = nullptr;
  /// [tokens, cols / 32]: Σ xc.
  std::int32_t* code_sums = nullptr;
  /// [tokens, cols / 32]: bit i is 0 where the high codes of a group's columns
  /// 4i…4i+3 are all zero; nullptr: 1 everywhere. What trim() leaves.
  std::uint8_t* high = nullptr;
  /// new_stamp() once the rows are complete: while a thread sees the same one,
  /// what it found out of them serves its next calls, too. 0: it doesn't.
  std::uint64_t stamp = 0;
};

/// One that no rows have had in this process.
std::uint64_t new_stamp();

/// A quantized format's place in a table of variants.
constexpr std::size_t format_index(PackedFormat format) {
  return static_cast<std::size_t>(format) -
         static_cast<std::size_t>(PackedFormat::q4);
}

/// One instruction set's functions. Ranges are half-open.
struct QmmKernels {
  const char* name;
  /// x [tokens, cols] float32 → q, rows [token_begin, token_end).
  void (*quantize)(
      const float* x,
      int token_begin,
      int token_end,
      const QuantizedRows& q);
  /// y [tokens, ldy] float32; writes columns of row blocks [block_begin,
  /// block_end), at most w.rows of them, for tokens [token_begin, token_end).
  void (*fast)(
      const PackedMatrix& w,
      int block_begin,
      int block_end,
      const QuantizedRows& x,
      int token_begin,
      int token_end,
      float* y,
      int ldy);
  /// The same from float32 x [tokens, cols].
  void (*exact)(
      const PackedMatrix& w,
      int block_begin,
      int block_end,
      const float* x,
      int token_begin,
      int token_end,
      float* y,
      int ldy);
  /// Clears most of the high codes of rows [token_begin, token_end) by rounding
  /// to larger units, and fills q.high. A group's error is in proportion to its
  /// unit: none becomes larger than what 2^octaves times the geometric mean of
  /// the row's scales gives in 8 bits. What is beyond 8 bits in that unit keeps
  /// its high codes. Depends on nothing but the row.
  void (*trim)(
      const QuantizedRows& q,
      int token_begin,
      int token_end,
      float octaves);
  /// Whether fast() is quicker where trim() cleared high codes. Where it isn't,
  /// steps don't trim: the variant's trim() is there to be held against others.
  bool skips_high = false;
  /// From so many rows on a head's coarse copy in q4 (head_screen.h), met by
  /// trimmed rows, is read quicker than the head; 0: never.
  int least_coarse_rows = 0;
};

/// The variant for active_isa().
const QmmKernels& qmm_kernels();
/// A given variant; nullptr when this build has none.
const QmmKernels* qmm_kernels(Isa isa);

}  // namespace roofline
