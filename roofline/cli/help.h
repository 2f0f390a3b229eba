// Man-style help: NAME, SYNOPSIS, options in groups, EXAMPLES.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace roofline::cli {

/// Lays out one command. The app's footer is its examples and closing notes.
class ManFormatter : public CLI::FormatterBase {
 public:
  std::string make_help(
      const CLI::App* app,
      std::string name,
      CLI::AppFormatMode mode) const override;
};

/// The help of the program itself: what it is and its commands.
std::string program_help();

/// Breaks text at spaces so that no line is longer than `width`; every line
/// starts with `indent` spaces. Line ends in the text are kept.
std::string wrap(const std::string& text, int indent, int width = 79);

}  // namespace roofline::cli
