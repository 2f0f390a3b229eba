#include <gtest/gtest.h>

#include "report/markup.h"
#include "roofline/base/errors.h"
#include "roofline/report/chart.h"
#include "roofline/report/timeline.h"

namespace roofline {
namespace {

using testing::count_of;
using testing::markup_fault;

TEST(Page, IsWellFormedAndLoadsNothing) {
  const Table table{
      {{"a <b>", Align::left}, {"n", Align::right}},
      {{"x & y", "1"}, {}, {"sum", "2"}}};
  Chart chart;
  chart.title = "picture";
  const std::vector<HtmlSection> sections = {
      {"Tables <1>", html_table(table)},
      {"", chart_svg(chart)}};
  const std::string page = html_page("Title & more", sections);
  EXPECT_EQ(markup_fault(page, {"meta"}), "");
  EXPECT_NE(page.find("Tables &lt;1&gt;"), std::string::npos);
  EXPECT_NE(page.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_EQ(count_of(page, "src="), 0u);
  EXPECT_EQ(count_of(page, "href="), 0u);
  EXPECT_EQ(count_of(page, "url("), 0u);
  // The only address is the name of the SVG format, which nobody fetches.
  EXPECT_EQ(count_of(page, "http"), 1u);
}

TEST(Page, TableRowsAfterARuleAreMarked) {
  const Table table{{{"a", Align::left}}, {{"1"}, {}, {"2"}}};
  const std::string html = html_table(table);
  EXPECT_EQ(markup_fault(html), "");
  EXPECT_NE(html.find("<tr class=\"rule\"><td>2</td>"), std::string::npos);
  EXPECT_EQ(count_of(html, "<tr"), 3u);
}

TEST(Page, EscapeLeavesNoMarkupAndNoControlCharacters) {
  EXPECT_EQ(
      html_escape("<a href='x'>&\"\x01"),
      "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
  EXPECT_EQ(html_escape("Größe\n"), "Größe\n");
}

TEST(Timeline, ATraceCannotEndItsScript) {
  const std::string trace =
      R"([{"ph":"X","name":"</script><b>","ts":0,"dur":5,"tid":1}])";
  const std::string page = timeline_html("t", trace);
  EXPECT_EQ(count_of(page, "</script>"), 2u);
  EXPECT_NE(page.find(R"("name":"\u003c/script>\u003cb>")"), std::string::npos);
}

TEST(Timeline, LoadsNothingFromOutside) {
  const std::string page = timeline_html("t", R"({"traceEvents":[]})");
  EXPECT_EQ(count_of(page, "http"), 0u);
  EXPECT_EQ(count_of(page, " src="), 0u);
  EXPECT_EQ(count_of(page, "import"), 0u);
}

TEST(Timeline, WhatIsNoJsonIsRefused) {
  EXPECT_THROW(timeline_html("t", "[{"), UserError);
}

}  // namespace
}  // namespace roofline
