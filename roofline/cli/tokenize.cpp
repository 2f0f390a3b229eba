#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/text/tokenizer.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

namespace {

class Tokenize : public Command {
 public:
  void declare(App& app) override {
    app.add_option(
           "model",
           model_,
           "The model, or a file with only its vocabulary.")
        ->type_name("MODEL");
    app.add_flag("--ids", ids_, "Print the ids on one line.")->group("Output");
    app.add_flag(
           "--no-special",
           no_special_,
           "Leave out the tokens that the model puts around a text.")
        ->group("Output");
    app.footer(
        "Reads the text from standard input, exactly as it is.\n"
        "\n"
        "Examples\n"
        "    printf 'Hello, world' | roofline tokenize model.gguf --ids\n"
        "    roofline tokenize model.gguf --no-special < text.txt");
  }

  int run() override {
    if (model_.empty()) {
      fail<UserError>("MODEL is missing", "", "See `roofline tokenize --help`");
    }
    const std::unique_ptr<Tokenizer> tokenizer =
        load_tokenizer(resolve_model(model_));
    const std::vector<std::int32_t> ids = tokenizer->encode(
        read_input(),
        no_special_ ? Specials::none : Specials::add);
    if (ids_) {
      write_output(fmt::format("{}\n", fmt::join(ids, " ")));
      return kSuccess;
    }
    std::string lines;
    for (std::int32_t id : ids) {
      const nlohmann::json text = tokenizer->token_text(id);
      lines += fmt::format(
          "{:>8}  {}\n",
          id,
          text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    }
    write_output(lines);
    return kSuccess;
  }

 private:
  std::string model_;
  bool ids_ = false;
  bool no_special_ = false;
};

}  // namespace

std::unique_ptr<Command> make_tokenize() {
  return std::make_unique<Tokenize>();
}

}  // namespace roofline::cli
