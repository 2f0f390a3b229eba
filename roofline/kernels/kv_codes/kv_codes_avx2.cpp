#include "roofline/kernels/simd/vec_avx2.h"

#include "roofline/kernels/kv_codes/kv_codes_impl.h"
#include "roofline/kernels/kv_codes/kv_codes_variants.h"

namespace roofline {

const KvCodeKernels& kv_code_kernels_avx2() {
  static constexpr KvCodeKernels kernels{"avx2", encode_row<Vec>};
  return kernels;
}

}  // namespace roofline
