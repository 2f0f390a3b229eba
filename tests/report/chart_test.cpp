#include "roofline/report/chart.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>

#include "report/markup.h"
#include "roofline/base/errors.h"
#include "roofline/report/axis.h"
#include "roofline/report/chart_frame.h"

namespace roofline {
namespace {

using testing::count_of;
using testing::markup_fault;

constexpr ChartKind kKinds[] = {
    ChartKind::lines,
    ChartKind::stacked,
    ChartKind::bars,
    ChartKind::points};

Chart example(ChartKind kind) {
  Chart chart;
  chart.kind = kind;
  chart.title = "a <b> & \"c\"";
  chart.x_title = "context (tokens)";
  chart.y_title = "memory (GiB)";
  chart.x_labels = kind == ChartKind::bars
                       ? std::vector<std::string>{"one", "two", "three"}
                       : std::vector<std::string>{};
  chart.series = {
      {"first",
       {{0, 1, "p", {}, {}}, {1, 2, "q", 1.5, 2.5}, {2, 4, "", {}, {}}},
       true},
      {"second & <last>", {{0, 3, "", {}, {}}, {2, 1, "", {}, {}}}, false}};
  chart.rules = {{3.5, "limit <16 GB>"}};
  return chart;
}

TEST(Chart, EveryKindIsWellFormedAndEscaped) {
  for (ChartKind kind : kKinds) {
    const std::string svg = chart_svg(example(kind));
    EXPECT_EQ(markup_fault(svg), "");
    EXPECT_NE(svg.find("a &lt;b&gt; &amp; &quot;c&quot;"), std::string::npos);
    EXPECT_NE(svg.find("limit &lt;16 GB&gt;"), std::string::npos);
    EXPECT_NE(svg.find("second &amp; &lt;last&gt;"), std::string::npos);
    EXPECT_NE(svg.find("memory (GiB)"), std::string::npos);
  }
}

TEST(Chart, ValuesThatAreNoNumbersAreLeftOut) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (ChartKind kind : kKinds) {
    for (bool log : {false, true}) {
      Chart chart = example(kind);
      chart.x_log = log;
      chart.series[0].points.push_back({nan, 1, "", {}, {}});
      chart.series[0].points.push_back({1, infinity, "", {}, {}});
      chart.series[1].points.push_back({1, 2, "", nan, infinity});
      chart.rules.push_back({nan, "none"});
      const std::string svg = chart_svg(chart);
      EXPECT_EQ(count_of(svg, "nan"), 0u);
      EXPECT_EQ(count_of(svg, "\"inf"), 0u);
      EXPECT_EQ(count_of(svg, "\"-inf"), 0u);
    }
  }
}

TEST(Chart, NothingToDrawStillMakesAPicture) {
  for (ChartKind kind : kKinds) {
    for (bool log : {false, true}) {
      Chart chart;
      chart.kind = kind;
      chart.x_log = log;
      EXPECT_EQ(markup_fault(chart_svg(chart, 1, 1)), "");
      chart.series = {{"one", {{5, 0, "", {}, {}}}, false}};
      const std::string svg = chart_svg(chart);
      EXPECT_EQ(markup_fault(svg), "");
      EXPECT_EQ(count_of(svg, "nan"), 0u);
    }
  }
}

TEST(Chart, StackedAreasAddUp) {
  const Stack stack = stack_of(example(ChartKind::stacked));
  EXPECT_EQ(stack.xs, (std::vector<double>{0, 1, 2}));
  ASSERT_EQ(stack.tops.size(), 2u);
  EXPECT_EQ(stack.tops[0], (std::vector<double>{1, 2, 4}));
  // The second series has no point at 1: it runs straight from 3 to 1.
  EXPECT_EQ(stack.tops[1], (std::vector<double>{4, 4, 5}));
  EXPECT_NE(
      chart_svg(example(ChartKind::stacked)).find("sum: 5"),
      std::string::npos);
}

TEST(Chart, AFarLimitDoesNotPressTheDataFlat) {
  Chart chart = example(ChartKind::stacked);
  chart.rules = {{500, "far"}};
  const std::string svg = chart_svg(chart);
  EXPECT_NE(svg.find("↑ far"), std::string::npos);
  EXPECT_EQ(svg.find(">500<"), std::string::npos);
}

TEST(Chart, EachPointHasItsTooltip) {
  const std::string svg = chart_svg(example(ChartKind::lines));
  EXPECT_NE(
      svg.find("first: q\ncontext (tokens): 1\nmemory (GiB): 2 (1.5 to 2.5)"),
      std::string::npos);
}

TEST(Axis, TicksAreRoundAndCoverTheRange) {
  EXPECT_EQ(
      nice_values(0, 13, 7),
      (std::vector<double>{0, 2, 4, 6, 8, 10, 12, 14}));
  for (double high : {1e-9, 0.3, 7.0, 1234.0, 5e12}) {
    for (double low : {0.0, -high, high * 0.9}) {
      const auto values = nice_values(low, high, 6);
      EXPECT_LE(values.front(), low);
      EXPECT_GE(values.back(), high * (1 - 1e-9));
      EXPECT_LE(values.size(), 15u);
    }
  }
}

TEST(Axis, LabelsTellTicksApart) {
  const std::vector<double> values = {0, 0.25, 0.5};
  const auto ticks = label_values(values);
  EXPECT_EQ(ticks[0].label, "0.0");
  EXPECT_NE(ticks[1].label, ticks[2].label);
  EXPECT_EQ(label_values(std::vector<double>{0, 5000})[1].label, "5,000");
  EXPECT_EQ(label_values(std::vector<double>{8192}, true)[0].label, "8K");
}

TEST(Axis, ContextsStandAtPowersOfTwo) {
  const std::vector<double> contexts = {512, 2048, 8192};
  EXPECT_EQ(
      log_values(512, 8192, contexts, 10),
      (std::vector<double>{512, 1024, 2048, 4096, 8192}));
}

TEST(Png, HasTheSizeOfThePictureAndIsNotBlank) {
  const std::string png = chart_png(example(ChartKind::bars), 300, 200);
  ASSERT_GT(png.size(), 1000u);
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  auto number = [&](std::size_t at) {
    int out = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      out = out * 256 + static_cast<unsigned char>(png[at + i]);
    }
    return out;
  };
  EXPECT_EQ(number(16), 600);
  EXPECT_EQ(number(20), 400);
}

TEST(Png, TextIsDrawnWithoutAnyFontOfTheMachine) {
  Chart chart;
  chart.title = "short";
  const std::string one = chart_png(chart, 300, 200);
  chart.title = "other";
  EXPECT_NE(one, chart_png(chart, 300, 200));
}

class ChartFiles : public ::testing::Test {
 protected:
  ChartFiles() {
    auto name = std::filesystem::temp_directory_path() / "chart-XXXXXX";
    std::string text = name.string();
    folder_ = ::mkdtemp(text.data());
  }
  ~ChartFiles() override { std::filesystem::remove_all(folder_); }

  std::string written(const char* name) {
    write_chart(example(ChartKind::lines), folder_ / name);
    std::ifstream in(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::filesystem::path folder_;
};

TEST_F(ChartFiles, TheExtensionPicksTheFormat) {
  EXPECT_EQ(written("a.svg").substr(0, 4), "<svg");
  EXPECT_EQ(written("a.png").substr(1, 3), "PNG");
  const std::string page = written("a.html");
  EXPECT_EQ(page.substr(0, 15), "<!doctype html>");
  EXPECT_NE(page.find("<svg"), std::string::npos);
}

TEST_F(ChartFiles, AnotherExtensionIsRefusedAndWritesNothing) {
  EXPECT_THROW(written("a.pdf"), UserError);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "a.pdf"));
}

}  // namespace
}  // namespace roofline
