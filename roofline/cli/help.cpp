#include "roofline/cli/help.h"

#include <sstream>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "roofline/cli/command.h"

namespace roofline::cli {

namespace {

std::string synopsis(const CLI::App& app) {
  std::string line = "roofline " + app.get_name() + " [options]";
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      line += " " + option->get_type_name();
    }
  }
  return line;
}

std::string heading_of(const CLI::Option& option) {
  std::string names;
  for (const std::string& name : option.get_snames()) {
    names += (names.empty() ? "-" : ", -") + name;
  }
  for (const std::string& name : option.get_lnames()) {
    names += (names.empty() ? "--" : ", --") + name;
  }
  if (option.get_items_expected_max() > 0 && !option.get_type_name().empty()) {
    names += " " + option.get_type_name();
  }
  return names;
}

std::string describe_options(const CLI::App& app) {
  std::string text;
  for (const std::string& group : app.get_groups()) {
    std::string lines;
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_positional() || option->get_group() != group) {
        continue;
      }
      lines +=
          wrap(heading_of(*option), 4) + wrap(option->get_description(), 8);
    }
    if (!lines.empty() && !group.empty()) {
      text += fmt::format("\n{}\n{}", group, lines);
    }
  }
  return text;
}

std::string describe_arguments(const CLI::App& app) {
  std::string text;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      text +=
          wrap(option->get_type_name(), 4) + wrap(option->get_description(), 8);
    }
  }
  return text.empty() ? "" : "\nArguments\n" + text;
}

}  // namespace

std::string wrap(const std::string& text, int indent, int width) {
  std::string out;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string word;
    std::string row(static_cast<std::size_t>(indent), ' ');
    bool empty = true;
    while (words >> word) {
      const std::size_t longer = row.size() + (empty ? 0 : 1) + word.size();
      if (!empty && longer > static_cast<std::size_t>(width)) {
        out += row + "\n";
        row.assign(static_cast<std::size_t>(indent), ' ');
        empty = true;
      }
      row += (empty ? "" : " ") + word;
      empty = false;
    }
    out += row + "\n";
  }
  return out;
}

std::string ManFormatter::make_help(
    const CLI::App* app,
    std::string,
    CLI::AppFormatMode) const {
  std::string text = fmt::format(
      "Name\n    roofline {} - {}\n\nSynopsis\n    {}\n",
      app->get_name(),
      app->get_description(),
      synopsis(*app));
  text += describe_arguments(*app);
  text += describe_options(*app);
  if (!app->get_footer().empty()) {
    text += "\n" + app->get_footer() + "\n";
  }
  return text;
}

std::string program_help() {
  std::string text =
      "roofline - run language models on MLX at the speed of the hardware\n"
      "\n"
      "Synopsis\n"
      "    roofline COMMAND [options]\n"
      "    roofline COMMAND --help\n"
      "\n"
      "Commands\n";
  for (const CommandEntry& entry : commands()) {
    text += fmt::format("    {:<12}{}\n", entry.name, entry.summary);
  }
  text +=
      "\n"
      "MODEL is a GGUF file, a folder with config.json and safetensors, or a\n"
      "short name of one: a folder in the models registry, or a name in the\n"
      "Hugging Face cache. Where MODEL can be left out, the bundled model is\n"
      "used.\n"
      "\n"
      "Environment\n"
      "    ROOFLINE_MODELS   the models registry\n"
      "    ROOFLINE_CACHE    where repacked weights and measurements are kept\n"
      "    ROOFLINE_ISA      generic, avx2, avx512 or amx; neon or i8mm on "
      "Arm:\n"
      "                      force an instruction set\n"
      "    HF_HOME           the Hugging Face cache\n"
      "\n"
      "Exit codes\n"
      "    0 done; 1 bench compare found something slower, or doctor a\n"
      "    problem; 2 an option, a prompt or a file is wrong; 3 a fault of\n"
      "    roofline; 130 and 143 interrupted; 141 standard output was closed\n"
      "\n"
      "Examples\n"
      "    roofline generate \"Why is the sky blue?\"\n"
      "    roofline chat path/to/model.gguf\n"
      "    roofline inspect org/name\n";
  return text;
}

}  // namespace roofline::cli
