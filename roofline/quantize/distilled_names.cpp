#include "roofline/quantize/distilled_names.h"

#include "roofline/quantize/calibrate.h"

namespace roofline {

namespace {

bool is_affine(const CodesByName& codes, const std::string& name) {
  const auto found = codes.find(name);
  return found != codes.end() && found->second.format.mode == QuantMode::affine;
}

bool all_affine(
    const Checkpoint& checkpoint,
    const CodesByName& codes,
    const std::string& stack) {
  std::string each;
  for (int e = 0; checkpoint.find(each = expert_name(stack, e)); ++e) {
    if (!is_affine(codes, each)) {
      return false;
    }
  }
  return true;
}

}  // namespace

NameSet distilled_names(
    const Checkpoint& checkpoint,
    const CodesByName& codes) {
  NameSet names;
  std::map<std::string, bool> stacks;
  for (const auto& [name, matrix] : codes) {
    if (!is_affine(codes, name)) {
      continue;
    }
    const std::string stack = expert_stack(name);
    if (!stack.empty()) {
      const auto [found, is_new] = stacks.try_emplace(stack);
      if (is_new) {
        found->second = all_affine(checkpoint, codes, stack);
      }
      if (!found->second) {
        continue;
      }
    }
    names.insert(name);
  }
  return names;
}

}  // namespace roofline
