#include "roofline/cli/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/terminal.h"
#include "roofline/report/utf8_cells.h"

namespace roofline::cli {

namespace {

// A message file is small; a prompt fits in memory many times over.
constexpr std::size_t kLargestInput = std::size_t{1} << 30;

// Writing JSON recurses; messages and tools nest a handful of levels.
constexpr int kDeepestJson = 200;

std::string reason(int error) {
  return error == EBADF ? "It is closed" : std::strerror(error);
}

std::string read_descriptor(
    int fd,
    const std::string& name,
    const char* advice) {
  std::string text;
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      fail<UserError>("Can't read " + name, reason(errno), advice);
    }
    if (n == 0) {
      return text;
    }
    text.append(buffer.data(), static_cast<std::size_t>(n));
    if (text.size() > kLargestInput) {
      fail<UserError>(
          name + " is too long",
          "More than 1 GiB was read",
          "Give less text");
    }
  }
}

}  // namespace

void write_output(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EPIPE) {
      throw OutputClosed();
    } else if (errno != EINTR) {
      fail<UserError>(
          "Can't write to standard output",
          reason(errno),
          "Check where it is redirected to");
    }
  }
}

int output_columns() {
  constexpr int kWithoutTerminal = 100;
  return terminal_columns(STDOUT_FILENO).value_or(kWithoutTerminal);
}

void write_text(std::string_view text) {
  const auto columns = terminal_columns(STDOUT_FILENO);
  if (!columns) {
    write_output(text);
    return;
  }
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    const std::size_t indent =
        std::min(line.find_first_not_of(' '), line.size());
    // A command is copied whole.
    const bool command = line.substr(indent).starts_with("roofline ");
    const int room = command ? static_cast<int>(line.size()) + 1
                             : std::max(1, *columns - static_cast<int>(indent));
    for (const std::string& part : wrap_lines(line.substr(indent), room)) {
      out += part.empty() ? "" : std::string(indent, ' ') + part;
      out += '\n';
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  write_output(out);
}

void write_json(const nlohmann::ordered_json& value) {
  using Json = nlohmann::ordered_json;
  write_output(value.dump(2, ' ', false, Json::error_handler_t::replace));
  write_output("\n");
}

void write_notice(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n < 0 && errno != EINTR) {
      return;
    }
    text.remove_prefix(n < 0 ? 0 : static_cast<std::size_t>(n));
  }
}

std::function<void(std::string_view)> notice_on_terminal() {
  return ::isatty(STDERR_FILENO) == 1
             ? std::function<void(std::string_view)>(write_notice)
             : nullptr;
}

bool people_read_output() {
  struct stat out {};
  struct stat err {};
  if (::isatty(STDOUT_FILENO) != 0) {
    return true;
  }
  return ::fstat(STDOUT_FILENO, &out) == 0 &&
         ::fstat(STDERR_FILENO, &err) == 0 && out.st_dev == err.st_dev &&
         out.st_ino == err.st_ino;
}

std::string read_input() {
  return read_descriptor(
      STDIN_FILENO,
      "standard input",
      "Check where it comes from");
}

std::string read_file(const std::filesystem::path& path) {
  const char* advice = "Check the path and its permissions";
  if (path == "-") {
    return read_input();
  }
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    fail<UserError>(
        "Can't read " + path.string(),
        std::strerror(errno),
        advice);
  }
  try {
    std::string text = read_descriptor(fd, path.string(), advice);
    ::close(fd);
    return text;
  } catch (...) {
    ::close(fd);
    throw;
  }
}

nlohmann::ordered_json read_json(const std::filesystem::path& path) {
  using Json = nlohmann::ordered_json;
  const std::string text = read_file(path);
  const auto bounded = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepestJson) {
      fail<UserError>(
          path.string() + " nests too deeply",
          fmt::format("More than {} levels", kDeepestJson),
          "Give a flatter file");
    }
    return true;
  };
  try {
    return Json::parse(text, bounded);
  } catch (const Json::parse_error& error) {
    fail<UserError>(
        fmt::format(
            "{} is not valid JSON at byte {}",
            path.string(),
            error.byte),
        "",
        "Check the file with a JSON tool");
  }
}

std::string format_bytes(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes)
                   : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

}  // namespace roofline::cli
