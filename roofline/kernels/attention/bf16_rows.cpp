#include "roofline/kernels/attention/bf16_rows.h"

namespace roofline {

ManyRows bf16_rows() {
#if defined(__x86_64__)
  static const bool known = __builtin_cpu_supports("avx512bf16");
  return known && active_isa() == Isa::avx512 ? bf16_rows_avx512 : nullptr;
#else
  return nullptr;
#endif
}

bool fits_bf16_rows(const AttentionArgs& args) {
  constexpr int kPairDims = 32;
  return args.kv.type == KvType::f16 && args.kv.head_dim % kPairDims == 0 &&
         !args.softcap;
}

}  // namespace roofline
