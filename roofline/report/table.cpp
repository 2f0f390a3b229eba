#include "roofline/report/table.h"

#include <algorithm>
#include <numeric>

#include "roofline/report/utf8_cells.h"

namespace roofline {
namespace {

constexpr int kColumnGap = 2;
/// Narrower columns than this can't be read; the rows are rather written one
/// cell a line.
constexpr int kNarrowest = 8;

using Lines = std::vector<std::string>;

const std::string& cell_of(const std::vector<std::string>& row, std::size_t i) {
  static const std::string empty;
  return i < row.size() ? row[i] : empty;
}

int widest_line(std::string_view text) {
  int widest = 0;
  for (const std::string& line : wrap_lines(text, 1 << 20)) {
    widest = std::max(widest, display_width(line));
  }
  return widest;
}

std::vector<int> natural_widths(const Table& table) {
  std::vector<int> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    int width = widest_line(table.columns[i].title);
    for (const auto& row : table.rows) {
      width = std::max(width, widest_line(cell_of(row, i)));
    }
    widths.push_back(width);
  }
  return widths;
}

int total_width(const std::vector<int>& widths) {
  const int gaps =
      kColumnGap * std::max(0, static_cast<int>(widths.size()) - 1);
  return std::accumulate(widths.begin(), widths.end(), gaps);
}

int longest_word(std::string_view text) {
  int longest = 0;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of(" \n");
    longest = std::max(longest, display_width(text.substr(0, end)));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return longest;
}

/// Left-aligned cells wrap; of right-aligned columns only the title does.
int narrowest(const Table& table, std::size_t i) {
  if (table.columns[i].align == Align::left) {
    return kNarrowest;
  }
  int width = longest_word(table.columns[i].title);
  for (const auto& row : table.rows) {
    width = std::max(width, widest_line(cell_of(row, i)));
  }
  return width;
}

/// Takes columns from the widest that can give some until the table fits.
/// False when it doesn't.
bool shrink(const Table& table, int width, std::vector<int>& widths) {
  std::vector<int> least;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    least.push_back(narrowest(table, i));
  }
  for (int excess = total_width(widths) - width; excess > 0; --excess) {
    std::optional<std::size_t> widest;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      if (widths[i] > least[i] && (!widest || widths[i] > widths[*widest])) {
        widest = i;
      }
    }
    if (!widest) {
      return false;
    }
    --widths[*widest];
  }
  return true;
}

void append_line(
    const Table& table,
    const std::vector<int>& widths,
    const std::vector<Lines>& cells,
    std::size_t line,
    std::string& out) {
  std::string text;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string part = line < cells[i].size() ? cells[i][line] : "";
    const int space = std::max(0, widths[i] - display_width(part));
    const bool right = table.columns[i].align == Align::right;
    text.append(i > 0 ? kColumnGap : 0, ' ');
    text.append(right ? space : 0, ' ');
    text += part;
    text.append(right ? 0 : space, ' ');
  }
  text.erase(text.find_last_not_of(' ') + 1);
  out += text + "\n";
}

void append_row(
    const Table& table,
    const std::vector<int>& widths,
    const std::vector<std::string>& row,
    std::string& out) {
  std::vector<Lines> cells;
  std::size_t height = 1;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    cells.push_back(wrap_lines(cell_of(row, i), widths[i]));
    height = std::max(height, cells.back().size());
  }
  for (std::size_t line = 0; line < height; ++line) {
    append_line(table, widths, cells, line, out);
  }
}

std::vector<std::string> titles_of(const Table& table) {
  std::vector<std::string> titles;
  for (const TableColumn& column : table.columns) {
    titles.push_back(column.title);
  }
  return titles;
}

/// One cell a line behind its column's title, an empty line between rows.
std::string records_text(const Table& table, int width) {
  int titles = 0;
  for (const TableColumn& column : table.columns) {
    titles = std::max(titles, widest_line(column.title));
  }
  titles = std::min(titles, width / 2);
  std::string out;
  for (const auto& row : table.rows) {
    out += row.empty() || out.empty() ? "" : "\n";
    for (std::size_t i = 0; i < row.size(); ++i) {
      const Table one{{{""}, {""}}, {{table.columns[i].title, row[i]}}};
      if (!row[i].empty()) {
        append_row(
            one,
            {titles, std::max(1, width - titles - kColumnGap)},
            one.rows[0],
            out);
      }
    }
  }
  return out;
}

std::string markdown_cell(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\n') {
      out += "<br>";
    } else {
      out += c == '|' ? "\\|" : std::string(1, c);
    }
  }
  return out;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) {
    return text;
  }
  std::string out = "\"";
  for (char c : text) {
    out += c == '"' ? "\"\"" : std::string(1, c);
  }
  return out + "\"";
}

}  // namespace

std::string table_text(const Table& table, std::optional<int> width) {
  std::vector<int> widths = natural_widths(table);
  if (width && !shrink(table, *width, widths)) {
    return records_text(table, *width);
  }
  std::string out;
  if (table.columns.empty()) {
    return out;
  }
  append_row(table, widths, titles_of(table), out);
  for (const auto& row : table.rows) {
    if (!row.empty()) {
      append_row(table, widths, row, out);
      continue;
    }
    for (int i = 0; i < total_width(widths); ++i) {
      out += "─";
    }
    out += "\n";
  }
  return out;
}

std::string table_markdown(const Table& table) {
  if (table.columns.empty()) {
    return {};
  }
  auto line = [&](const std::vector<std::string>& row) {
    std::string out = "|";
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      out += ' ';
      out += markdown_cell(cell_of(row, i));
      out += " |";
    }
    return out + "\n";
  };
  std::string out = line(titles_of(table)) + "|";
  for (const TableColumn& column : table.columns) {
    out += column.align == Align::right ? " ---: |" : " --- |";
  }
  out += "\n";
  for (const auto& row : table.rows) {
    out += row.empty() ? "" : line(row);
  }
  return out;
}

std::string table_csv(const Table& table) {
  auto line = [&](const std::vector<std::string>& row) {
    std::string out;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      out += i > 0 ? "," : "";
      out += csv_cell(cell_of(row, i));
    }
    return out + "\r\n";
  };
  if (table.columns.empty()) {
    return {};
  }
  std::string out = line(titles_of(table));
  for (const auto& row : table.rows) {
    out += row.empty() ? "" : line(row);
  }
  return out;
}

}  // namespace roofline
