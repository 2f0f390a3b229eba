#include "roofline/kernels/kv_codes/kv_codes.h"

#include "roofline/base/half.h"
#include "roofline/kernels/isa_table.h"
#include "roofline/kernels/kv_codes/kv_codes_variants.h"

namespace roofline {

namespace {

constexpr IsaTable<KvCodeKernels> kVariants{
    kv_code_kernels_generic,
    ROOFLINE_ON_X86(kv_code_kernels_avx2),
    ROOFLINE_ON_X86(kv_code_kernels_avx512),
    ROOFLINE_ON_ARM(kv_code_kernels_neon)};

}  // namespace

const KvCodeKernels* kv_code_kernels(Isa isa) {
  return kVariants.find(isa);
}

const KvCodeKernels& kv_code_kernels() {
  return kVariants.active();
}

void decode_kv(const KvCodes& from, int head, int slot, float* out) {
  const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(head) * from.slots;
  const std::uint8_t* codes = from.codes + (row + slot) * from.row_bytes();
  const std::ptrdiff_t first = row * from.groups() + slot;
  for (int d = 0; d < from.dims; ++d) {
    const std::ptrdiff_t at =
        first + static_cast<std::ptrdiff_t>(d / from.group) * from.slots;
    int code = 0;
    if (from.bits == 8) {
      code = codes[d];
    } else {
      constexpr int kHalf = kKvBlock / 2;
      const int in_block = d % kKvBlock;
      const int byte = codes[d / kKvBlock * kHalf + in_block % kHalf];
      code = in_block < kHalf ? byte & 15 : byte >> 4;
    }
    out[d] = f16_to_f32(from.scales[at]) * static_cast<float>(code) +
             f16_to_f32(from.biases[at]);
  }
}

}  // namespace roofline
