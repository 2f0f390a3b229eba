#include "roofline/spec/family_trial.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/fields.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// A size that the family can't do without.
Json stand_in(const std::string& name, std::span<const std::string> tensors) {
  constexpr int kAnySize = 64;
  if (name.ends_with("num_hidden_layers") || name.ends_with("block_count")) {
    return std::max(1, layers_named(tensors));
  }
  const bool heads =
      name.ends_with("num_attention_heads") || name.ends_with("head_count");
  return heads ? 1 : kAnySize;
}

/// False: nothing more can be done.
bool give_way(
    const std::string& name,
    std::span<const std::string> tensors,
    Json& config,
    FamilyTrial& out) {
  if (has(out.absent, name)) {
    return false;
  }
  const std::string outer = name.substr(0, name.find('.'));
  const auto whole = config.find(name);  // of metadata, whose keys have dots
  const auto found = whole == config.end() ? config.find(outer) : whole;
  if (found != config.end() && !found->is_null()) {
    const Json inner = found->is_object() && outer != name
                           ? found->value(name.substr(outer.size() + 1), Json())
                           : *found;
    out.fields.push_back(fmt::format("{} = {}", name, shown(inner)));
    config.erase(found);
    return true;
  }
  out.absent.push_back(name);
  config[name] = stand_in(name, tensors);
  return true;
}

/// "a, b and 3 more"
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kMostShown = 12;
  constexpr std::size_t kLongest = 120;
  const std::size_t most = std::min(names.size(), kMostShown);
  std::string out;
  for (std::size_t i = 0; i < most; ++i) {
    out += (i == 0 ? "" : ", ") + names[i].substr(0, kLongest);
  }
  return names.size() == most
             ? out
             : fmt::format("{} and {} more", out, names.size() - most);
}

}  // namespace

int FamilyTrial::distance() const {
  constexpr int kTensor = 3;
  constexpr int kNoSpec = 1000;
  const std::size_t named = tensors.unknown.size() + tensors.missing.size();
  return static_cast<int>(fields.size() + absent.size()) +
         kTensor * static_cast<int>(named) + (readable ? 0 : kNoSpec);
}

FamilyTrial try_family(
    Json config,
    const Family& family,
    const TrialReader& reader,
    std::span<const std::string> tensors) {
  constexpr int kMostTries = 32;
  FamilyTrial out;
  out.family = &family;
  std::optional<ModelSpec> spec;
  bool goes_on = true;
  for (int i = 0; i < kMostTries && goes_on; ++i) {
    std::vector<std::string> unread;
    try {
      spec = reader.read(config, family, unread);
      goes_on = false;
    } catch (const Error& error) {
      const std::string name = reader.field_in(error.what());
      goes_on = !name.empty() && give_way(name, tensors, config, out);
    }
    for (const std::string& name : unread) {
      out.fields.push_back(
          fmt::format("{} = {}", name, shown(config.at(name))));
    }
  }
  out.readable = spec.has_value();
  if (spec && !tensors.empty()) {
    try {
      out.tensors =
          fit_tensors(std::move(*spec), family, reader.style, tensors);
    } catch (const Error&) {
      // Such sizes give this family no tensors: it isn't the nearest.
      out.readable = false;
    }
  }
  return out;
}

std::vector<std::string> nearest_trials(
    std::span<const FamilyTrial> all,
    std::span<const std::string> names,
    const std::string& model_type) {
  std::vector<std::string> preferred = nearest_names(model_type, names);
  preferred.insert(
      preferred.end(),
      {"llama", "qwen3", "qwen2", "mixtral", "qwen3_moe", "qwen3moe"});
  const auto least =
      std::min_element(all.begin(), all.end(), [](auto& a, auto& b) {
        return a.distance() < b.distance();
      });
  std::vector<std::string> out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].distance() == least->distance()) {
      out.push_back(names[i]);
    }
  }
  std::stable_sort(out.begin(), out.end(), [&](auto& a, auto& b) {
    const auto rank = [&](const std::string& name) {
      return std::find(preferred.begin(), preferred.end(), name);
    };
    return rank(a) < rank(b);
  });
  return out;
}

std::string differences(const FamilyTrial& trial) {
  std::string out;
  const auto say = [&](const char* what, const auto& names) {
    if (!names.empty()) {
      out +=
          fmt::format("{}{}: {}", out.empty() ? "" : "; ", what, listed(names));
    }
  };
  say("fields that it doesn't explain", trial.fields);
  say("fields that it needs and that aren't there", trial.absent);
  say("tensors that it doesn't explain", trial.tensors.unknown);
  say("tensors that it needs and that aren't there", trial.tensors.missing);
  if (!out.empty()) {
    out[0] = static_cast<char>(std::toupper(out[0]));
  }
  return out;
}

}  // namespace roofline
