// NEON with dot products: sdot everywhere.
#include "roofline/kernels/qmm/qmm_arm_impl.h"

namespace roofline {

namespace {

void fast(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  static constexpr auto kTiles =
      by_format([]<PackedFormat kFormat>() { return dot_tiles<kFormat>(); });
  product(
      kTiles[format_index(w.format)],
      w,
      block_begin,
      block_end,
      x,
      token_begin,
      token_end,
      y,
      ldy);
}

}  // namespace

const QmmKernels& qmm_neon() {
  static constexpr QmmKernels kKernels{
      "neon",
      quantize_groups<quantize_group>,
      fast,
      exact,
      trim_rows<PortableGroups>};
  return kKernels;
}

}  // namespace roofline
