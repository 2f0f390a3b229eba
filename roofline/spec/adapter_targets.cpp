#include "roofline/spec/adapter_targets.h"

#include <array>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"

namespace roofline {

namespace {

struct Target {
  std::string_view name;
  std::string_view tensor;
};
constexpr std::array<Target, 7> kTargets = {{
    {"q_proj", ".attention.q"},
    {"k_proj", ".attention.k"},
    {"v_proj", ".attention.v"},
    {"o_proj", ".attention.o"},
    {"gate_proj", ".feed_forward.gate"},
    {"up_proj", ".feed_forward.up"},
    {"down_proj", ".feed_forward.down"},
}};

}  // namespace

std::string_view adapter_tensor_end(std::string_view target) {
  std::vector<std::string> names;
  for (const Target& each : kTargets) {
    if (each.name == target) {
      return each.tensor;
    }
    names.emplace_back(each.name);
  }
  fail<UserError>(
      fmt::format("There is no target {}", target),
      did_you_mean(target, names),
      "Use q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj or down_proj");
}

}  // namespace roofline
