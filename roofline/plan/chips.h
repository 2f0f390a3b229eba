// What is published of the chips that models run on: Apple's M series with all
// variants, and some NVIDIA cards. Rates of a chip that isn't here come from
// these; a machine that is here is measured instead (machine.h).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "roofline/plan/speed.h"

namespace roofline {

enum class ChipVendor { apple, nvidia };
enum class ChipTier { base, pro, max, ultra };

struct Chip {
  ChipVendor vendor = ChipVendor::apple;
  std::string_view name;  ///< "M2 Pro", "RTX 4090"
  int generation = 0;     ///< Apple's; 0 for others
  ChipTier tier = ChipTier::base;
  int gpu_cores = 0;       ///< of this variant; 0 for others than Apple's
  double gigabytes_s = 0;  ///< memory bandwidth, GB/s
  double tera_ops = 0;     ///< of 16-bit floats, dense, multiply-adds as two
  int cpu_cores = 0;       ///< performance cores; 0 where the CPU is another's
  double cpu_ghz = 0;
  /// GiB that it was sold with; 0 fills up.
  std::array<int, 4> memory_gib = {};

  /// "M2 Pro (19 GPU cores)"
  std::string label() const;
  bool sold_with(int gib) const;
  int smallest_memory_gib() const;
};

/// All rows: by vendor, generation, tier, then variant.
std::span<const Chip> chips();

/// 16 of "MacBook Pro M2 Pro (16GB)".
std::optional<int> memory_of_chip_name(std::string_view name);

/// By name: case, "Apple", "NVIDIA GeForce", spaces and hyphens don't matter;
/// "M2 Pro 19-core" names the variant. Without one: the least of those that
/// were sold with so much memory. Throws UserError with the nearest names.
const Chip& find_chip(
    std::string_view name,
    std::optional<int> memory_gib = std::nullopt);
/// The same, nullptr for an unknown name.
const Chip* look_up_chip(
    std::string_view name,
    std::optional<int> memory_gib = std::nullopt);

/// The GPU's published rates with the efficiency that such chips reach.
MachineRates gpu_rates(const Chip& chip);
/// What the chip's performance cores can do; rates of 0 when the CPU isn't part
/// of it.
MachineRates cpu_rates(const Chip& chip);

/// "Expected speedup vs CPU", a claim of the guide, section 1.
struct SpeedupClaim {
  std::string_view chips;  ///< as the guide writes it
  double least = 0;
  double most = 0;
};
/// Absent where the guide has no row.
std::optional<SpeedupClaim> claimed_speedup(const Chip& chip);

/// What macOS leaves to the GPU (recommendedMaxWorkingSetSize): 2/3 of up to
/// 36 GiB, 3/4 of more.
std::uint64_t gpu_working_set_limit(std::uint64_t ram_bytes);

/// What a card of its own memory leaves to a model: a driver and its contexts
/// hold some 5 %.
std::uint64_t card_memory_budget(std::uint64_t card_bytes);

/// Memory that a model may take on a chip with so much: the working set of an
/// Apple GPU, a card's own less what the driver holds.
std::uint64_t memory_budget(const Chip& chip, std::uint64_t ram_bytes);

}  // namespace roofline
