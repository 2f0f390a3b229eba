#include <fmt/format.h>

#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/decode/sampling.h"
#include "roofline/report/table.h"

namespace roofline::cli {

namespace {

class Presets : public Command {
 public:
  void declare(App& app) override {
    app.add_flag("--json", json_, "Print JSON.")->group("Output");
    app.footer(
        "Examples\n"
        "    roofline presets\n"
        "    roofline generate --preset qa --top-k 20 \"What is a prime?\"");
  }

  int run() override {
    if (json_) {
      print_json();
      return kSuccess;
    }
    Table table{
        {{"name"},
         {"for"},
         {"temperature", Align::right},
         {"top-p", Align::right},
         {"top-k", Align::right},
         {"repetition-penalty", Align::right}},
        {}};
    for (const Preset& preset : presets()) {
      const SamplingOptions& options = preset.options;
      table.rows.push_back(
          {preset.name,
           preset.title,
           fmt::format("{:.2f}", options.temperature),
           fmt::format("{:.2f}", options.top_p),
           fmt::format("{}", options.top_k),
           fmt::format("{:.2f}", options.repetition_penalty)});
    }
    write_text(table_text(table, output_columns()));
    return kSuccess;
  }

 private:
  static void print_json() {
    auto list = nlohmann::ordered_json::array();
    for (const Preset& preset : presets()) {
      list.push_back({
          {"name", preset.name},
          {"title", preset.title},
          {"temperature", rounded(preset.options.temperature)},
          {"top_p", rounded(preset.options.top_p)},
          {"top_k", preset.options.top_k},
          {"repetition_penalty", rounded(preset.options.repetition_penalty)},
      });
    }
    write_json(list);
  }

  /// The float's shortest decimal form as a double: 0.8f → 0.8.
  static double rounded(float value) {
    return std::stod(fmt::format("{}", value));
  }

  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_presets() {
  return std::make_unique<Presets>();
}

}  // namespace roofline::cli
