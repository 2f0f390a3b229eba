#include "roofline/weights/convert/pre_tokenizer_like.h"

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "roofline/text/pretokenizers.h"

namespace roofline {

namespace {

/// Tells the pre-tokenizers apart: contractions, digits of several lengths,
/// runs of spaces and line breaks, accents, scripts, punctuation, emoji.
constexpr std::string_view kProbe =
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n"
    "Hello, y'all! I'VE I've she'Ll don't WE'RE it's 'Re 'S\n"
    "3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 1,234,567\n"
    "CamelCase snake_case kebab-case iPhone XMLHttpRequest x=(a+b)*c//2; "
    "#include <x> ${y} @z\r\n\r\n"
    "caf\u00e9 na\u00efve \u00dcbung fa\u00e7ade \u0130stanbul e\u0301 "
    "\u0436\u0438\u0437\u043d\u044c \u03b1\u03b2\u03b3 "
    "\u4f60\u597d\u4e16\u754c \u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8 "
    "\ud55c\uad6d\uc5b4 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 "
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22\n"
    "\U0001f600\U0001f680 \U0001f468\u200d\U0001f469\u200d\U0001f467 "
    "\u2705\ufe0f \u00bd \u2160 \u00b2 '''''' ``` \"quoted\" ...!!! ??  "
    "trailing   ";

/// Names to try, one for each behaviour that llama.cpp knows, the frequent ones
/// first.
constexpr std::array<const char*, 33> kPreTokenizers = {
    "llama-bpe",   "qwen2",        "gpt-2",
    "smollm",      "dbrx",         "tekken",
    "gpt-4o",      "qwen35",       "glm4",
    "deepseek-v3", "deepseek-llm", "deepseek-coder",
    "falcon",      "default",      "minicpm5",
    "seed-coder",  "bailingmoe",   "exaone-moe",
    "jais-2",      "kimi-k2",      "superbpe",
    "bloom",       "viking",       "youtu",
    "tiny_aya",    "spark2_5",     "chameleon",
    "laguna",      "ufakzeka",     "granite-embed-multi-97m",
    "gemma4",      "sarvam-moe",   "granite-embed-multi-311m"};

/// GPT-2's letter for a byte, as UTF-8.
std::string letter_of(unsigned char byte) {
  const auto own = [](unsigned value) {
    return (value >= 33 && value <= 126) || (value >= 161 && value <= 172) ||
           value >= 174;
  };
  unsigned letter = byte;
  if (!own(byte)) {
    letter = 256;
    for (unsigned other = 0; other < byte; ++other) {
      letter += own(other) ? 0 : 1;
    }
  }
  if (letter < 0x80) {
    return {static_cast<char>(letter)};
  }
  return {
      static_cast<char>(0xC0 | letter >> 6),
      static_cast<char>(0x80 | (letter & 0x3F))};
}

/// The probe in letters, with the space that some put before a text.
std::string probe_letters() {
  std::string out = letter_of(' ');
  for (const char c : kProbe) {
    out += letter_of(static_cast<unsigned char>(c));
  }
  return out;
}

/// A vocabulary of the tokens that the probe can become.
struct Reduced {
  VocabularySpec spec;
  std::vector<std::int32_t> ids;  ///< in the whole vocabulary
};

Reduced reduced(const VocabularySpec& spec) {
  const std::string letters = probe_letters();
  std::unordered_map<std::int32_t, std::int32_t> places;
  Reduced out;
  for (std::size_t i = 0; i < spec.tokens.size(); ++i) {
    const bool plain = spec.types.empty() || spec.types[i] == 1;
    // A single letter stands for a byte that may be anywhere.
    if (plain && spec.tokens[i].size() > 2 &&
        letters.find(spec.tokens[i]) == std::string::npos) {
      continue;
    }
    places.emplace(
        static_cast<std::int32_t>(i),
        static_cast<std::int32_t>(out.ids.size()));
    out.ids.push_back(static_cast<std::int32_t>(i));
    out.spec.tokens.push_back(spec.tokens[i]);
    if (!spec.types.empty()) {
      out.spec.types.push_back(spec.types[i]);
    }
  }
  for (const std::string& merge : spec.merges) {
    const std::size_t space = merge.find(' ', 1);
    std::string joined = merge;
    if (space != std::string::npos) {
      joined.erase(space, 1);
    }
    if (joined.size() <= 2 || letters.find(joined) != std::string::npos) {
      out.spec.merges.push_back(merge);
    }
  }
  out.spec.model = spec.model;
  if (spec.unknown && places.contains(*spec.unknown)) {
    out.spec.unknown = places[*spec.unknown];
  }
  out.spec.add_bos = false;
  out.spec.add_space_prefix = spec.add_space_prefix;
  return out;
}

}  // namespace

std::string_view tokenizer_probe() {
  return kProbe;
}

std::optional<std::string> pre_tokenizer_like(
    const Tokenizer& wanted,
    const VocabularySpec& spec) {
  const auto ids = wanted.encode(kProbe, Specials::none);
  Reduced small = reduced(spec);
  for (const char* name : kPreTokenizers) {
    if (find_pre_tokenizer(name).spaces_marked) {
      continue;
    }
    small.spec.pre = name;
    std::vector<std::int32_t> found =
        Tokenizer::from_vocabulary(small.spec)->encode(kProbe, Specials::none);
    for (std::int32_t& id : found) {
      id = small.ids[static_cast<std::size_t>(id)];
    }
    if (found == ids) {
      return name;
    }
  }
  return std::nullopt;
}

}  // namespace roofline
