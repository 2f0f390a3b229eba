#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/decode/sampling.h"

namespace roofline::cli {

namespace {

struct OptionFact {
  std::vector<std::string> names;  ///< with their dashes
  std::string description;
  bool takes_value = false;
  bool takes_file = false;
  std::vector<std::string> choices;  ///< of the value, where they are known
};

struct CommandFact {
  std::string name, summary;
  std::vector<OptionFact> options;
};

/// "auto|cpu|gpu" → its parts; a preset's NAME → the presets.
std::vector<std::string> choices_of(const CLI::Option& option) {
  std::vector<std::string> out;
  const std::string type = option.get_type_name();
  if (option.check_name("--preset")) {
    for (const Preset& preset : presets()) {
      out.push_back(preset.name);
    }
  } else if (type.find('|') != std::string::npos) {
    out = CLI::detail::split(type, '|');
  }
  return out;
}

OptionFact fact_of(const CLI::Option& option) {
  OptionFact fact;
  for (const std::string& name : option.get_snames()) {
    fact.names.push_back("-" + name);
  }
  for (const std::string& name : option.get_lnames()) {
    fact.names.push_back("--" + name);
  }
  fact.description = option.get_description();
  fact.description = fact.description.substr(0, fact.description.find(". "));
  fact.takes_value = option.get_items_expected_max() > 0;
  fact.takes_file = option.get_type_name().starts_with("FILE");
  fact.choices = choices_of(option);
  return fact;
}

std::vector<CommandFact> command_facts() {
  std::vector<CommandFact> facts;
  for (const CommandEntry& entry : commands()) {
    const std::unique_ptr<Command> command = entry.make();
    const std::unique_ptr<App> app = make_app(entry, *command);
    CommandFact fact{std::string(entry.name), std::string(entry.summary), {}};
    for (const CLI::Option* option : app->get_options()) {
      if (!option->get_positional()) {
        fact.options.push_back(fact_of(*option));
      }
    }
    facts.push_back(std::move(fact));
  }
  return facts;
}

/// In single quotes for a shell: ' ends the quotes, stands escaped, opens
/// them again.
std::string quote(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return out + "'";
}

std::string bash_script(const std::vector<CommandFact>& facts) {
  std::string names;
  std::string cases;
  for (const CommandFact& command : facts) {
    names += (names.empty() ? "" : " ") + command.name;
    std::string options;
    std::string values;
    for (const OptionFact& option : command.options) {
      for (const std::string& name : option.names) {
        options += (options.empty() ? "" : " ") + name;
      }
      if (!option.choices.empty()) {
        values += fmt::format(
            "        {}) COMPREPLY=($(compgen -W {} -- \"$current\")); "
            "return ;;\n",
            fmt::join(option.names, "|"),
            quote(fmt::format("{}", fmt::join(option.choices, " "))));
      }
    }
    if (!values.empty()) {
      values = "      case \"$previous\" in\n" + values + "      esac\n";
    }
    cases += fmt::format(
        "    {})\n{}      options={}\n      ;;\n",
        command.name,
        values,
        quote(options));
  }
  return fmt::format(
      "# bash completion for roofline; load with\n"
      "#   source <(roofline completion bash)\n"
      "_roofline() {{\n"
      "  local current=${{COMP_WORDS[COMP_CWORD]}} options=\n"
      "  local previous=${{COMP_WORDS[COMP_CWORD-1]}}\n"
      "  COMPREPLY=()\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    COMPREPLY=($(compgen -W {} -- \"$current\"))\n"
      "    return\n"
      "  fi\n"
      "  case \"${{COMP_WORDS[1]}}\" in\n"
      "{}"
      "  esac\n"
      "  case \"$current\" in\n"
      "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$current\")) ;;\n"
      "  esac\n"
      "}}\n"
      "complete -o default -F _roofline roofline\n",
      quote(names + " help"),
      cases);
}

/// Brackets and colons have a meaning in _arguments' specifications.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  return out;
}

std::string zsh_option(const OptionFact& option) {
  std::string lines;
  for (const std::string& name : option.names) {
    std::string spec =
        fmt::format("*{}[{}]", name, zsh_text(option.description));
    if (!option.choices.empty()) {
      spec += fmt::format(":value:({})", fmt::join(option.choices, " "));
    } else if (option.takes_file) {
      spec += ":file:_files";
    } else if (option.takes_value) {
      spec += ":value:";
    }
    lines += fmt::format(" \\\n        {}", quote(spec));
  }
  return lines;
}

std::string zsh_script(const std::vector<CommandFact>& facts) {
  std::string names;
  std::string cases;
  for (const CommandFact& command : facts) {
    names += fmt::format(
        "    {}\n",
        quote(command.name + ":" + zsh_text(command.summary)));
    cases += fmt::format("    {})\n      _arguments", command.name);
    for (const OptionFact& option : command.options) {
      cases += zsh_option(option);
    }
    cases += " \\\n        '*:file:_files'\n      ;;\n";
  }
  return fmt::format(
      "#compdef roofline\n"
      "# zsh completion for roofline; load with\n"
      "#   source <(roofline completion zsh)\n"
      "_roofline() {{\n"
      "  local -a roofline_commands\n"
      "  roofline_commands=(\n"
      "{}"
      "  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe command roofline_commands\n"
      "    return\n"
      "  fi\n"
      "  local name=${{words[2]}}\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $name in\n"
      "{}"
      "  esac\n"
      "}}\n"
      "if [ \"${{funcstack[1]}}\" = _roofline ]; then\n"
      "  _roofline \"$@\"\n"
      "else\n"
      "  compdef _roofline roofline\n"
      "fi\n",
      names,
      cases);
}

std::string fish_option(const CommandFact& command, const OptionFact& option) {
  std::string line = fmt::format(
      "complete -c roofline -n '__fish_seen_subcommand_from {}'",
      command.name);
  for (const std::string& name : option.names) {
    const bool is_long = name.starts_with("--");
    line += fmt::format(
        " -{} {}",
        is_long ? 'l' : 's',
        name.substr(is_long ? 2 : 1));
  }
  if (!option.choices.empty()) {
    line += fmt::format(
        " -x -a {}",
        quote(fmt::format("{}", fmt::join(option.choices, " "))));
  } else if (option.takes_value) {
    line += option.takes_file ? " -r" : " -x";
  }
  return line + " -d " + quote(option.description) + "\n";
}

std::string fish_script(const std::vector<CommandFact>& facts) {
  std::string text =
      "# fish completion for roofline; load with\n"
      "#   roofline completion fish | source\n";
  for (const CommandFact& command : facts) {
    text += fmt::format(
        "complete -c roofline -n __fish_use_subcommand -f -a {} -d {}\n",
        command.name,
        quote(command.summary));
  }
  for (const CommandFact& command : facts) {
    for (const OptionFact& option : command.options) {
      text += fish_option(command, option);
    }
  }
  return text;
}

class Completion : public Command {
 public:
  void declare(App& app) override {
    app.add_option("shell", shell_, "bash, zsh or fish.")->type_name("SHELL");
    app.footer(
        "Examples\n"
        "    source <(roofline completion bash)\n"
        "    roofline completion zsh > \"${fpath[1]}/_roofline\"\n"
        "    roofline completion fish | source");
  }

  int run() override {
    const std::vector<std::string> known = {"bash", "zsh", "fish"};
    if (shell_ == "bash") {
      write_output(bash_script(command_facts()));
    } else if (shell_ == "zsh") {
      write_output(zsh_script(command_facts()));
    } else if (shell_ == "fish") {
      write_output(fish_script(command_facts()));
    } else if (shell_.empty()) {
      fail<UserError>("SHELL is missing", "", "Name bash, zsh or fish");
    } else {
      fail<UserError>(
          fmt::format("There is no completion for {}", shell_),
          did_you_mean(shell_, known),
          "Name bash, zsh or fish");
    }
    return kSuccess;
  }

 private:
  std::string shell_;
};

}  // namespace

std::unique_ptr<Command> make_completion() {
  return std::make_unique<Completion>();
}

}  // namespace roofline::cli
