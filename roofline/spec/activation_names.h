// The names that configs and people have for activations.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// nullopt: there is none of that name.
std::optional<Activation> activation_named(std::string_view name);
/// All names that activation_named knows.
std::vector<std::string> activation_names();

/// As configs have it.
std::string_view activation_name(Activation activation);
std::string_view activation_in_words(Activation activation);

}  // namespace roofline
