// Which format each matrix gets: a default, rules by name, and named recipes
// that are lists of rules.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/quantize/format.h"

namespace roofline {

/// Matrices whose name fits get the format. In a pattern `*` stands for any
/// characters within a part between dots; a part for a layer's number can also
/// be a range ("0-3") or "ends", the first and last eighth of the layers. The
/// parts "attention" and "feed_forward" may be left out: layers.*.down.
struct FormatRule {
  std::string pattern;
  MatrixFormat format;
};

/// "layers.*.down=6", "embed=8/32", "layers.ends.*=mxfp8". group_size: where
/// the rule names none. Throws UserError.
FormatRule parse_rule(std::string_view text, int group_size);

/// Whether the pattern fits the name (ours) in a model of so many layers.
bool matches(std::string_view pattern, std::string_view name, int layers);

/// The last rule that fits, else the default.
MatrixFormat format_for(
    std::string_view name,
    int layers,
    std::span<const FormatRule> rules,
    const MatrixFormat& fallback);

struct Recipe {
  std::string_view name;
  std::string_view what;  ///< for people
  std::string_view fallback;
  std::vector<std::string_view> rules;
};

std::span<const Recipe> recipes();
/// Throws UserError with the nearest names.
const Recipe& recipe(std::string_view name);

}  // namespace roofline
