// Standard output and input of the program. Writing goes straight to the file
// descriptor, so that a full disk or a closed pipe is noticed at once.
#pragma once

#include <exception>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace roofline::cli {

/// Nobody reads standard output any more (EPIPE). Not an error to talk about.
struct OutputClosed : std::exception {
  const char* what() const noexcept override {
    return "standard output is closed";
  }
};

/// Writes all of `text` to standard output. Throws OutputClosed, or UserError
/// with the system's reason (a full disk).
void write_output(std::string_view text);
/// Columns of the terminal that standard output is (or what COLUMNS says), to
/// which tables are fitted; 100 where there is none.
int output_columns();
/// Text for people: on a terminal, lines that are longer than it is wide are
/// broken at spaces, and go on under their first word; commands stay whole.
void write_text(std::string_view text);
/// One JSON value, indented, with a newline. Bytes that aren't UTF-8 become
/// U+FFFD.
void write_json(const nlohmann::ordered_json& value);
/// Text for people on standard error; failures are ignored.
void write_notice(std::string_view text);
/// write_notice where standard error is a terminal; elsewhere empty: lines that
/// are drawn anew are for eyes only.
std::function<void(std::string_view)> notice_on_terminal();

/// Whether standard output is a terminal, or goes where standard error goes:
/// then a line must end before the next message.
bool people_read_output();

/// All of standard input, byte for byte.
std::string read_input();
/// All of a file, byte for byte; "-" is standard input. Throws UserError.
std::string read_file(const std::filesystem::path& path);
/// A JSON file in the order it was written. Throws UserError with the place
/// and the reason when it isn't JSON.
nlohmann::ordered_json read_json(const std::filesystem::path& path);

/// 1234567 → "1.2 MB" (powers of 1000).
std::string format_bytes(double bytes);

}  // namespace roofline::cli
