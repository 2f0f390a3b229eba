// A table of text cells and its printed forms: aligned columns that fit a
// terminal, markdown, CSV.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace roofline {

enum class Align { left, right };

struct TableColumn {
  std::string title;
  Align align = Align::left;
};

struct Table {
  std::vector<TableColumn> columns;
  /// One cell a column; a row of no cells is a rule between rows.
  std::vector<std::vector<std::string>> rows;
};

/// Columns two spaces apart, titles first, each line ended by a line break.
/// What is wider than `width` columns wraps: cells of left-aligned columns,
/// titles of the others; a table that is too wide even so is written one cell a
/// line. Absent: as wide as it needs.
std::string table_text(
    const Table& table,
    std::optional<int> width = std::nullopt);
/// A pipe table; pipes in cells are escaped.
std::string table_markdown(const Table& table);
/// RFC 4180, with a header line; rules are left out.
std::string table_csv(const Table& table);

/// Columns that a text takes on a terminal (UTF-8 code points).
int display_width(std::string_view text);

}  // namespace roofline
