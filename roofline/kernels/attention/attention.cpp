#include "roofline/kernels/attention/attention.h"

#include "roofline/kernels/attention/plan.h"

namespace roofline {

const AttentionKernels* attention_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) {
    return &attention_kernels_avx512();
  }
  if (isa == Isa::avx2) {
    return &attention_kernels_avx2();
  }
#endif
  return isa == Isa::generic ? &attention_kernels_generic() : nullptr;
}

const AttentionKernels& attention_kernels() {
  const AttentionKernels* kernels = attention_kernels(active_isa());
  return kernels ? *kernels : attention_kernels_generic();
}

void attend(const AttentionArgs& args, ThreadPool& pool) {
  AttentionPlan plan;
  plan.prepare({&args, 1}, pool.threads());
  auto piece = [&plan](int index, int worker) { plan.run(index, worker); };
  pool.run(plan.pieces(), piece);
}

}  // namespace roofline
