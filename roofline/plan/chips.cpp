#include "roofline/plan/chips.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <vector>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/units.h"

namespace roofline {

namespace {

constexpr int kLargestSmallMemory = 36;  // GiB, see gpu_working_set_limit

// An Apple GPU core has 128 lanes of a multiply-add, for 16-bit floats as for
// 32-bit ones. Apple publishes no clocks; these are what people measured.
constexpr double kOperationsPerCore = 128 * 2;
constexpr std::array<double, 6> kGpuGhz = {0, 1.278, 1.398, 1.38, 1.58, 1.62};
// M5: "over 4x the peak GPU compute for AI" of M4 with its matrix units.
constexpr double kMatrixUnits = 4;

// Four 128-bit vector units a performance core.
constexpr double kCpuOperationsPerCycle = 4 * 8 * 2;
// A cluster of performance cores reads about so much, however wide the memory
// is (M1 Max: 224 to 243 GB/s with two).
constexpr double kClusterGigabytes = 115;
constexpr int kCoresPerCluster = 6;
constexpr double kCpuShareOfMemory = 0.9;

constexpr Chip apple(
    std::string_view name,
    int generation,
    ChipTier tier,
    int gpu_cores,
    double gigabytes_s,
    int cpu_cores,
    double cpu_ghz,
    std::array<int, 4> memory) {
  const double ghz = kGpuGhz[static_cast<std::size_t>(generation)];
  const double tera = gpu_cores * kOperationsPerCore * ghz / 1000 *
                      (generation >= 5 ? kMatrixUnits : 1);
  return {
      ChipVendor::apple,
      name,
      generation,
      tier,
      gpu_cores,
      gigabytes_s,
      tera,
      cpu_cores,
      cpu_ghz,
      memory};
}

constexpr Chip nvidia(
    std::string_view name,
    double gigabytes_s,
    double tera_ops,
    int memory) {
  Chip chip;
  chip.vendor = ChipVendor::nvidia;
  chip.name = name;
  chip.gigabytes_s = gigabytes_s;
  chip.tera_ops = tera_ops;
  chip.memory_gib = {memory};
  return chip;
}

constexpr auto kBase = ChipTier::base;
constexpr auto kPro = ChipTier::pro;
constexpr auto kMax = ChipTier::max;
constexpr auto kUltra = ChipTier::ultra;

// Bandwidth, cores and memory: Apple's technical specifications of the Macs
// (support.apple.com/specs) and press releases. NVIDIA's: data sheets, dense
// 16-bit tensor rate with 32-bit sums.
constexpr std::array kChips = {
    apple("M1", 1, kBase, 7, 68.3, 4, 3.2, {8, 16}),
    apple("M1", 1, kBase, 8, 68.3, 4, 3.2, {8, 16}),
    apple("M1 Pro", 1, kPro, 14, 200, 6, 3.2, {16, 32}),
    apple("M1 Pro", 1, kPro, 16, 200, 8, 3.2, {16, 32}),
    apple("M1 Max", 1, kMax, 24, 400, 8, 3.2, {32, 64}),
    apple("M1 Max", 1, kMax, 32, 400, 8, 3.2, {32, 64}),
    apple("M1 Ultra", 1, kUltra, 48, 800, 16, 3.2, {64, 128}),
    apple("M1 Ultra", 1, kUltra, 64, 800, 16, 3.2, {64, 128}),
    apple("M2", 2, kBase, 8, 100, 4, 3.5, {8, 16, 24}),
    apple("M2", 2, kBase, 10, 100, 4, 3.5, {8, 16, 24}),
    apple("M2 Pro", 2, kPro, 16, 200, 6, 3.5, {16, 32}),
    apple("M2 Pro", 2, kPro, 19, 200, 8, 3.5, {16, 32}),
    apple("M2 Max", 2, kMax, 30, 400, 8, 3.5, {32, 64}),
    apple("M2 Max", 2, kMax, 38, 400, 8, 3.7, {32, 64, 96}),
    apple("M2 Ultra", 2, kUltra, 60, 800, 16, 3.7, {64, 128, 192}),
    apple("M2 Ultra", 2, kUltra, 76, 800, 16, 3.7, {64, 128, 192}),
    apple("M3", 3, kBase, 8, 100, 4, 4.05, {8, 16, 24}),
    apple("M3", 3, kBase, 10, 100, 4, 4.05, {8, 16, 24}),
    apple("M3 Pro", 3, kPro, 14, 150, 5, 4.05, {18, 36}),
    apple("M3 Pro", 3, kPro, 18, 150, 6, 4.05, {18, 36}),
    apple("M3 Max", 3, kMax, 30, 300, 10, 4.05, {36, 96}),
    apple("M3 Max", 3, kMax, 40, 400, 12, 4.05, {48, 64, 128}),
    apple("M3 Ultra", 3, kUltra, 60, 819, 20, 4.05, {96, 256}),
    apple("M3 Ultra", 3, kUltra, 80, 819, 24, 4.05, {96, 256, 512}),
    apple("M4", 4, kBase, 8, 120, 4, 4.4, {16, 24, 32}),
    apple("M4", 4, kBase, 10, 120, 4, 4.4, {16, 24, 32}),
    apple("M4 Pro", 4, kPro, 16, 273, 8, 4.5, {24, 48, 64}),
    apple("M4 Pro", 4, kPro, 20, 273, 10, 4.5, {24, 48, 64}),
    apple("M4 Max", 4, kMax, 32, 410, 10, 4.5, {36}),
    apple("M4 Max", 4, kMax, 40, 546, 12, 4.5, {48, 64, 128}),
    apple("M5", 5, kBase, 8, 153, 4, 4.6, {16, 24, 32}),
    apple("M5", 5, kBase, 10, 153, 4, 4.6, {16, 24, 32}),
    apple("M5 Pro", 5, kPro, 16, 307, 15, 4.4, {24, 48, 64}),
    apple("M5 Pro", 5, kPro, 20, 307, 18, 4.4, {24, 48, 64}),
    apple("M5 Max", 5, kMax, 32, 460, 18, 4.4, {36}),
    apple("M5 Max", 5, kMax, 40, 614, 18, 4.4, {48, 64, 128}),
    nvidia("T4", 320, 65, 16),
    nvidia("V100", 900, 125, 32),
    nvidia("A10", 600, 125, 24),
    nvidia("L4", 300, 121, 24),
    nvidia("L40S", 864, 362, 48),
    nvidia("A100 40GB", 1555, 312, 40),
    nvidia("A100 80GB", 2039, 312, 80),
    nvidia("H100", 3350, 989, 80),
    nvidia("H200", 4800, 989, 141),
    nvidia("RTX 3060", 360, 25.6, 12),
    nvidia("RTX 3090", 936, 71, 24),
    nvidia("RTX 4070", 504, 58, 12),
    nvidia("RTX 4080", 717, 97.5, 16),
    nvidia("RTX 4090", 1008, 165, 24),
    nvidia("RTX 5080", 960, 112.6, 16),
    nvidia("RTX 5090", 1792, 209.5, 32),
    nvidia("RTX A6000", 768, 155, 48),
};

constexpr std::array kClaims = {
    SpeedupClaim{"M1", 2, 3},
    SpeedupClaim{"M1 Pro/Max", 3, 4},
    SpeedupClaim{"M2", 3, 4},
    SpeedupClaim{"M2 Pro/Max/Ultra", 4, 5},
    SpeedupClaim{"M3", 4, 5},
    SpeedupClaim{"M3 Pro/Max/Ultra", 5, 6},
};

/// A name as asked for: letters and digits in lower case, and the GPU cores.
struct AskedChip {
  std::string name;
  std::optional<int> gpu_cores;
  std::optional<int> memory_gib;
};

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      words.back() +=
          static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  return words;
}

bool is_filler(const std::string& word) {
  constexpr std::array<std::string_view, 16> kFillers = {
      "mac",
      "macbook",
      "imac",
      "air",
      "mini",
      "studio",
      "apple",
      "nvidia",
      "geforce",
      "gpu",
      "tesla",
      "chip",
      "core",
      "cores",
      "sxm",
      "pcie"};
  return std::find(kFillers.begin(), kFillers.end(), word) != kFillers.end();
}

/// "m2", which begins the name of an Apple chip.
bool is_generation(const std::string& word) {
  return word.size() >= 2 && word[0] == 'm' && word[1] >= '1' && word[1] <= '9';
}

/// 16 of "16gb".
std::optional<int> gigabytes_of(const std::string& word) {
  const std::size_t digits = word.find_first_not_of("0123456789");
  const bool size = digits > 0 && digits < 4 && word.substr(digits) == "gb";
  return size ? std::optional(std::atoi(word.c_str())) : std::nullopt;
}

AskedChip read_name(std::string_view text) {
  AskedChip asked;
  const std::vector<std::string> words = words_of(text);
  const bool apple = std::any_of(words.begin(), words.end(), is_generation);
  for (std::size_t i = 0; i < words.size(); ++i) {
    // "MacBook Pro M2 Pro": the first one is the machine's.
    if (i > 0 && words[i] == "pro" &&
        (words[i - 1] == "macbook" || words[i - 1] == "mac")) {
      continue;
    }
    if (apple && gigabytes_of(words[i])) {
      asked.memory_gib = gigabytes_of(words[i]);
      continue;
    }
    const bool cores =
        i + 1 < words.size() &&
        (words[i + 1] == "core" || words[i + 1] == "cores" ||
         words[i + 1] == "gpu") &&
        words[i].find_first_not_of("0123456789") == std::string::npos;
    if (cores && words[i].size() < 4) {
      asked.gpu_cores = std::atoi(words[i].c_str());
    } else if (!is_filler(words[i])) {
      asked.name += words[i];
    }
  }
  return asked;
}

bool same_name(const Chip& chip, const AskedChip& asked) {
  const std::string name = read_name(chip.name).name;
  return name == asked.name ||
         // "A100" for "A100 40GB", "h100 80gb hbm3" for "H100".
         (chip.vendor == ChipVendor::nvidia && asked.name.size() >= 4 &&
          (name.rfind(asked.name, 0) == 0 || asked.name.rfind(name, 0) == 0) &&
          std::min(name.size(), asked.name.size()) >= 4);
}

}  // namespace

std::string Chip::label() const {
  return gpu_cores > 0 ? fmt::format("{} ({} GPU cores)", name, gpu_cores)
                       : std::string(name);
}

bool Chip::sold_with(int gib) const {
  return std::find(memory_gib.begin(), memory_gib.end(), gib) !=
         memory_gib.end();
}

int Chip::smallest_memory_gib() const {
  return memory_gib[0];
}

std::span<const Chip> chips() {
  return kChips;
}

std::optional<int> memory_of_chip_name(std::string_view name) {
  return read_name(name).memory_gib;
}

const Chip* look_up_chip(std::string_view name, std::optional<int> memory_gib) {
  const AskedChip asked = read_name(name);
  const Chip* found = nullptr;
  for (const Chip& chip : kChips) {
    if (!same_name(chip, asked) ||
        (asked.gpu_cores && *asked.gpu_cores != chip.gpu_cores)) {
      continue;
    }
    if (memory_gib && chip.sold_with(*memory_gib)) {
      return &chip;
    }
    found = found ? found : &chip;
  }
  return found;
}

const Chip& find_chip(std::string_view name, std::optional<int> memory_gib) {
  if (const Chip* chip = look_up_chip(name, memory_gib)) {
    return *chip;
  }
  std::vector<std::string> names;
  std::string variants;
  const AskedChip asked = read_name(name);
  for (const Chip& chip : kChips) {
    if (names.empty() || names.back() != chip.name) {
      names.emplace_back(chip.name);
    }
    if (asked.gpu_cores &&
        same_name(chip, {asked.name, std::nullopt, std::nullopt})) {
      variants +=
          (variants.empty() ? "" : " or ") + std::to_string(chip.gpu_cores);
    }
  }
  if (!variants.empty()) {
    fail<UserError>(
        fmt::format("There is no \"{}\"", name),
        fmt::format("That chip has {} GPU cores", variants),
        "Name one of these, or none");
  }
  const std::string near = did_you_mean(name, names);
  fail<UserError>(
      fmt::format("No chip \"{}\" is known", name),
      near,
      near.empty() ? "`roofline recommend --list-chips` names all" : "");
}

MachineRates gpu_rates(const Chip& chip) {
  MachineRates rates;
  rates.name = chip.label();
  rates.bytes_per_second = chip.gigabytes_s * 1e9;
  rates.operations_per_second = chip.tera_ops * 1e12;
  // The wider the memory, the less of it a step of small kernels draws: shares
  // that a 7B model at 4 bits reaches in llama.cpp's public list of Apple chips
  // (its discussion 4167), rounded; prefill there at 16 bits.
  constexpr std::array<double, 4> kDecode = {0.75, 0.65, 0.55, 0.45};
  if (chip.vendor == ChipVendor::apple) {
    rates.decode_efficiency = kDecode[static_cast<std::size_t>(chip.tier)];
    rates.prefill_efficiency = 0.65;
  }
  return rates;
}

MachineRates cpu_rates(const Chip& chip) {
  MachineRates rates;
  rates.name = fmt::format("{} CPU", chip.name);
  const int clusters =
      (chip.cpu_cores + kCoresPerCluster - 1) / kCoresPerCluster;
  rates.bytes_per_second = 1e9 * std::min(
                                     chip.gigabytes_s * kCpuShareOfMemory,
                                     clusters * kClusterGigabytes);
  rates.operations_per_second =
      chip.cpu_cores * kCpuOperationsPerCycle * chip.cpu_ghz * 1e9;
  return rates;
}

std::optional<SpeedupClaim> claimed_speedup(const Chip& chip) {
  if (chip.vendor != ChipVendor::apple) {
    return std::nullopt;
  }
  constexpr std::array<std::string_view, 4> kTiers = {
      "",
      "Pro",
      "Max",
      "Ultra"};
  const std::string generation = fmt::format("M{}", chip.generation);
  const std::string_view tier = kTiers[static_cast<std::size_t>(chip.tier)];
  for (const SpeedupClaim& claim : kClaims) {
    const bool plain = claim.chips == generation;
    const bool of_tier = !plain &&
                         claim.chips.rfind(generation + " ", 0) == 0 &&
                         claim.chips.find(tier) != std::string_view::npos;
    if (chip.tier == ChipTier::base ? plain : of_tier) {
      return claim;
    }
  }
  return std::nullopt;
}

std::uint64_t gpu_working_set_limit(std::uint64_t ram_bytes) {
  const bool small =
      static_cast<double>(ram_bytes) <= kLargestSmallMemory * kGib;
  return small ? ram_bytes / 3 * 2 : ram_bytes / 4 * 3;
}

std::uint64_t card_memory_budget(std::uint64_t card_bytes) {
  return card_bytes / 20 * 19;
}

std::uint64_t memory_budget(const Chip& chip, std::uint64_t ram_bytes) {
  return chip.vendor == ChipVendor::apple ? gpu_working_set_limit(ram_bytes)
                                          : card_memory_budget(ram_bytes);
}

}  // namespace roofline
