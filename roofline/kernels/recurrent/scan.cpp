#include "roofline/kernels/recurrent/scan.h"

#include "roofline/kernels/isa_table.h"
#include "roofline/kernels/recurrent/scan_variants.h"

namespace roofline {

namespace {

constexpr IsaTable<ScanKernels> kVariants{
    scan_generic,
    ROOFLINE_ON_X86(scan_avx2),
    ROOFLINE_ON_X86(scan_avx512),
    ROOFLINE_ON_ARM(scan_neon)};

}  // namespace

const ScanKernels* scan_kernels(Isa isa) {
  return kVariants.find(isa);
}

const ScanKernels& scan_kernels() {
  return kVariants.active();
}

}  // namespace roofline
