#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "roofline/base/errors.h"
#include "roofline/cli/adapter_flags.h"
#include "roofline/cli/output.h"
#include "roofline/cli/train_commands.h"
#include "roofline/train/fuse.h"

namespace roofline::cli {

namespace {

class Fuse : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("model", model_, "The model that the adapter is for.")
        ->type_name("MODEL");
    adapter_.declare(app);
    const char* group = "Output";
    app.add_option("-o,--output", output_, "Where to write. Required.")
        ->type_name("FOLDER")
        ->group(group);
    app.add_flag(
           "--dequantize",
           dequantize_,
           "Write changed matrices of a quantized model as bfloat16. Without "
           "it they are quantized again as they were.")
        ->group(group);
    app.add_option(
           "--as",
           form_,
           "Write the adapter alone, in another form: mlx-lm or peft.")
        ->type_name("mlx-lm|peft")
        ->group(group);
    app.add_flag("--force", force_, "Replace a model that is there.")
        ->group(group);
    app.footer(
        "Examples\n"
        "    roofline fuse folder --adapter adapter -o fused\n"
        "    roofline fuse folder --adapter a=0.7 --adapter b=0.3 -o fused\n"
        "    roofline fuse folder --adapter adapter --as peft -o for-peft");
  }

  int run() override {
    if (model_.empty() || adapter_.adapters.empty() || output_.empty()) {
      fail<UserError>(
          model_.empty()              ? "MODEL is missing"
          : adapter_.adapters.empty() ? "--adapter is missing"
                                      : "--output is missing",
          "",
          "See `roofline fuse --help`");
    }
    const auto checkpoint = Checkpoint::open(resolve_model(model_));
    std::vector<Adapter> adapters;
    std::vector<float> weights;
    for (const auto& choice : adapter_.resolve()) {
      adapters.push_back(read_adapter(choice.path, *checkpoint));
      weights.push_back(choice.weight);
    }
    if (!form_.empty()) {
      write_alone(adapters, weights, *checkpoint);
    } else {
      write_changed_model(
          *checkpoint,
          adapter_changes(adapters, weights),
          output_,
          dequantize_ ? FuseQuantized::decode : FuseQuantized::requantize,
          force_);
    }
    write_notice(fmt::format("Written to {}\n", output_));
    return kSuccess;
  }

 private:
  void write_alone(
      std::vector<Adapter>& adapters,
      const std::vector<float>& weights,
      const Checkpoint& checkpoint) const {
    if (form_ != "mlx-lm" && form_ != "peft") {
      fail<UserError>(
          fmt::format("--as can't be \"{}\"", form_),
          "",
          "It is mlx-lm or peft");
    }
    if (adapters.size() != 1) {
      fail<UserError>(
          "Several adapters can't be written as one",
          "Each has a rank of its own",
          "Give one --adapter, or fuse them into the model");
    }
    adapters[0].scale *= weights[0];
    std::filesystem::create_directories(output_);
    write_adapter(
        adapters[0],
        checkpoint,
        output_,
        form_ == "peft" ? AdapterFormat::peft : AdapterFormat::mlx_lm);
  }

  std::string model_, output_, form_;
  AdapterFlags adapter_;
  bool dequantize_ = false;
  bool force_ = false;
};

}  // namespace

std::unique_ptr<Command> make_fuse() {
  return std::make_unique<Fuse>();
}

}  // namespace roofline::cli
