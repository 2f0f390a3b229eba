#include "roofline/text/utf8.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Sequence {
  std::size_t size = 1;  ///< bytes to pass on or to replace
  enum { valid, invalid, incomplete } kind = valid;
};

struct Lead {
  std::size_t size = 0;  ///< of the whole character; 0: can't begin one
  unsigned char low = 0x80, high = 0xBF;  ///< bounds of the second byte
};

Lead read_lead(unsigned char byte) {
  if (byte < 0x80) {
    return {1};
  }
  if (byte >= 0xC2 && byte <= 0xDF) {
    return {2};
  }
  if (byte >= 0xE0 && byte <= 0xEF) {
    const unsigned char low = byte == 0xE0 ? 0xA0 : 0x80;
    const unsigned char high = byte == 0xED ? 0x9F : 0xBF;
    return {3, low, high};
  }
  if (byte >= 0xF0 && byte <= 0xF4) {
    const unsigned char low = byte == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = byte == 0xF4 ? 0x8F : 0xBF;
    return {4, low, high};
  }
  return {};
}

/// Reads the sequence that `text` begins with; text is not empty.
Sequence read_sequence(std::string_view text) {
  const Lead lead = read_lead(static_cast<unsigned char>(text[0]));
  if (lead.size == 0) {
    return {1, Sequence::invalid};
  }
  for (std::size_t i = 1; i < lead.size; ++i) {
    if (i == text.size()) {
      return {i, Sequence::incomplete};
    }
    const auto byte = static_cast<unsigned char>(text[i]);
    const unsigned char low = i == 1 ? lead.low : 0x80;
    const unsigned char high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) {
      return {i, Sequence::invalid};
    }
  }
  return {lead.size, Sequence::valid};
}

}  // namespace

std::optional<std::size_t> first_invalid_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Sequence sequence = read_sequence(text.substr(at));
    if (sequence.kind != Sequence::valid) {
      return at;
    }
    at += sequence.size;
  }
  return std::nullopt;
}

void require_utf8(std::string_view text, std::string_view what) {
  if (const auto at = first_invalid_utf8(text)) {
    fail<UserError>(
        fmt::format("{} is not UTF-8", what),
        fmt::format(
            "Byte {} (0x{:02X}) begins no valid character",
            *at,
            static_cast<unsigned char>(text[*at])),
        "Convert it to UTF-8 first, e.g. with iconv");
  }
}

void Utf8Gate::push(std::string_view bytes, std::string& out) {
  std::string joined;
  if (!held_.empty()) {
    joined = held_;
    joined += bytes;
    bytes = joined;
    held_.clear();
  }
  while (!bytes.empty()) {
    const Sequence sequence = read_sequence(bytes);
    if (sequence.kind == Sequence::incomplete) {
      held_ = bytes;
      return;
    }
    out += sequence.kind == Sequence::valid ? bytes.substr(0, sequence.size)
                                            : kReplacement;
    bytes.remove_prefix(sequence.size);
  }
}

void Utf8Gate::flush(std::string& out) {
  if (!held_.empty()) {
    out += kReplacement;
    held_.clear();
  }
}

}  // namespace roofline
