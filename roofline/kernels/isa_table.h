// One kernel's variants by instruction set, and the choice between them. An op
// lists its variants once, with a function each that an instruction set's own
// file defines; files of another processor's sets aren't compiled, so their
// functions are named inside ROOFLINE_ON_X86 or ROOFLINE_ON_ARM.
#pragma once

#include "roofline/base/cpu_features.h"

#if defined(__x86_64__)
#define ROOFLINE_ON_X86(get) get
#else
#define ROOFLINE_ON_X86(get) nullptr
#endif
#if defined(__aarch64__)
#define ROOFLINE_ON_ARM(get) get
#else
#define ROOFLINE_ON_ARM(get) nullptr
#endif

namespace roofline {

/// Kernels: the struct of an op's functions, with a name.
template <class Kernels>
struct IsaTable {
  using Get = const Kernels& (*)();

  Get generic;
  Get avx2 = nullptr;
  Get avx512 = nullptr;
  Get neon = nullptr;
  Get i8mm = nullptr;
  Get amx = nullptr;

  /// The variant made for this set; nullptr when this build has none.
  const Kernels* find(Isa isa) const {
    const Get get = own(isa);
    return get != nullptr ? &get() : nullptr;
  }

  /// What active_isa() runs: its variant, or that of the set below it.
  const Kernels& active() const {
    Isa isa = active_isa();
    while (own(isa) == nullptr) {
      isa = isa == Isa::neon || isa == Isa::avx2
                ? Isa::generic
                : static_cast<Isa>(static_cast<int>(isa) - 1);
    }
    return own(isa)();
  }

 private:
  Get own(Isa isa) const {
    switch (isa) {
      case Isa::amx:
        return amx;
      case Isa::i8mm:
        return i8mm;
      case Isa::neon:
        return neon;
      case Isa::avx512:
        return avx512;
      case Isa::avx2:
        return avx2;
      case Isa::generic:
        break;
    }
    return generic;
  }
};

}  // namespace roofline
