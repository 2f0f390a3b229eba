// UTF-8 at the border: finds the first fault of a text, and turns bytes that
// come in pieces into whole characters.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace roofline {

/// The byte offset of the first sequence that is not UTF-8, if there is one.
std::optional<std::size_t> first_invalid_utf8(std::string_view text);

/// Throws UserError with the offset when text is not UTF-8. what: what to call
/// the text, e.g. "tokenize: the text".
void require_utf8(std::string_view text, std::string_view what);

/// Passes bytes on as whole characters. Faulty sequences become U+FFFD, one for
/// each longest piece that could have begun a character (Unicode 3.9, table
/// 3-8), as in most decoders.
class Utf8Gate {
 public:
  /// Appends to `out` what is complete; holds back at most three bytes.
  void push(std::string_view bytes, std::string& out);
  /// Ends the text: incomplete bytes become one U+FFFD.
  void flush(std::string& out);

 private:
  std::string held_;
};

}  // namespace roofline
