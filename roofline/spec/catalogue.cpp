#include "roofline/spec/catalogue.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include <nlohmann/json.hpp>

#include "roofline/base/nearest.h"
#include "roofline/spec/catalogue_rows.h"
#include "roofline/spec/read_config.h"

namespace roofline {

namespace {

// What publishers and converters add to a model's name.
constexpr std::array<std::string_view, 20> kAdded = {
    "instruct", "hf", "chat", "it",     "pt",  "base", "gguf",
    "mlx",      "4k", "dwq",  "latest", "qat", "i1",   "imatrix",
    "thinking", "ud", "text", "bf16",   "f16", "fp16"};

struct NamedBits {
  std::string_view word;
  int bits;
};
// Added too. Those of a method, which has these bits unless others are named,
// come last.
constexpr std::array<NamedBits, 16> kBits = {
    {{"2bit", 2},
     {"3bit", 3},
     {"4bit", 4},
     {"5bit", 5},
     {"6bit", 6},
     {"8bit", 8},
     {"int4", 4},
     {"int8", 8},
     {"fp4", 4},
     {"fp8", 8},
     {"mxfp4", 4},
     {"mxfp8", 8},
     {"nvfp4", 4},
     {"awq", 4},
     {"bnb", 4},
     {"gptq", 4}}};

bool is_letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0;
}

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

bool is_added(std::string_view word) {
  const auto is_word = [&](const NamedBits& row) { return row.word == word; };
  return std::find(kAdded.begin(), kAdded.end(), word) != kAdded.end() ||
         std::any_of(kBits.begin(), kBits.end(), is_word);
}

/// "v0.3" and "2507": a row may have it, or the model is as it was before.
bool is_version(std::string_view word) {
  if (word.size() > 3 && word[0] == 'v') {
    return is_digit(word[1]) && word.find('.') != word.npos;
  }
  return word.size() == 4 && std::all_of(word.begin(), word.end(), is_digit);
}

/// "q4" of "q4_k_m": GGUF's name of a type, which ends a name.
bool is_gguf_type(std::string_view word) {
  const std::size_t q = word.find('q');
  return q < 2 && q + 2 == word.size() && is_digit(word[q + 1]) &&
         (q == 0 || word[0] == 'i' || word[0] == 't');
}

/// In lower case, without the publisher.
std::vector<std::string> words_of(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  name.remove_prefix(slash == name.npos ? 0 : slash + 1);
  std::vector<std::string> words(1);
  for (const char c : name) {
    if (c == '-' || c == '_' || c == ' ' || c == ':') {
      words.emplace_back();
    } else {
      words.back() +=
          static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  if (words.back().ends_with(".gguf")) {
    words.back().resize(words.back().size() - std::string(".gguf").size());
  }
  // "llama-2-7b.Q4_K_M.gguf"
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t dot = words[i].rfind('.');
    const std::string end =
        dot == std::string::npos ? "" : words[i].substr(dot + 1);
    if (is_gguf_type(end) || end == "f16" || end == "bf16") {
      words[i].resize(dot);
      words.insert(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, end);
    }
  }
  if (words.size() > 1 && words[0] == "meta") {
    words.erase(words.begin());
  }
  return words;
}

/// The name in the one spelling that all its spellings share.
std::string plain_name(std::string_view name, bool without_version) {
  std::string out;
  for (const std::string& word : words_of(name)) {
    const bool first = out.empty();
    if (!first && is_gguf_type(word)) {
      break;
    }
    if (word.empty() ||
        (!first && (is_added(word) || (without_version && is_version(word))))) {
      continue;
    }
    // "llama-2-7b" and "llama2-7b" are the same.
    const bool joined = !first && is_letter(out.back()) && is_digit(word[0]);
    out += first || joined ? word : "-" + word;
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
  for (const bool without_version : {false, true}) {
    const std::string wanted = plain_name(name, without_version);
    for (const CatalogueEntry& entry : catalogue()) {
      if (!wanted.empty() && plain_name(entry.name, false) == wanted) {
        return &entry;
      }
    }
  }
  return nullptr;
}

std::optional<int> bits_of_name(std::string_view name) {
  const auto words = words_of(name);
  const auto type = std::find_if(words.begin(), words.end(), is_gguf_type);
  if (type != words.end() && type != words.begin()) {
    return type->back() - '0';
  }
  for (const NamedBits& row : kBits) {
    if (std::find(words.begin(), words.end(), row.word) != words.end()) {
      return row.bits;
    }
  }
  return std::nullopt;
}

std::vector<std::string> nearest_in_catalogue(std::string_view name) {
  const std::string wanted = plain_name(name, true);
  std::vector<std::string> plain;
  for (const CatalogueEntry& entry : catalogue()) {
    plain.push_back(plain_name(entry.name, false));
  }
  // Those that begin so come first.
  std::vector<std::string> out;
  const auto add = [&](std::size_t i) {
    constexpr std::size_t kMost = 3;
    const std::string found(catalogue()[i].name);
    if (out.size() < kMost &&
        std::find(out.begin(), out.end(), found) == out.end()) {
      out.push_back(found);
    }
  };
  for (std::size_t i = 0; i < plain.size(); ++i) {
    if (!wanted.empty() && plain[i].rfind(wanted, 0) == 0) {
      add(i);
    }
  }
  for (const std::string& near : nearest_names(wanted, plain)) {
    const auto at = std::find(plain.begin(), plain.end(), near);
    add(static_cast<std::size_t>(at - plain.begin()));
  }
  return out;
}

ModelSpec catalogue_spec(const CatalogueEntry& entry) {
  return read_config(nlohmann::json::parse(entry.config));
}

}  // namespace roofline
