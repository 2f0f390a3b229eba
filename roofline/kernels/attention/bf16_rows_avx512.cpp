#include "roofline/kernels/attention/bf16_rows_impl.h"

namespace roofline {

void bf16_rows_avx512(const AttentionTask& task) {
  bf16_rows_of<Avx512Products>(task);
}

}  // namespace roofline
