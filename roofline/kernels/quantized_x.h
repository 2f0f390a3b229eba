// Rows of activations as the codes that qmm's fast products take, with memory
// of their own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/qmm/qmm.h"

namespace roofline {

struct QuantizedX {
  /// x: [tokens, cols]; read before this returns.
  QuantizedX(const float* x, int tokens, int cols, ThreadPool& pool)
      : codes(static_cast<std::size_t>(tokens) * cols * kPlanes + kAlign),
        factors(4 * (static_cast<std::size_t>(tokens) * cols / kGroup)),
        code_sums(factors.size() / 4) {
    const auto at = reinterpret_cast<std::uintptr_t>(codes.data());
    rows.tokens = tokens;
    rows.cols = cols;
    rows.codes = codes.data() + (kAlign - at % kAlign) % kAlign;
    rows.scales = factors.data();
    rows.sums = factors.data() + factors.size() / 4;
    rows.half_sums = factors.data() + factors.size() / 2;
    rows.code_sums = code_sums.data();
    constexpr int kTokens = 16;  // a piece: a few microseconds
    const QmmKernels& kernels = qmm_kernels();
    auto quantize = [&](int piece, int) {
      const int begin = piece * kTokens;
      kernels.quantize(x, begin, std::min(tokens, begin + kTokens), rows);
    };
    pool.run((tokens + kTokens - 1) / kTokens, quantize);
  }

  static constexpr std::size_t kAlign = 64;
  std::vector<std::int8_t> codes;
  std::vector<float> factors;
  std::vector<std::int32_t> code_sums;
  QuantizedRows rows;
};

}  // namespace roofline
