#include "roofline/kernels/attention/attention.h"

#include "roofline/kernels/attention/plan.h"
#include "roofline/kernels/isa_table.h"

namespace roofline {

namespace {

constexpr IsaTable<AttentionKernels> kVariants{
    attention_kernels_generic,
    ROOFLINE_ON_X86(attention_kernels_avx2),
    ROOFLINE_ON_X86(attention_kernels_avx512),
    ROOFLINE_ON_ARM(attention_kernels_neon)};

}  // namespace

const AttentionKernels* attention_kernels(Isa isa) {
  return kVariants.find(isa);
}

const AttentionKernels& attention_kernels() {
  return kVariants.active();
}

void attend(const AttentionArgs& args, ThreadPool& pool) {
  // Kept, since its scratch for all threads would be cleared in every call.
  thread_local AttentionPlan own;
  AttentionPlan& plan = own;
  plan.prepare({&args, 1}, pool.threads());
  auto piece = [&plan](int index, int worker) { plan.run(index, worker); };
  pool.run(plan.pieces(), piece);
}

}  // namespace roofline
