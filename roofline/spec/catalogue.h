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
};

/// All entries, sorted by name.
std::span<const CatalogueEntry> catalogue();

/// Case, "_" for "-", a leading "org/" and suffixes like "-instruct", "-hf",
/// "-chat", "-it" don't matter. nullptr when there is none.
const CatalogueEntry* find_in_catalogue(std::string_view name);

/// The entry's spec through read_config.
ModelSpec catalogue_spec(const CatalogueEntry& entry);

}  // namespace roofline
