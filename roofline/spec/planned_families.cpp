#include "roofline/spec/planned_families.h"

#include <array>

namespace roofline {

namespace {

// Sorted by name. A field that is left out has the default in the header.
constexpr std::array kPlannedFamilies = {
    PlannedFamily{
        .name = "llama4_text",
        .shared_like_expert = true,
        .score = ExpertScore::sigmoid,
        .window_pattern = 4,
    },
};

}  // namespace

std::span<const PlannedFamily> planned_families() {
  return kPlannedFamilies;
}

const PlannedFamily* find_planned_family(std::string_view name) {
  for (const PlannedFamily& family : kPlannedFamilies) {
    if (family.name == name) {
      return &family;
    }
  }
  return nullptr;
}

}  // namespace roofline
