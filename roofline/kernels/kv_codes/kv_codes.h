// Keys and values in codes: a head's row of one token is cut into groups, and
// each group is kept as unsigned codes with a scale and a bias (affine):
//   x ≈ scale · code + bias,  0 ≤ code < 2^bits,  |x − that| ≤ scale / 2.
// Scale and bias are f16; the bias is rounded down and the scale up, so that no
// value falls outside the codes. Writing is here; attention reads codes where
// they lie (kernels/attention).
//
// Layout: 8 bits take a byte each. Of 4 bits, 16 bytes hold 32 values: byte i
// has value i in its low half and value i + 16 in its high half. A row is
// padded with zero codes to whole groups. Scales and biases lie slot after
// slot, so that those of a tile of keys are read as vectors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/base/cpu_features.h"

namespace roofline {

/// Values whose 4-bit codes lie together; groups are whole blocks.
constexpr int kKvBlock = 32;

/// One layer's keys or values of all heads, in codes.
struct KvCodes {
  int bits = 0;   ///< 8 or 4; 0: there are no codes
  int group = 0;  ///< values that share a scale: 32 or 64
  int dims = 0;   ///< of a row
  int slots = 0;
  std::uint8_t* codes = nullptr;    ///< [heads, slots, row_bytes()]
  std::uint16_t* scales = nullptr;  ///< f16 [heads, groups(), slots]
  std::uint16_t* biases = nullptr;  ///< as scales

  int groups() const { return (dims + group - 1) / group; }
  int row_bytes() const { return groups() * group * bits / 8; }
};

struct KvCodeKernels {
  const char* name;
  /// x [to.dims] becomes the codes of one slot of one head.
  void (*encode)(const float* x, const KvCodes& to, int head, int slot);
};

const KvCodeKernels& kv_code_kernels();
const KvCodeKernels* kv_code_kernels(Isa isa);
const KvCodeKernels& kv_code_kernels_generic();

/// The values of one slot of one head: out [from.dims].
void decode_kv(const KvCodes& from, int head, int slot, float* out);

}  // namespace roofline
