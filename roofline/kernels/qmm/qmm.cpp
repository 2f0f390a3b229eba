#include "roofline/kernels/qmm/qmm.h"

#include <atomic>

#include "roofline/kernels/isa_table.h"
#include "roofline/kernels/qmm/qmm_variants.h"

namespace roofline {

namespace {

constexpr IsaTable<QmmKernels> kVariants{
    qmm_generic,
    ROOFLINE_ON_X86(qmm_avx2),
    ROOFLINE_ON_X86(qmm_avx512),
    ROOFLINE_ON_ARM(qmm_neon),
    ROOFLINE_ON_ARM(qmm_i8mm)};

}  // namespace

std::uint64_t new_stamp() {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

const QmmKernels* qmm_kernels(Isa isa) {
  return kVariants.find(isa);
}

const QmmKernels& qmm_kernels() {
  return kVariants.active();
}

}  // namespace roofline
