#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/adapter_flags.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/model/adapter_full.h"
#include "roofline/train/fuse.h"
#include "roofline/weights/convert/to_gguf.h"

namespace roofline::cli {

namespace {

class Fuse : public Command {
 public:
  void declare(App& app) override {
    app.add_option("model", model_, "The model that the adapter is for.")
        ->type_name("MODEL");
    adapter_.declare(app);
    const char* group = "Output";
    app.add_option("-o,--output", output_, "The folder to write.")
        ->type_name("FOLDER")
        ->group(group);
    app.add_option(
           "--export-gguf",
           gguf_,
           "The GGUF file to write, in place of a folder.")
        ->type_name("FILE")
        ->group(group);
    app.add_option(
           "--type",
           type_,
           "Of the GGUF file's matrices, when MODEL is a folder: f32, f16, "
           "bf16, q8_0, q4_0, q4_1 or q4_k. Default: f16. Those of a GGUF file "
           "keep their types.")
        ->type_name("TYPE")
        ->group(group);
    app.add_flag(
           "--dequantize",
           dequantize_,
           "Write changed matrices of a quantized model as 16-bit floats. "
           "Without it codes of 4 and 8 bits are quantized again; what can't "
           "be "
           "written so becomes the next larger form, or bfloat16.")
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
        "    roofline fuse folder --adapter adapter --export-gguf fused.gguf "
        "--type q4_k\n"
        "    roofline fuse model.gguf --adapter adapter --export-gguf "
        "fused.gguf\n"
        "    roofline fuse folder --adapter adapter --as peft -o for-peft");
  }

  int run() override {
    require_sense();
    const auto checkpoint = Checkpoint::open(resolve_model(model_));
    std::vector<Adapter> adapters;
    std::vector<float> weights;
    const auto choices = adapter_.resolve();
    const auto full =
        form_.empty() ? with_full_weights(*checkpoint, choices) : nullptr;
    for (const auto& choice : choices) {
      if (full && is_full_adapter(choice.path)) {
        continue;
      }
      adapters.push_back(read_adapter(choice.path, *checkpoint));
      weights.push_back(choice.weight);
    }
    if (!form_.empty()) {
      write_alone(adapters, weights, *checkpoint);
    } else {
      auto changes = adapter_changes(*checkpoint, adapters, weights);
      if (full) {
        begin_with(*full, *checkpoint, changes);
      }
      write_fused(*checkpoint, changes);
    }
    write_notice(
        fmt::format("Written to {}\n", gguf_.empty() ? output_ : gguf_));
    return kSuccess;
  }

 private:
  void require_sense() const {
    const bool none = output_.empty() && gguf_.empty();
    if (model_.empty() || adapter_.adapters.empty() || none) {
      fail<UserError>(
          model_.empty()              ? "MODEL is missing"
          : adapter_.adapters.empty() ? "--adapter is missing"
                                      : "--output is missing",
          "",
          "See `roofline fuse --help`");
    }
    if (!output_.empty() && !gguf_.empty()) {
      fail<UserError>(
          "--output and --export-gguf exclude each other",
          "",
          "Choose one of them");
    }
    if (gguf_.empty() && !type_.empty()) {
      fail<UserError>(
          "--type is that of a GGUF file",
          "A folder is to be written",
          "Add --export-gguf, or leave it out");
    }
    if (!gguf_.empty() && !form_.empty()) {
      fail<UserError>(
          "--as and --export-gguf exclude each other",
          "--as writes the adapter alone",
          "Choose one of them");
    }
    if (!form_.empty() && dequantize_) {
      fail<UserError>(
          "--dequantize and --as exclude each other",
          "--as writes the adapter alone",
          "Leave --dequantize out");
    }
  }

  void write_fused(const Checkpoint& checkpoint, const WeightChanges& changes)
      const {
    const auto quantized =
        dequantize_ ? FuseQuantized::decode : FuseQuantized::requantize;
    if (gguf_.empty()) {
      write_changed_model(checkpoint, changes, output_, quantized, force_);
      return;
    }
    FusedGguf form;
    if (!type_.empty()) {
      form.encoding = parse_gguf_type(type_, "--type");
    }
    if (dequantize_ && std::filesystem::is_directory(checkpoint.path())) {
      fail<UserError>(
          "--dequantize says nothing about this file",
          "All matrices of a folder's model get the type that is asked for",
          "Say it with --type, such as --type bf16");
    }
    form.quantized = quantized;
    form.force = force_;
    const std::string warning =
        write_changed_gguf(checkpoint, changes, gguf_, form);
    if (!warning.empty()) {
      write_notice(fmt::format("warning: {}\n", warning));
    }
  }

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

  std::string model_, output_, gguf_, type_, form_;
  AdapterFlags adapter_;
  bool dequantize_ = false;
  bool force_ = false;
};

}  // namespace

std::unique_ptr<Command> make_fuse() {
  return std::make_unique<Fuse>();
}

}  // namespace roofline::cli
