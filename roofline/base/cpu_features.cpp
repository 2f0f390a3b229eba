#include "roofline/base/cpu_features.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

#include "roofline/base/errors.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace roofline {

namespace {

#if defined(__x86_64__)

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) {
    return {};
  }
  return r;
}

bool has(unsigned word, int bit) {
  return ((word >> bit) & 1u) != 0;
}

/// Which register files the operating system saves (XCR0).
std::uint64_t saved_states() {
  if (!has(cpuid(1).c, 27)) {  // OSXSAVE
    return 0;
  }
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}

bool has_avx512_bf16() {
  return has(cpuid(7, 1).a, 5);
}

bool has_amx() {
  const unsigned features = cpuid(7).d;
  return has(features, 22) /* BF16 */ && has(features, 24) /* TILE */ &&
         has_avx512_bf16();
}

/// Tiles' data are 8 KiB a thread, which Linux saves only for a process that
/// asked for it. The answer holds for all threads.
bool may_use_amx() {
#if defined(__linux__)
  constexpr std::uint64_t kTiles = std::uint64_t{3} << 17;  // config and data
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  return (saved_states() & kTiles) == kTiles &&
         ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

/// "AuthenticAMD", of which the first register has four letters.
bool is_amd() {
  constexpr unsigned kAuth = 0x68747541;
  return cpuid(0).b == kAuth;
}

Isa detect() {
  constexpr std::uint64_t kYmm = 0x6;   // XMM, YMM
  constexpr std::uint64_t kZmm = 0xe6;  // and masks, both halves of ZMM
  const std::uint64_t saved = saved_states();
  const Registers basic = cpuid(1);
  const Registers more = cpuid(7);
  const bool avx2 = (saved & kYmm) == kYmm && has(basic.c, 12) /* FMA */ &&
                    has(basic.c, 28) /* AVX */ && has(basic.c, 29) /* F16C */ &&
                    has(more.b, 5) /* AVX2 */ && has(more.b, 8) /* BMI2 */;
  if (!avx2) {
    return Isa::generic;
  }
  const bool avx512 = (saved & kZmm) == kZmm && has(more.b, 16) /* F */ &&
                      has(more.b, 17) /* DQ */ && has(more.b, 30) /* BW */ &&
                      has(more.b, 31) /* VL */ && has(more.c, 11) /* VNNI */;
  if (!avx512) {
    return Isa::avx2;
  }
  return has_amx() && may_use_amx() ? Isa::amx : Isa::avx512;
}

std::string brand() {
  if (cpuid(0x80000000u).a < 0x80000004u) {
    return {};
  }
  std::array<char, 49> text{};
  for (unsigned i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002u + i);
    std::memcpy(text.data() + 16 * i, &r, 16);
  }
  return text.data();
}

#elif defined(__aarch64__)

bool has_amx() {
  return false;
}

bool has_avx512_bf16() {
  return false;
}

#if defined(__APPLE__)

bool has(const char* feature) {
  const std::string name = std::string("hw.optional.arm.") + feature;
  int value = 0;
  std::size_t size = sizeof(value);
  return ::sysctlbyname(name.c_str(), &value, &size, nullptr, 0) == 0 &&
         value != 0;
}

bool has_dot_products() {
  return has("FEAT_DotProd");
}

bool has_matrix_products() {
  return has("FEAT_I8MM") && has("FEAT_BF16");
}

#else

// The bits of the Linux ABI, named here because older headers lack them.
bool has_dot_products() {
  constexpr unsigned long kAsimdDp = 1ul << 20;
  return (::getauxval(AT_HWCAP) & kAsimdDp) != 0;
}

bool has_matrix_products() {
  constexpr unsigned long kBoth =
      (1ul << 13) /* I8MM */ | (1ul << 14) /* BF16 */;
  return (::getauxval(AT_HWCAP2) & kBoth) == kBoth;
}

#endif

Isa detect() {
  if (!has_dot_products()) {
    return Isa::generic;
  }
  return has_matrix_products() ? Isa::i8mm : Isa::neon;
}

std::string brand() {
  return {};
}

#else

bool has_amx() {
  return false;
}

bool has_avx512_bf16() {
  return false;
}

Isa detect() {
  return Isa::generic;
}

std::string brand() {
  return {};
}

#endif

bool is_arm(Isa isa) {
  return isa == Isa::neon || isa == Isa::i8mm;
}

std::vector<Isa> find_runnable() {
  std::vector<Isa> found;
  for (const Isa isa : kAllIsas) {
    const bool same_family = is_arm(isa) == is_arm(best_isa());
    if (isa == Isa::generic || (same_family && isa <= best_isa())) {
      found.push_back(isa);
    }
  }
  return found;
}

std::string names_of(std::span<const Isa> isas) {
  std::string names;
  for (std::size_t i = 0; i < isas.size(); ++i) {
    names += i == 0 ? "" : i + 1 == isas.size() ? " or " : ", ";
    names += isa_name(isas[i]);
  }
  return names;
}

std::string system_brand() {
#if defined(__APPLE__)
  std::array<char, 128> text{};
  std::size_t size = text.size() - 1;
  if (::sysctlbyname(
          "machdep.cpu.brand_string",
          text.data(),
          &size,
          nullptr,
          0) == 0) {
    return text.data();
  }
#endif
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line)) {
    if (line.starts_with("model name") || line.starts_with("Model")) {
      const auto colon = line.find(':');
      return colon == std::string::npos ? "" : line.substr(colon + 1);
    }
  }
  return {};
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

Isa requested_isa() {
  const char* name = std::getenv("ROOFLINE_ISA");
  if (name == nullptr || *name == '\0') {
    return best_isa();
  }
  for (Isa isa : kAllIsas) {
    if (isa_name(isa) != name) {
      continue;
    }
    if (!isa_runs(isa)) {
      fail<UserError>(
          "ROOFLINE_ISA asks for " + std::string(name),
          "This machine runs " + std::string(isa_name(best_isa())) + " at best",
          "Unset it, or choose " + names_of(runnable_isas()));
    }
    return isa;
  }
  fail<UserError>(
      "ROOFLINE_ISA is " + std::string(name),
      "No instruction set has that name",
      "Unset it, or choose " + names_of(runnable_isas()));
}

/// -1 until first asked for.
std::atomic<int> g_active{-1};

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::i8mm:
      return "i8mm";
    case Isa::neon:
      return "neon";
    case Isa::amx:
      return "amx";
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    case Isa::generic:
      break;
  }
  return "generic";
}

Isa best_isa() {
  static const Isa best = detect();
  return best;
}

bool amx_refused() {
  return has_amx() && best_isa() != Isa::amx;
}

std::span<const Isa> runnable_isas() {
  static const std::vector<Isa> runnable = find_runnable();
  return runnable;
}

bool isa_runs(Isa isa) {
  const auto runnable = runnable_isas();
  return std::find(runnable.begin(), runnable.end(), isa) != runnable.end();
}

Isa active_isa() {
  int active = g_active.load(std::memory_order_acquire);
  if (active < 0) {
    // Two threads may both get here; they find the same answer.
    active = static_cast<int>(requested_isa());
    int none = -1;
    if (!g_active.compare_exchange_strong(none, active)) {
      active = none;
    }
  }
  return static_cast<Isa>(active);
}

bool can_force(Isa isa) {
  const bool emulated =
      isa == Isa::amx && best_isa() == Isa::avx512 && has_avx512_bf16();
  return emulated || isa_runs(isa);
}

void force_isa(Isa isa) {
  if (!can_force(isa)) {
    fail<BugError>(
        "Can't force " + std::string(isa_name(isa)),
        "This machine doesn't run it",
        "Check can_force() first");
  }
  g_active.store(static_cast<int>(isa), std::memory_order_release);
}

#if defined(__x86_64__)
const bool kStreamsOnce = is_amd();
#else
const bool kStreamsOnce = true;
#endif

std::string cpu_name() {
  std::string name = trimmed(brand());
  if (name.empty()) {
    name = trimmed(system_brand());
  }
  return name.empty() ? "unknown processor" : name;
}

}  // namespace roofline
