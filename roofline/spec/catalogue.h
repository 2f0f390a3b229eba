// Shapes of well-known models by name, as the config.json fields that make a
// ModelSpec: enough to plan memory and speed without any file.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"

namespace roofline {

struct CatalogueEntry {
  std::string_view name;   ///< "llama-2-7b"
  std::string_view label;  ///< "Llama 2 7B"
  /// Fields of config.json as JSON text, model_type included.
  std::string_view config;
  /// Billions of parameters as published, for people: 6.74.
  double billions = 0;
  /// How the experts are published where all else is floats: in MXFP4.
  bool experts_in_mxfp4 = false;
};

/// All entries, sorted by name.
std::span<const CatalogueEntry> catalogue();

/// Case, "_", ":" and " " for "-", a leading "org/", words like "-instruct",
/// "-hf", "-4bit" and a GGUF type at the end don't matter; a version ("-v0.3",
/// "-2507") only where a row has it. nullptr when there is none.
const CatalogueEntry* find_in_catalogue(std::string_view name);

/// Where a name says so: "…-4bit", a GGUF type ("….Q4_K_M.gguf") or a method
/// ("…-AWQ").
std::optional<int> bits_of_name(std::string_view name);

/// Up to three names for one that isn't there: those that begin so first.
std::vector<std::string> nearest_in_catalogue(std::string_view name);

/// The entry's spec through read_config.
ModelSpec catalogue_spec(const CatalogueEntry& entry);

}  // namespace roofline
