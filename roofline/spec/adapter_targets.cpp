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

/// Where layers have another place than in the files.
struct Root {
  std::string_view stored, peft, mlx_lm;
};
constexpr std::array<Root, 5> kRoots = {{
    {"language_model.model.layers.",
     "model.language_model.layers.",
     "language_model.model.layers."},
    {"model.language_model.layers.",
     "model.language_model.layers.",
     "language_model.model.layers."},
    {"transformer.h.", "transformer.h.", "model.h."},
    {"h.", "transformer.h.", "model.h."},
    {"gpt_neox.layers.", "gpt_neox.layers.", "model.h."},
}};

}  // namespace

std::string module_in_tree(std::string_view stored, ModuleTree tree) {
  for (const Root& root : kRoots) {
    if (stored.starts_with(root.stored)) {
      std::string name(tree == ModuleTree::peft ? root.peft : root.mlx_lm);
      return name.append(stored.substr(root.stored.size()));
    }
  }
  return std::string(stored);
}

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
