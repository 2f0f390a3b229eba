#include "roofline/cli/recommend_machine.h"

#include <fmt/format.h>

#include "roofline/base/units.h"
#include "roofline/cli/output.h"
#include "roofline/cli/run_history.h"
#include "roofline/plan/chips.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/machine_facts.h"
#include "roofline/report/table.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

}  // namespace

Hardware detected_hardware(std::optional<std::uint64_t> ram) {
  const MachineFacts facts = machine_facts();
  const MachineProfile profile = with_peak(current_profile());
  const bool gpu = profile.threads == 0;
  const Chip* chip = look_up_chip(gpu ? profile.cpu : facts.cpu);
  Hardware hardware;
  hardware.ram_bytes = ram.value_or(facts.memory_bytes);
  hardware.budget_bytes = cpu_memory_budget(hardware.ram_bytes);
  // A card's memory isn't the system's.
  const auto card = gpu && !ram ? card_memory_bytes() : std::nullopt;
  if (card) {
    hardware.ram_bytes = *card;
    hardware.budget_bytes = card_memory_budget(*card);
  }
  if (chip && gpu) {
    hardware = hardware_of(*chip, hardware.ram_bytes);
  }
  hardware.gpu = gpu;
  hardware.card = card.has_value();
  hardware.name =
      profile.cpu + (gpu ? "" : fmt::format(", {} threads", profile.threads));
  hardware.rates.name = hardware.name;
  hardware.rates.bytes_per_second = profile.read_bandwidth;
  hardware.rates.operations_per_second = profile.code_operations;
  hardware.float_operations_per_second = profile.float_operations;
  if (const auto calibration = gpu ? std::nullopt : calibration_here()) {
    hardware.constants = calibration->constants;
    calibration->apply(hardware.rates);
    hardware.note = fmt::format(
        "Calibrated from {} runs here (roofline memory --history).",
        calibration->runs);
  }
  return hardware;
}

Hardware named_hardware(
    const std::string& name,
    std::optional<std::uint64_t> ram) {
  std::optional<int> gib = memory_of_chip_name(name);
  if (!ram && gib) {
    ram = static_cast<std::uint64_t>(*gib * kGib);
  }
  if (ram) {
    gib = static_cast<int>(static_cast<double>(*ram) / kGib + 0.5);
  }
  const Chip& chip = find_chip(name, gib);
  const auto least =
      static_cast<std::uint64_t>(chip.smallest_memory_gib() * kGib);
  Hardware hardware = hardware_of(chip, ram.value_or(least));
  if (gib && !chip.sold_with(*gib)) {
    hardware.note = fmt::format(
        "{} was never sold with {} GB; computed as if it were.",
        chip.label(),
        *gib);
  }
  return hardware;
}

void list_chips(bool json) {
  Table table{
      {{"Chip"},
       {"GPU cores", Align::right},
       {"Bandwidth", Align::right},
       {"16-bit floats", Align::right},
       {"Memory"}},
      {}};
  Json out = Json::array();
  for (const Chip& chip : chips()) {
    std::string sizes;
    Json json_sizes = Json::array();
    for (const int gib : chip.memory_gib) {
      if (gib > 0) {
        sizes += (sizes.empty() ? "" : ", ") + std::to_string(gib);
        json_sizes.push_back(gib);
      }
    }
    table.rows.push_back(
        {std::string(chip.name),
         chip.gpu_cores > 0 ? std::to_string(chip.gpu_cores) : "–",
         fmt::format("{:.0f} GB/s", chip.gigabytes_s),
         fmt::format("{:.1f} TFLOPS", chip.tera_ops),
         sizes + " GB"});
    out.push_back(
        {{"name", chip.name},
         {"gpu_cores", chip.gpu_cores},
         {"bytes_per_second", chip.gigabytes_s * 1e9},
         {"operations_per_second", chip.tera_ops * 1e12},
         {"memory_gib", json_sizes}});
  }
  json ? write_json(out) : write_text(table_text(table, output_columns()));
}

}  // namespace roofline::cli
