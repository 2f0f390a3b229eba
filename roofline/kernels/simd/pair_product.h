// A product of matrices of bfloat16 in pairs, the value of the lower index in
// the lower bits: what the kernels of gemm and attention are asked for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace roofline {

/// c[rows, columns] (+)= a[rows, pairs] · b[pairs, columns], sums in float32.
/// Rows of b are there up to whole vectors of columns.
struct PairProduct {
  const std::uint32_t* a = nullptr;
  std::ptrdiff_t lda = 0;
  const std::uint32_t* b = nullptr;
  std::ptrdiff_t ldb = 0;
  float* c = nullptr;
  std::ptrdiff_t ldc = 0;
  int rows = 0;
  int columns = 0;
  int pairs = 0;
  bool accumulate = false;

  /// The same without its first rows.
  PairProduct after_rows(int count) const {
    PairProduct rest = *this;
    rest.a += count * lda;
    rest.c += count * ldc;
    rest.rows -= count;
    return rest;
  }
  /// Its first rows.
  PairProduct first_rows(int count) const {
    PairProduct first = *this;
    first.rows = count;
    return first;
  }
  /// Columns [begin, begin + count).
  PairProduct of_columns(int begin, int count) const {
    PairProduct part = *this;
    part.b += begin;
    part.c += begin;
    part.columns = count;
    return part;
  }
  /// What pairs [begin, begin + count) add; the first of them set c.
  PairProduct of_pairs(int begin, int count) const {
    PairProduct part = *this;
    part.a += begin;
    part.b += begin * ldb;
    part.pairs = count;
    part.accumulate = accumulate || begin > 0;
    return part;
  }
};

}  // namespace roofline
