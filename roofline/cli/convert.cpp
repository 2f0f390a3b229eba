
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/option_helpers.h"
#include "roofline/cli/output.h"
#include "roofline/cli/signals.h"
#include "roofline/report/progress.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/to_gguf.h"
#include "roofline/weights/convert/to_mlx.h"

namespace roofline::cli {

namespace {

/// Ends a conversion from within its progress.
struct Interrupted {};

class Convert : public Command {
 public:
  void declare(App& app) override {
    app.add_option(
           "--hf-path,--model",
           source_,
           "What to convert: a folder in Hugging Face or MLX layout, a GGUF "
           "file, or a name in the Hugging Face cache.")
        ->type_name("SRC")
        ->required();
    app.add_option(
           "--mlx-path",
           mlx_path_,
           "The folder to write, in MLX layout. Default: mlx_model.")
        ->type_name("DST");
    app.add_option(
           "--gguf-path",
           gguf_path_,
           "The GGUF file to write, in place of a folder.")
        ->type_name("FILE");
    app.add_option(
           "--type",
           type_,
           "Of the GGUF file's matrices: f32, f16, bf16, q8_0, q4_0, q4_1 or "
           "q4_k. Default: f16.")
        ->type_name("TYPE");
    app.add_flag("--force", force_, "Replace a model that is there.");
    declare_quantization(app);
    app.add_option(
           "--dtype",
           dtype_,
           "bfloat16, float16 or float32 (bf16, f16, f32): of all that isn't "
           "packed. Default: config.json's torch_dtype, else as stored.")
        ->type_name("DTYPE")
        ->group("Weights");
    app.add_flag(
           "-d,--dequantize",
           dequantize_,
           "Turn packed weights into floats.")
        ->group("Weights");
    app.add_option(
           "--shard-gb",
           shard_gb_,
           "Most gigabytes of one file. Default: 5.")
        ->check(in_range(0.001, 1000.0))
        ->type_name("N")
        ->group("Weights");
    app.add_flag("--json", json_, "Print JSON.")->group("Output");
    app.footer(
        "Flags are mlx-lm's. The folder appears whole or not at all.\n"
        "\n"
        "Examples\n"
        "    roofline convert --hf-path Qwen/Qwen3-0.6B --mlx-path qwen3-4bit "
        "-q\n"
        "    roofline convert --hf-path model --mlx-path out -q --q-mode "
        "mxfp4\n"
        "    roofline convert --hf-path model-4bit --mlx-path out "
        "--dequantize\n"
        "    roofline convert --hf-path model --gguf-path model.gguf --type "
        "q4_k");
  }

  int run() override {
    const InterruptGuard interrupts;
    try {
      convert(interrupts);
    } catch (const Interrupted&) {
      write_notice("roofline: Interrupted; nothing was written.\n");
      return exit_code_of(interrupts.signal());
    }
    return kSuccess;
  }

 private:
  void declare_quantization(App& app) {
    const char* group = "Quantization";
    app.add_flag("-q,--quantize", quantize_, "Quantize the matrices.")
        ->group(group);
    app.add_option("--q-bits", bits_, "2, 3, 4, 5, 6 or 8. Default: 4.")
        ->type_name("N")
        ->group(group);
    app.add_option(
           "--q-group-size",
           group_size_,
           "32, 64 or 128 values share a scale. Default: 64.")
        ->type_name("N")
        ->group(group);
    app.add_option(
           "--q-mode",
           mode_,
           "affine, mxfp4, nvfp4 or mxfp8. Default: affine.")
        ->type_name("MODE")
        ->group(group);
    app.add_option(
           "--quant-predicate",
           recipe_,
           "More bits for some: mixed_2_6, mixed_3_4, mixed_3_6 or mixed_4_6.")
        ->type_name("RECIPE")
        ->group(group);
  }

  ToMlxOptions mlx_options() const {
    ToMlxOptions out;
    const bool asked = bits_ || group_size_ || mode_ || !recipe_.empty();
    if (asked && !quantize_) {
      fail<UserError>(
          "A form of quantization is named without -q",
          "The weights would stay floats",
          "Add -q, or leave the --q options out");
    }
    if (quantize_) {
      out.quantize =
          parse_mlx_form(mode_.value_or("affine"), bits_, group_size_);
      out.recipe = recipe_;
    }
    if (dtype_) {
      out.dtype = parse_float_dtype(*dtype_, "--dtype");
    }
    out.dequantize = dequantize_;
    out.save.force = force_;
    out.save.shard_bytes = static_cast<std::uint64_t>(shard_gb_ * (1 << 30));
    return out;
  }

  /// Also options that belong to the other kind of output.
  void check_paths() const {
    if (source_.empty()) {
      fail<UserError>(
          "--hf-path is empty",
          "",
          "Name a folder, a GGUF file or a model on a hub");
    }
    if (mlx_path_ && gguf_path_) {
      fail<UserError>(
          "--mlx-path and --gguf-path exclude each other",
          "",
          "Choose one of them");
    }
    if (type_ && !gguf_path_) {
      fail<UserError>(
          "--type is that of a GGUF file",
          "An MLX folder is to be written",
          "Add --gguf-path, or use -q and --dtype");
    }
    if (gguf_path_ && (quantize_ || dtype_ || dequantize_)) {
      fail<UserError>(
          "-q, --dtype and --dequantize are for MLX folders",
          "A GGUF file is to be written",
          "Say the file's type with --type");
    }
  }

  ConvertedModel write(
      const std::filesystem::path& source,
      const std::string& target,
      const std::function<void(double, std::string_view)>& progress) const {
    const bool named = source.string() != source_;
    if (gguf_path_) {
      ToGgufOptions options;
      options.encoding = parse_gguf_type(type_.value_or("f16"), "--type");
      options.force = force_;
      options.name = named ? source_ : "";
      options.progress = progress;
      return convert_to_gguf(source, target, options);
    }
    ToMlxOptions options = mlx_options();
    options.base_model = named ? source_ : "";
    options.progress = progress;
    return convert_to_mlx(source, target, options);
  }

  void convert(const InterruptGuard& interrupts) {
    check_paths();
    const std::string target =
        gguf_path_ ? *gguf_path_ : mlx_path_.value_or("mlx_model");
    const auto source = resolve_model(source_);
    ConvertedModel done;
    {
      Progress progress("Converting", notice_on_terminal());
      done = write(source, target, [&](double share, std::string_view name) {
        if (interrupts.flag()) {
          throw Interrupted();
        }
        progress.update(share, name);
      });
    }
    if (!done.warning.empty()) {
      write_notice(fmt::format("warning: {}\n", done.warning));
    }
    if (json_) {
      write_json(
          {{"path", target},
           {"bytes", done.bytes},
           {"parameters", done.parameters},
           {"bits_per_weight", done.bits_per_weight()},
           {"shards", done.shards}});
      return;
    }
    write_output(fmt::format(
        "{}: {} in {} file{}, {:.3f} bits per weight\n",
        target,
        format_bytes(static_cast<double>(done.bytes)),
        done.shards,
        done.shards == 1 ? "" : "s",
        done.bits_per_weight()));
  }

  std::string source_;
  std::optional<std::string> mlx_path_, gguf_path_, type_;
  bool force_ = false;
  bool quantize_ = false;
  std::optional<int> bits_, group_size_;
  std::optional<std::string> mode_, dtype_;
  std::string recipe_;
  bool dequantize_ = false;
  double shard_gb_ = 5;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_convert() {
  return std::make_unique<Convert>();
}

}  // namespace roofline::cli
