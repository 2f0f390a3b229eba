#include "roofline/kernels/simd/vec_avx512.h"

#include "roofline/kernels/kv_codes/kv_codes_impl.h"
#include "roofline/kernels/kv_codes/kv_codes_variants.h"

namespace roofline {

const KvCodeKernels& kv_code_kernels_avx512() {
  static constexpr KvCodeKernels kernels{"avx512", encode_row<Vec>};
  return kernels;
}

}  // namespace roofline
