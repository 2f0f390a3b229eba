#include "roofline/report/table.h"

#include <gtest/gtest.h>

#include <sstream>

#include "roofline/report/chart.h"

namespace roofline {
namespace {

Table sizes() {
  return {
      {{"Teil", Align::left}, {"GiB", Align::right}},
      {{"Größe", "4.25"}, {}, {"sum", "12"}}};
}

int widest_line(const std::string& text) {
  std::istringstream lines(text);
  int widest = 0;
  for (std::string line; std::getline(lines, line);) {
    widest = std::max(widest, display_width(line));
  }
  return widest;
}

TEST(Table, ColumnsAlignByCharactersNotBytes) {
  EXPECT_EQ(
      table_text(sizes()),
      "Teil    GiB\n"
      "Größe  4.25\n"
      "───────────\n"
      "sum      12\n");
}

TEST(Table, ALongCellWrapsInsideItsColumn) {
  const Table table{
      {{"name", Align::left}, {"why", Align::left}, {"n", Align::right}},
      {{"a", "größer als der Speicher dieses Rechners", "7"}}};
  EXPECT_EQ(
      table_text(table, 30),
      "name  why                    n\n"
      "a     größer als der         7\n"
      "      Speicher dieses\n"
      "      Rechners\n");
}

TEST(Table, NothingIsWiderThanAskedAndNothingIsLost) {
  const std::string word(50, 'x');
  const Table table{
      {{"a", Align::left}, {"b", Align::left}, {"c", Align::right}},
      {{word, "éééééééééééééééééééééééééé", "123"}}};
  for (int width = 25; width < 90; ++width) {
    const std::string text = table_text(table, width);
    EXPECT_LE(widest_line(text), width);
    EXPECT_EQ(std::count(text.begin(), text.end(), 'x'), 50);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\xA9'), 26);
  }
}

TEST(Table, TitlesOfNumbersWrapBeforeCellsAreLost) {
  const Table table{
      {{"model", Align::left}, {"Context up to", Align::right}},
      {{"qwen", "8192"}}};
  EXPECT_EQ(
      table_text(table, 16),
      "model    Context\n"
      "           up to\n"
      "qwen        8192\n");
}

TEST(Table, WhatNoWrappingMakesNarrowEnoughIsWrittenCellByCell) {
  const Table table{
      {{"model", Align::left},
       {"bytes", Align::right},
       {"share", Align::right}},
      {{"qwen", "1234567890", "10.5 %"}, {}, {"Total", "1234567890", ""}}};
  const std::string text = table_text(table, 24);
  EXPECT_LE(widest_line(text), 24);
  EXPECT_EQ(
      text,
      "model  qwen\n"
      "bytes  1234567890\n"
      "share  10.5 %\n"
      "\n"
      "model  Total\n"
      "bytes  1234567890\n");
}

TEST(Table, BrokenUtf8CountsOneColumnAByte) {
  EXPECT_EQ(display_width("\xC3(\xFF"), 3);
  EXPECT_EQ(display_width("µs"), 2);
}

TEST(Table, MarkdownEscapesPipesAndKeepsLinesWhole) {
  const Table table{
      {{"a|b", Align::left}, {"n", Align::right}},
      {{"x\ny", "1|2"}, {}}};
  EXPECT_EQ(
      table_markdown(table),
      "| a\\|b | n |\n"
      "| --- | ---: |\n"
      "| x<br>y | 1\\|2 |\n");
}

TEST(Table, CsvQuotesWhatNeedsIt) {
  const Table table{
      {{"name", Align::left}, {"n", Align::right}},
      {{"a \"b\", c", "1"}, {}, {"two\nlines", "2"}}};
  EXPECT_EQ(
      table_csv(table),
      "name,n\r\n\"a \"\"b\"\", c\",1\r\n\"two\nlines\",2\r\n");
}

TEST(Table, MissingCellsAreEmpty) {
  const Table table{{{"a", Align::left}, {"b", Align::left}}, {{"1"}}};
  EXPECT_EQ(table_text(table), "a  b\n1\n");
  EXPECT_EQ(table_csv(table), "a,b\r\n1,\r\n");
}

TEST(Bars, LengthsAreInProportionAndValuesLineUp) {
  const std::vector<Bar> bars = {
      {"weights", 4, "4 GiB"},
      {"Größe", 2, "2 GiB"},
      {"none", 0, "0 GiB"}};
  EXPECT_EQ(
      bars_text(bars, 32),
      "weights  ████████████████  4 GiB\n"
      "Größe    ████████          2 GiB\n"
      "none                       0 GiB\n");
}

TEST(Bars, WhatIsNoLengthDrawsNoBar) {
  const std::vector<Bar> bars = {{"a", -1, "-1"}, {"b", 0.0 / 0.0, "?"}};
  EXPECT_EQ(bars_text(bars, 20).find("█"), std::string::npos);
}

}  // namespace
}  // namespace roofline
