#include "roofline/report/chart.h"
#include "roofline/report/table.h"

namespace roofline {
namespace {

// Variables carry the two colour schemes; nothing is loaded from outside.
constexpr const char* kPageStyle = R"css(
:root{color-scheme:light dark;--back:#fff;--ink:#1c1f24;--dim:#5b6470;
--line:#dfe3e8;--band:#f5f7f9}
@media (prefers-color-scheme:dark){:root{--back:#14171b;--ink:#e6e9ed;
--dim:#9aa4b0;--line:#333a43;--band:#1b2026}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:2rem 1.25rem 4rem;
background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 1.5rem}
h2{font-size:1.2rem;margin:2.5rem 0 .75rem;padding-bottom:.3rem;
border-bottom:1px solid var(--line)}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;
font-variant-numeric:tabular-nums;margin:.5rem 0}
th,td{padding:.35rem .8rem;text-align:left;vertical-align:top;
border-bottom:1px solid var(--line);white-space:pre-line}
th{color:var(--dim);font-weight:600}
th.right,td.right{text-align:right}
tbody tr:hover{background:var(--band)}
tr.rule td{border-top:2px solid var(--dim)}
svg{max-width:100%;height:auto;display:block;margin:.5rem 0}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
font-size:.9em}
pre{background:var(--band);padding:.8rem 1rem;border-radius:6px;
overflow-x:auto}
@media print{body{max-width:none}}
)css";

}  // namespace

std::string html_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // XML allows no other control characters.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') {
          out += c;
        }
    }
  }
  return out;
}

std::string html_table(const Table& table) {
  auto cell = [&](const char* tag, std::size_t i, std::string_view text) {
    std::string out = std::string("<") + tag;
    out += table.columns[i].align == Align::right ? " class=\"right\">" : ">";
    return out + html_escape(text) + "</" + tag + ">";
  };
  std::string out = "<div class=\"wide\"><table>\n<thead><tr>";
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    out += cell("th", i, table.columns[i].title);
  }
  out += "</tr></thead>\n<tbody>\n";
  bool rule = false;
  for (const auto& row : table.rows) {
    if (row.empty()) {
      rule = true;
      continue;
    }
    out += rule ? "<tr class=\"rule\">" : "<tr>";
    rule = false;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      out += cell("td", i, i < row.size() ? row[i] : "");
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string html_page(
    const std::string& title,
    std::span<const HtmlSection> sections) {
  const std::string name = html_escape(title);
  std::string out = "<!doctype html>\n<html lang=\"en\"><head>\n";
  out += "<meta charset=\"utf-8\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width\">\n";
  out += "<title>" + name + "</title>\n<style>" + kPageStyle + "</style>\n";
  out += "</head><body>\n<h1>" + name + "</h1>\n";
  for (const HtmlSection& section : sections) {
    out += "<section>\n";
    if (!section.heading.empty()) {
      out += "<h2>" + html_escape(section.heading) + "</h2>\n";
    }
    out += section.body_html + "\n</section>\n";
  }
  return out + "</body></html>\n";
}

}  // namespace roofline
