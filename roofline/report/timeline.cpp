#include "roofline/report/timeline.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "roofline/base/errors.h"
#include "roofline/report/chart.h"

namespace roofline {
namespace {

constexpr const char* kView = R"html(<style>
body{max-width:none}
#view{width:100%;display:block;cursor:grab;touch-action:none;
border:1px solid var(--line);border-radius:6px}
#view:active{cursor:grabbing}
#tip{position:fixed;display:none;pointer-events:none;white-space:pre;
background:var(--back);color:var(--ink);border:1px solid var(--line);
border-radius:6px;padding:.4rem .6rem;font-size:.85rem;max-width:40rem;
box-shadow:0 2px 10px #0004;z-index:1}
#names tr{cursor:pointer}
#names tr.on{background:var(--band);font-weight:600}
#names i{display:inline-block;width:.8em;height:.8em;margin-right:.5em;
border-radius:2px}
.hint{color:var(--dim);font-size:.9rem}
</style>
<p id="facts"></p>
<p class="hint">Wheel: zoom. Drag: move. Double click: everything.
Keys: W and S zoom, A and D move. A click on a name below marks its spans.</p>
<canvas id="view"></canvas><div id="tip"></div>
)html";

constexpr const char* kNames =
    "<div class=\"wide\"><table id=\"names\"><thead><tr><th>name</th>"
    "<th>category</th><th class=\"right\">calls</th>"
    "<th class=\"right\">total</th><th class=\"right\">self</th>"
    "<th class=\"right\">mean</th><th class=\"right\">longest</th>"
    "<th class=\"right\">share of self</th></tr></thead><tbody></tbody>"
    "</table></div>\n";

/// JSON that can't end the script element it stands in: "<" occurs only within
/// strings, where it may be written as an escape.
std::string embedded(const std::string& json) {
  std::string out;
  out.reserve(json.size());
  for (char c : json) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string timeline_html(
    const std::string& title,
    const std::string& trace_json) {
  if (!nlohmann::json::accept(trace_json)) {
    fail<UserError>(
        "can't draw the timeline",
        "the trace is not JSON",
        "Record the trace again");
  }
  std::string script = "<script type=\"application/json\" id=\"trace\">";
  script += embedded(trace_json);
  script += "</script>\n<script>";
  script += timeline_script();
  script += "</script>";
  const std::vector<HtmlSection> sections = {
      {"", kView},
      {"Where the time went", kNames + script}};
  return html_page(title, sections);
}

}  // namespace roofline
