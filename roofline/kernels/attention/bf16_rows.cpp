#include "roofline/kernels/attention/bf16_rows.h"

namespace roofline {

ManyRows bf16_rows() {
#if defined(__x86_64__)
  static const bool known = __builtin_cpu_supports("avx512bf16");
  switch (active_isa()) {
    case Isa::amx:
      return isa_runs(Isa::amx) ? bf16_rows_amx : bf16_rows_emulated_amx;
    case Isa::avx512:
      return known ? bf16_rows_avx512 : nullptr;
    default:
      return nullptr;
  }
#else
  return nullptr;
#endif
}

bool fits_bf16_rows(const AttentionArgs& args) {
  constexpr int kPairDims = 32;
  const KvView& kv = args.kv;
  return kv.type == KvType::f16 && kv.head_dim % kPairDims == 0 &&
         kv.dims_of_value() == kv.head_dim &&
         kv.dims_of_value_row() == kv.head_dim && !args.softcap &&
         args.sinks == nullptr;
}

}  // namespace roofline
