// Text as terminal columns: splitting UTF-8 at code points. Bytes that aren't
// UTF-8 count as one column each and are kept.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace roofline {

/// Bytes of the code point that text starts with; 0 for an empty text.
std::size_t first_code_point(std::string_view text);
/// The longest start of text of at most `columns` columns.
std::string_view first_columns(std::string_view text, int columns);
/// Lines of at most `columns` columns, broken at spaces where there are any.
/// Line breaks in the text stay. At least one line, columns >= 1.
std::vector<std::string> wrap_lines(std::string_view text, int columns);

}  // namespace roofline
