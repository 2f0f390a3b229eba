// --draft-model, --num-draft-tokens: a smaller model that guesses the next
// tokens for the one that answers.
#pragma once

#include <optional>
#include <string>

#include "roofline/decode/generate.h"
#include "roofline/plan/settings.h"

namespace roofline::cli {

class App;

/// Guesses at most, where nothing else is said: fewer are made where fewer pay.
constexpr int kDefaultDraftTokens = 8;

struct DraftFlags {
  std::string model;  ///< what resolve_model() takes; empty: none
  std::optional<int> tokens;

  void declare(App& app);
  /// What wasn't given.
  void fill(const RunSettings& settings);
  /// Throws UserError.
  void apply(GenerateOptions& options) const;
};

}  // namespace roofline::cli
