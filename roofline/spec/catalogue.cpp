#include "roofline/spec/catalogue.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include <nlohmann/json.hpp>

#include "roofline/spec/catalogue_rows.h"
#include "roofline/spec/read_config.h"

namespace roofline {

namespace {

// What publishers and converters add to a model's name.
constexpr std::array<std::string_view, 22> kSuffixes = {
    "-instruct", "-hf",   "-chat", "-it",   "-pt",   "-base",  "-gguf", "-mlx",
    "-4bit",     "-8bit", "-bf16", "-fp16", "-int4", "-int8",  "-v0.1", "-v0.2",
    "-v0.3",     "-v1.5", "-2507", "-2412", "-4k",   "-latest"};

bool drop_suffix(std::string& name) {
  for (std::string_view suffix : kSuffixes) {
    if (name.size() > suffix.size() &&
        std::string_view(name).substr(name.size() - suffix.size()) == suffix) {
      name.resize(name.size() - suffix.size());
      return true;
    }
  }
  return false;
}

bool is_letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0;
}

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

/// The name in the one spelling that all its spellings share.
std::string plain_name(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  if (slash != std::string_view::npos) {
    name.remove_prefix(slash + 1);
  }
  std::string lower;
  for (char c : name) {
    const char small =
        static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    lower += small == '_' || small == ' ' ? '-' : small;
  }
  while (drop_suffix(lower)) {
  }
  if (lower.rfind("meta-", 0) == 0) {
    lower.erase(0, 5);
  }
  // "llama-2-7b" and "llama2-7b" are the same.
  std::string out;
  for (std::size_t i = 0; i < lower.size(); ++i) {
    const bool between = lower[i] == '-' && i > 0 && i + 1 < lower.size() &&
                         is_letter(lower[i - 1]) && is_digit(lower[i + 1]);
    if (!between) {
      out += lower[i];
    }
  }
  return out;
}

std::vector<CatalogueEntry> joined_rows() {
  std::vector<CatalogueEntry> out;
  for (const auto rows : {llama_rows(), dense_rows(), mixed_rows()}) {
    out.insert(out.end(), rows.begin(), rows.end());
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return a.name < b.name;
  });
  return out;
}

}  // namespace

std::span<const CatalogueEntry> catalogue() {
  static const std::vector<CatalogueEntry> rows = joined_rows();
  return rows;
}

const CatalogueEntry* find_in_catalogue(std::string_view name) {
  const std::string wanted = plain_name(name);
  for (const CatalogueEntry& entry : catalogue()) {
    if (plain_name(entry.name) == wanted) {
      return &entry;
    }
  }
  return nullptr;
}

ModelSpec catalogue_spec(const CatalogueEntry& entry) {
  return read_config(nlohmann::json::parse(entry.config));
}

}  // namespace roofline
