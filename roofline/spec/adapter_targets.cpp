#include "roofline/spec/adapter_targets.h"

#include <array>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"

namespace roofline {

namespace {

struct Target {
  std::string_view name;
  std::string_view tensor;
};
constexpr std::array<Target, 11> kTargets = {{
    {"q_proj", ".attention.q"},
    {"k_proj", ".attention.k"},
    {"v_proj", ".attention.v"},
    {"o_proj", ".attention.o"},
    {"q_a_proj", ".attention.q_a"},
    {"q_b_proj", ".attention.q_b"},
    {"kv_a_proj_with_mqa", ".attention.kv_a"},
    {"kv_b_proj", ".attention.kv_b"},
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
      fmt::format("Use some of {}", fmt::join(names, ", ")));
}

}  // namespace roofline
