// What is wrong with the arguments of a command, in words of ours.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace roofline::cli {

/// Throws UserError for what CLI11 found: which option, why, and what it takes.
[[noreturn]] void fail_parse(const CLI::App& app, const CLI::ParseError& error);

/// Throws UserError for an argument that CLI11 doesn't know, with the nearest
/// names.
[[noreturn]] void fail_unexpected(
    const CLI::App& app,
    const std::string& argument);

/// Throws UserError when a number, a name or a file was given as "": a shell
/// writes that where a variable isn't set, and CLI11 takes it for the default.
/// A text may be empty.
void refuse_empty_values(const CLI::App& app);

}  // namespace roofline::cli
