#include "roofline/text/decode_rules.h"

#include <array>
#include <charconv>

namespace roofline {

namespace {

constexpr int kNoByte = -1;
/// GPT-2 shifts the 68 bytes that have no printable character to U+0100 on.
constexpr char32_t kAlphabetEnd = 0x100 + 68;

/// The inverse of GPT-2's table: printable Latin-1 stands for itself, the other
/// bytes follow from U+0100 in their order.
std::array<int, kAlphabetEnd> make_alphabet() {
  std::array<int, kAlphabetEnd> bytes;
  bytes.fill(kNoByte);
  int shifted = 0x100;
  for (int byte = 0; byte < 0x100; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) ||
                           (byte >= 0xA1 && byte <= 0xAC) ||
                           (byte >= 0xAE && byte <= 0xFF);
    bytes[printable ? byte : shifted++] = byte;
  }
  return bytes;
}

/// Appends the bytes that `token` spells; false when a character is foreign.
bool append_byte_level(std::string_view token, std::string& out) {
  static const std::array<int, kAlphabetEnd> alphabet = make_alphabet();
  for (std::size_t i = 0; i < token.size(); ++i) {
    char32_t code = static_cast<unsigned char>(token[i]);
    if (code >= 0x80) {
      // Every character of the alphabet takes one or two bytes of UTF-8.
      if ((code & 0xE0) != 0xC0 || i + 1 == token.size()) {
        return false;
      }
      code = (code & 0x1F) << 6 | (token[++i] & 0x3F);
    }
    if (code >= kAlphabetEnd || alphabet[code] == kNoByte) {
      return false;
    }
    out += static_cast<char>(alphabet[code]);
  }
  return true;
}

std::optional<char> byte_token(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') {
    return std::nullopt;
  }
  unsigned value = 0;
  const char* end = token.data() + 5;
  const auto result = std::from_chars(token.data() + 3, end, value, 16);
  if (result.ec != std::errc() || result.ptr != end) {
    return std::nullopt;
  }
  return static_cast<char>(value);
}

void replace_all(
    std::string& text,
    std::string_view from,
    std::string_view to) {
  if (from.empty()) {
    return;
  }
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

bool read_step(const nlohmann::json& step, bool& fused, DecodeRules& rules) {
  const std::string type = step.value("type", "");
  if (type == "ByteLevel") {
    rules.byte_level = true;
    return true;
  }
  if (type == "ByteFallback") {
    rules.byte_fallback = true;
    return true;
  }
  if (type == "Fuse") {
    fused = true;
    return true;
  }
  if (type == "Replace") {
    const auto& pattern = step.at("pattern");
    if (fused || !pattern.contains("String")) {
      return false;
    }
    rules.replacements.emplace_back(
        pattern.at("String").get<std::string>(),
        step.at("content").get<std::string>());
    return true;
  }
  if (type == "Metaspace") {
    const std::string mark = step.value("replacement", "▁");
    if (step.value("prepend_scheme", "always") != "never") {
      rules.drop_in_first = mark;
    }
    rules.replacements.emplace_back(mark, " ");
    return true;
  }
  if (type == "Strip") {
    const std::string content = step.value("content", " ");
    if (!fused || content.size() != 1 || step.value("stop", 0) != 0) {
      return false;
    }
    rules.strip = content[0];
    rules.strip_start = step.value("start", 0);
    return true;
  }
  return false;
}

}  // namespace

std::optional<DecodeRules> read_decode_rules(const nlohmann::json& decoder) {
  DecodeRules rules;
  bool fused = false;
  if (decoder.is_null()) {
    rules.separator = " ";
    return rules;
  }
  if (decoder.value("type", "") != "Sequence") {
    return read_step(decoder, fused, rules) ? std::optional(rules)
                                            : std::nullopt;
  }
  for (const auto& step : decoder.at("decoders")) {
    if (!read_step(step, fused, rules)) {
      return std::nullopt;
    }
  }
  return rules;
}

std::string PieceStream::bytes_of(std::string_view token, bool added) {
  if (rules_->byte_fallback && !added) {
    if (const auto byte = byte_token(token)) {
      return std::string(1, *byte);
    }
  }
  std::string text(token);
  if (first_ && !rules_->drop_in_first.empty()) {
    replace_all(text, rules_->drop_in_first, "");
  }
  for (const auto& [from, to] : rules_->replacements) {
    replace_all(text, from, to);
  }
  if (rules_->byte_level) {
    std::string bytes;
    if (append_byte_level(text, bytes)) {
      return bytes;
    }
  }
  return text;
}

void PieceStream::push(std::string_view token, bool added, std::string& out) {
  std::string bytes = bytes_of(token, added);
  if (!first_ && !rules_->separator.empty()) {
    bytes.insert(0, rules_->separator);
  }
  first_ = false;
  std::size_t start = 0;
  while (stripping_ && start < bytes.size()) {
    stripping_ =
        stripped_ < rules_->strip_start && bytes[start] == rules_->strip;
    if (stripping_) {
      ++stripped_;
      ++start;
    }
  }
  gate_.push(std::string_view(bytes).substr(start), out);
}

}  // namespace roofline
