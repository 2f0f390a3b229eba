// A row block of any packed format as bytes and floats, for AVX2's products of
// many tokens (byte_product_avx2.h), and how its values are multiplied: as few
// of their products are widened as its largest value allows. Included by
// qmm_avx2.cpp.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/qmm/ask_ahead.h"
#include "roofline/kernels/qmm/codes_avx2.h"
#include "roofline/kernels/qmm/unpacked_tile_avx2.h"

namespace roofline {

namespace {

/// How many columns' products a 16-bit sum holds: (value − center)·x, where x
/// is at most 127. Sums may wrap on their way: only the whole must fit.
enum class ByteSums {
  groups,  ///< the 16 columns of a lane: values up to 16 from the center
  halves,  ///< 8 of them: up to 32
  none,    ///< words (word_tile_avx2.h)
};

/// How a row block is multiplied.
struct BytePlan {
  ByteSums sums = ByteSums::none;
  int center = 0;      ///< what values are counted from
  bool biases = true;  ///< else the form's offset is the center

  bool operator==(const BytePlan&) const = default;
};

/// Whether values up to `most` are within `reach` of a center, which is set in
/// `plan`: the offset, if there is one and it will do.
inline bool find_center(
    const PackedForm& form,
    int most,
    int reach,
    BytePlan& plan) {
  const bool own =
      form.offset != 0 && form.offset <= reach && most - form.offset < reach;
  plan.center = own ? form.offset : reach;
  plan.biases = !own;
  return own || most <= 2 * reach;
}

/// most: the row block's largest value.
inline BytePlan plan_bytes(const PackedForm& form, int most) {
  constexpr int kGroupReach = 16;  // · 127 · 16 columns < 2^15
  constexpr int kHalfReach = 32;
  BytePlan plan;
  if (scale_sets(form.format) == 1 &&
      find_center(form, most, kGroupReach, plan)) {
    plan.sums = ByteSums::groups;
  } else if (find_center(form, most, kHalfReach, plan)) {
    plan.sums = ByteSums::halves;
  }
  return plan;
}

/// The largest value of a row block, or of what it can have.
template <PackedFormat kFormat>
int largest_value(const PackedMatrix& w, const BlockGroups& block) {
  if constexpr (has_table(kFormat)) {
    return *std::max_element(w.table.begin(), w.table.end());
  } else {
    __m256i most = _mm256_setzero_si256();
    for (int g = 0; g < w.groups(); ++g) {
      const std::byte* stream = block.codes(g);
      ask_ahead<kFormat>(block, stream, g);
      for (int i = 0; i < code_bytes(kFormat); i += 32) {
        most = _mm256_max_epu8(most, load_line(stream + i));
      }
    }
    alignas(32) std::uint8_t lanes[32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), most);
    return *std::max_element(std::begin(lanes), std::end(lanes));
  }
}

/// A group's values [8, 16 rows, 4 columns].
template <PackedFormat kFormat>
inline void unpack_values(const std::byte* stream, __m256i table, __m256i* to) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  constexpr int kLines = code_bytes(kFormat) / 64;
#pragma GCC unroll 8
  for (int i = 0; i < kLines; ++i) {
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const LineValues<kFormat> line(stream + 64 * i + 32 * h, table);
      _mm256_store_si256(to + h, line.low);
      if constexpr (kNibbles) {
        _mm256_store_si256(to + kHalves + h, line.high);
      }
    }
    to += kNibbles ? 2 * kHalves : kHalves;
  }
}

/// A set's scales and, if the plan has any, biases of values counted from the
/// center.
inline void unpack_set(
    const BlockGroups& block,
    int group,
    int set,
    const BytePlan& plan,
    float* scales,
    float* biases) {
#pragma GCC unroll 2
  for (int h = 0; h < kHalves; ++h) {
    const std::byte* own = block.scales(group, set) + kSetScales / kHalves * h;
    const __m256 scale = load_halves(own);
    _mm256_store_ps(scales + kHalf * h, scale);
    if (plan.biases) {
      _mm256_store_ps(
          biases + kHalf * h,
          _mm256_fmadd_ps(
              scale,
              _mm256_set1_ps(static_cast<float>(plan.center)),
              load_bias(block, own, scale)));
    }
  }
}

/// Sets of scales that an unpacked group has: with sums of halves one for each.
inline int unpacked_sets(PackedFormat format, const BytePlan& plan) {
  return plan.sums == ByteSums::halves ? 2 : scale_sets(format);
}

/// codes [groups, 8, 16 rows, 4 columns]; scales [groups, sets, 16] and, if the
/// plan has any, biases.
template <PackedFormat kFormat>
UnpackedBlock unpack_bytes(
    const PackedMatrix& w,
    const BlockGroups& block,
    const BytePlan& plan,
    AlignedBuffer<std::uint8_t>& codes,
    AlignedBuffer<float>& scales) {
  const auto groups = static_cast<std::size_t>(w.groups());
  const int sets = unpacked_sets(kFormat, plan);
  const std::size_t set_floats =
      groups * static_cast<std::size_t>(sets) * kRowBlock;
  codes.grow(groups * kUnpackedCodes);
  scales.grow(2 * set_floats);
  float* biases = scales.data() + set_floats;
  const __m256i table = load_table(w);
  for (int g = 0; g < w.groups(); ++g) {
    if constexpr (has_table(kFormat)) {
      ask_ahead<kFormat>(block, block.codes(g), g);
    }
    unpack_values<kFormat>(
        block.codes(g),
        table,
        reinterpret_cast<__m256i*>(
            codes.data() + std::ptrdiff_t{g} * kUnpackedCodes));
    for (int set = 0; set < sets; ++set) {
      const std::ptrdiff_t at = (std::ptrdiff_t{g} * sets + set) * kRowBlock;
      unpack_set(
          block,
          g,
          std::min(set, scale_sets(kFormat) - 1),
          plan,
          scales.data() + at,
          biases + at);
    }
  }
  return {codes.data(), scales.data(), biases};
}

}  // namespace

}  // namespace roofline
