#include "roofline/kernels/simd/vec_neon.h"

#include "roofline/kernels/kv_codes/kv_codes_impl.h"
#include "roofline/kernels/kv_codes/kv_codes_variants.h"

namespace roofline {

const KvCodeKernels& kv_code_kernels_neon() {
  static constexpr KvCodeKernels kernels{"neon", encode_row<Vec>};
  return kernels;
}

}  // namespace roofline
