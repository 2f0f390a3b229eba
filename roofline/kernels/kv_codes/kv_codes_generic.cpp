#include "roofline/kernels/simd/vec_generic.h"

#include "roofline/kernels/kv_codes/kv_codes_impl.h"
#include "roofline/kernels/kv_codes/kv_codes_variants.h"

namespace roofline {

const KvCodeKernels& kv_code_kernels_generic() {
  static constexpr KvCodeKernels kernels{"generic", encode_row<Vec>};
  return kernels;
}

}  // namespace roofline
