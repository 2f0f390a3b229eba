// Which tokens a thread's memory holds what was found out of: the pieces of a
// product that a thread takes one after the other mostly have the same ones.
// Included by what finds it out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/qmm.h"

namespace roofline {

namespace {

/// Tokens of a call and what is found out of them.
struct FoundTokens {
  FoundTokens() = default;
  FoundTokens(const QuantizedRows& x, int token_begin, int tokens)
      : stamp(x.stamp),
        codes(
            x.codes +
            static_cast<std::ptrdiff_t>(token_begin) * kPlanes * x.cols),
        tokens(tokens) {}

  bool operator==(const FoundTokens&) const = default;

  std::uint64_t stamp = 0;
  const std::int8_t* codes = nullptr;  ///< of the first token
  int tokens = 0;
  int center = 0;     ///< what values are counted from
  float unit = 1.0f;  ///< what is part of the tokens' factors
  int sums = 0;       ///< which of the codes' sums there are, in any numbers
};

/// Whether `found` is `asked` already; else it will be.
inline bool is_found(FoundTokens& found, const FoundTokens& asked) {
  const bool same = asked.stamp != 0 && found == asked;
  found = asked;
  return same;
}

}  // namespace

}  // namespace roofline
