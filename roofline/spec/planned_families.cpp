#include "roofline/spec/planned_families.h"

#include <array>

namespace roofline {

namespace {

// Sorted by name. A field that is left out has the default in the header.
constexpr std::array kFamilies = {
    PlannedFamily{
        .name = "falcon_h1",
        .recurrent = true,
        .side_by_side = true,
    },
    PlannedFamily{
        .name = "granitemoehybrid",
        .tied = true,
        .recurrent = true,
    },
    PlannedFamily{
        .name = "lfm2",
        .qk_norm = QkNorm::per_head,
        .tied = true,
        .recurrent = true,
        .recurrent_kind = RecurrentKind::short_conv,
    },
    PlannedFamily{
        .name = "llama4_text",
        .shared_like_expert = true,
        .score = ExpertScore::sigmoid,
        .window_pattern = 4,
    },
    PlannedFamily{.name = "mamba2", .tied = true, .recurrent = true},
    PlannedFamily{
        .name = "qwen3_next",
        .qk_norm = QkNorm::per_head,
        .output_gate = true,
        .shared_gate = true,
        .recurrent = true,
        .recurrent_kind = RecurrentKind::gated_delta,
        .full_attention_interval = 4,
    },
};

}  // namespace

std::span<const PlannedFamily> planned_families() {
  return kFamilies;
}

const PlannedFamily* find_planned_family(std::string_view name) {
  for (const PlannedFamily& family : kFamilies) {
    if (family.name == name) {
      return &family;
    }
  }
  return nullptr;
}

}  // namespace roofline
