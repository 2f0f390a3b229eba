// One family tried on the config or metadata of a model that isn't known: what
// it explains, and what not. nearest_family.h compares them.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/spec/families.h"
#include "roofline/spec/tensor_fit.h"

namespace roofline {

struct FamilyTrial {
  const Family* family = nullptr;
  bool readable = false;            ///< but for what is listed
  std::vector<std::string> fields;  ///< "name = value", not explained
  std::vector<std::string> absent;  ///< fields it would need
  TensorFit tensors;

  /// How much doesn't fit; tensors weigh more than fields, for what a field
  /// does can be nothing.
  int distance() const;
};

/// How a kind of config is read.
struct TrialReader {
  /// Throws for the first thing that the family doesn't take; adds fields that
  /// nobody reads to `unread`.
  std::function<ModelSpec(
      const nlohmann::json& config,
      const Family& family,
      std::vector<std::string>& unread)>
      read;
  /// The field that a message is about; "" for none.
  std::function<std::string(std::string_view message)> field_in;
  NameStyle style = NameStyle::hugging_face;
};

/// Takes away fields that stand in the way and puts in sizes that are missing,
/// one at a time, until the rest can be read.
FamilyTrial try_family(
    nlohmann::json config,
    const Family& family,
    const TrialReader& reader,
    std::span<const std::string> tensors);

/// The best of them, best first: where several fit alike, those whose names are
/// near come first, then those of which most others are variants. all: not
/// empty. names: what model_type is compared with, one for each; gives theirs.
std::vector<std::string> nearest_trials(
    std::span<const FamilyTrial> all,
    std::span<const std::string> names,
    const std::string& model_type);

/// In words, beginning with a capital letter: "" when all is explained.
std::string differences(const FamilyTrial& trial);

}  // namespace roofline
