
#include "roofline/base/errors.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/text/chat_template.h"
#include "roofline/text/utf8.h"

namespace roofline::cli {

namespace {

void require_array(
    const nlohmann::ordered_json& value,
    const std::string& path,
    const char* of) {
  if (!value.is_array()) {
    fail<UserError>(
        path + " holds no list",
        std::string("It must be a JSON array of ") + of,
        "Put [ and ] around it");
  }
}

/// The template's source: a file of its own, or the "chat_template" of a
/// tokenizer_config.json.
std::string read_template(const std::string& path) {
  if (!path.ends_with(".json")) {
    return read_file(path);
  }
  const nlohmann::ordered_json config = read_json(path);
  if (config.is_object() && config.contains("chat_template") &&
      config["chat_template"].is_string()) {
    return config["chat_template"].get<std::string>();
  }
  fail<UserError>(
      path + " has no chat template",
      "It is no object with a text named chat_template",
      "Name a .jinja file or a tokenizer_config.json");
}

class Template : public Command {
 public:
  void declare(App& app) override {
    app.add_option(
           "--template",
           template_,
           "The template: a Jinja file, or a tokenizer_config.json. Required.")
        ->type_name("FILE")
        ->group("Input");
    app.add_option(
           "--messages",
           messages_,
           "A JSON array of {\"role\", \"content\", …}. Required.")
        ->type_name("FILE.json")
        ->group("Input");
    app.add_option("--tools", tools_, "A JSON array of tool definitions.")
        ->type_name("FILE.json")
        ->group("Input");
    app.add_option("--bos", bos_, "What the template sees as bos_token.")
        ->type_name("TEXT")
        ->group("Input");
    app.add_option("--eos", eos_, "What the template sees as eos_token.")
        ->type_name("TEXT")
        ->group("Input");
    app.add_flag(
           "--add-generation-prompt",
           generation_prompt_,
           "End with the begin of an answer.")
        ->group("Input");
    app.footer(
        "Prints exactly what the template renders, without a newline of its "
        "own.\n"
        "\n"
        "Examples\n"
        "    roofline template --template chat_template.jinja \\\n"
        "        --messages messages.json --add-generation-prompt");
  }

  int run() override {
    if (template_.empty() || messages_.empty()) {
      fail<UserError>(
          std::string(template_.empty() ? "--template" : "--messages") +
              " is missing",
          "",
          "See `roofline template --help`");
    }
    const std::string source = read_template(template_);
    require_utf8(source, template_);
    const nlohmann::ordered_json messages = read_json(messages_);
    require_array(messages, messages_, "messages");
    RenderOptions options;
    if (!tools_.empty()) {
      options.tools = read_json(tools_);
      require_array(options.tools, tools_, "tool definitions");
    }
    require_utf8(bos_, "--bos");
    require_utf8(eos_, "--eos");
    options.bos_text = bos_;
    options.eos_text = eos_;
    options.add_generation_prompt = generation_prompt_;
    write_output(ChatTemplate(source).render(messages, options));
    return kSuccess;
  }

 private:
  std::string template_, messages_, tools_, bos_, eos_;
  bool generation_prompt_ = false;
};

}  // namespace

std::unique_ptr<Command> make_template() {
  return std::make_unique<Template>();
}

}  // namespace roofline::cli
