#include "roofline/cli/line_reader.h"

#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <iostream>

#include "roofline/cli/output.h"

#ifdef ROOFLINE_HAVE_LIBEDIT
#include <histedit.h>
#endif

namespace roofline::cli {

#ifdef ROOFLINE_HAVE_LIBEDIT

namespace {

constexpr int kHistoryLines = 1000;

}  // namespace

struct LineReader::Editor {
  explicit Editor(const std::filesystem::path& file) : history_file(file) {
    std::setlocale(LC_CTYPE, "");
    edit = el_init("roofline", stdin, stderr, stderr);
    el_set(edit, EL_CLIENTDATA, this);
    el_set(edit, EL_PROMPT, show_prompt);
    el_set(edit, EL_EDITOR, "emacs");
    // Restores the terminal when a signal ends the process.
    el_set(edit, EL_SIGNAL, 1);
    // While a line is typed Ctrl-C is a key that clears it.
    el_set(edit, EL_SETTY, "-d", "-isig", nullptr);
    el_set(edit, EL_BIND, "^C", "ed-start-over", nullptr);
    HistEvent event;
    lines = history_init();
    history(lines, &event, H_SETSIZE, kHistoryLines);
    history(lines, &event, H_SETUNIQUE, 1);
    el_set(edit, EL_HIST, history, lines);
    if (!history_file.empty()) {
      history(lines, &event, H_LOAD, history_file.c_str());
    }
  }

  ~Editor() {
    if (!history_file.empty()) {
      HistEvent event;
      history(lines, &event, H_SAVE, history_file.c_str());
    }
    history_end(lines);
    el_end(edit);
  }

  static char* show_prompt(EditLine* edit) {
    Editor* self = nullptr;
    el_get(edit, EL_CLIENTDATA, &self);
    return self->prompt.data();
  }

  std::optional<std::string> read() {
    int count = 0;
    const char* line = el_gets(edit, &count);
    if (line == nullptr || count <= 0) {
      return std::nullopt;
    }
    std::string text(line, static_cast<std::size_t>(count));
    if (text.ends_with('\n')) {
      text.pop_back();
    }
    return text;
  }

  void remember(const std::string& line) {
    HistEvent event;
    history(lines, &event, H_ENTER, line.c_str());
  }

  std::filesystem::path history_file;
  std::string prompt;
  EditLine* edit = nullptr;
  History* lines = nullptr;
};

#else

struct LineReader::Editor {
  explicit Editor(const std::filesystem::path&) {}
  std::optional<std::string> read() { return std::nullopt; }
  void remember(const std::string&) {}
  std::string prompt;
};

#endif

LineReader::LineReader(const std::filesystem::path& history) {
  interactive_ = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0;
#ifdef ROOFLINE_HAVE_LIBEDIT
  if (interactive_) {
    editor_ = std::make_unique<Editor>(history);
  }
#else
  static_cast<void>(history);
#endif
}

LineReader::~LineReader() = default;

bool LineReader::interactive() const {
  return interactive_;
}

std::optional<std::string> LineReader::read(const std::string& prompt) {
  if (editor_) {
    editor_->prompt = prompt;
    return editor_->read();
  }
  if (interactive_) {
    write_notice(prompt);
  }
  std::string line;
  if (!std::getline(std::cin, line)) {
    return std::nullopt;
  }
  return line;
}

void LineReader::remember(const std::string& line) {
  if (editor_) {
    editor_->remember(line);
  }
}

}  // namespace roofline::cli
