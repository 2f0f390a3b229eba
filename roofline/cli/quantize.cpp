#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <mlx/device.h>

#include "roofline/base/clock.h"
#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/cli/quantize_flags.h"
#include "roofline/cli/quantize_report.h"
#include "roofline/cli/quantize_texts.h"
#include "roofline/cli/signals.h"
#include "roofline/cli/thread_notice.h"
#include "roofline/plan/roof.h"
#include "roofline/quantize/layered_quality.h"
#include "roofline/quantize/mlx_writer.h"
#include "roofline/quantize/predict_memory.h"
#include "roofline/quantize/quantize.h"
#include "roofline/quantize/sensitivity.h"
#include "roofline/quantize/turned_experts.h"
#include "roofline/report/progress.h"
#include "roofline/weights/convert/mlx_source.h"

namespace roofline::cli {

namespace {

constexpr int kEvaluationContext = 512;
/// Tokens that tell how formats' losses stand to each other.
constexpr int kMostSensitivityCalibration = 4096;

class Quantize : public Command {
 public:
  void declare(App& app) override {
    app.add_option(
           "model",
           model_,
           "The model: a folder of float safetensors, or a GGUF file.")
        ->type_name("MODEL");
    app.add_option(
           "target",
           target_,
           "The folder to write; can also be given as --out.")
        ->type_name("DIR");
    app.add_option("--out", out_, "The folder to write.")
        ->type_name("DIR")
        ->group("Output");
    app.add_flag("--force", force_, "Replace --out if it is a checkpoint.")
        ->group("Output");
    app.add_flag("--json", json_, "Print JSON.")->group("Output");
    flags_.declare(app);
    app.add_option("--threads", threads_, "Threads. Default: all cores.")
        ->type_name("N")
        ->group("Device");
    app.footer(
        "Recipes: " + recipe_lines() +
        "\n"
        "Examples\n"
        "    roofline quantize path/to/model --out model-4bit\n"
        "    roofline quantize model.gguf model-4bit --method gptq\n"
        "    roofline quantize path/to/model --out small --bits 3 \\\n"
        "        --rule 'layers.*.down=4' --rule embed=6/32");
  }

  int run() override {
    if (!target_.empty() && !out_.empty()) {
      fail<UserError>(
          "The folder to write is given twice",
          target_ + " and --out " + out_,
          "Leave one of them out");
    }
    out_ = out_.empty() ? target_ : out_;
    for (const auto& [value, name] :
         {std::pair{&model_, "MODEL"}, std::pair{&out_, "--out"}}) {
      if (value->empty()) {
        fail<UserError>(
            std::string(name) + " is missing",
            "",
            "See `roofline quantize --help`");
      }
    }
    flags_.check();
    require_replaceable(out_, force_);
    require_apart(resolve_model(model_), out_);
    const Clock::time_point start = Clock::now();
    if (threads_) {
      ThreadPool::set_global_threads(*threads_);
    }
    // The layers run as a graph of float32 products on our own kernels.
    mlx::core::set_default_device(mlx::core::Device::cpu);
    const auto checkpoint = with_experts_by_rows(
        Checkpoint::open(model_file(resolve_model(model_))));
    const MlxPlaces places(*checkpoint);
    FormatPlan plan = flags_.make_plan(*checkpoint);
    QuantizeOptions options;
    options.method = flags_.quantize_method();
    options.start = flags_.start_method();
    options.distill = flags_.distill_options();
    options.scale_type = flags_.scale_type(*checkpoint);
    read_texts(*checkpoint, options);
    InterruptGuard interrupt;
    options.stop = [&] { return interrupt.flag().load(); };
    QuantizeResult result;
    SensitivityOptions sensitivity;
    if (flags_.target_bpw) {
      sensitivity = sensitivity_options(options);
      require_room(*checkpoint, places, sensitivity, plan);
    }
    result.predicted_bytes = predict(*checkpoint, plan, options, sensitivity);
    write_notice(thread_notice(threads_, DeviceChoice::cpu));
    write_notice(fmt::format(
        "This takes about {} of memory at its peak.\n",
        format_bytes(static_cast<double>(result.predicted_bytes))));
    try {
      if (flags_.target_bpw) {
        choose(*checkpoint, places, sensitivity, plan);
      }
    } catch (const QuantizeCancelled&) {
      return exit_code_of(interrupt.signal());
    }
    places.settle(plan);
    Progress progress("Quantizing", notice_on_terminal());
    options.progress = [&](double share, const std::string& what) {
      progress.update(share, what);
    };
    try {
      result.distilled = write(*checkpoint, places, plan, options);
    } catch (const QuantizeCancelled&) {
      return exit_code_of(interrupt.signal());
    }
    result.quantize_seconds = seconds_since(start);
    result.method = flags_.method;
    result.plan = std::move(plan);
    measure(*checkpoint, result, [&] { return interrupt.flag().load(); });
    result.peak_bytes = peak_memory_bytes();
    result.seconds = seconds_since(start);
    if (json_) {
      write_json(result.json());
    } else {
      write_output(result.text());
    }
    return interrupt.signal() != 0 ? exit_code_of(interrupt.signal())
                                   : kSuccess;
  }

 private:
  /// The windows to calibrate with, and the text to test with.
  void read_texts(const Checkpoint& checkpoint, QuantizeOptions& options) {
    const bool calibrates =
        options.method != QuantizeMethod::plain || flags_.target_bpw;
    if (!calibrates && flags_.quality_tokens == 0) {
      return;
    }
    texts_.emplace(checkpoint, flags_.calibration, flags_.quality_text);
    if (texts_->by_chance()) {
      write_notice(fmt::format(
          "{} has no tokenizer: {} token ids drawn by chance, which tell less "
          "than a text.\n",
          checkpoint.path().string(),
          calibrates ? "it's calibrated and compared on" : "it's compared on"));
    }
    if (options.method != QuantizeMethod::plain) {
      options.windows =
          texts_->windows(flags_.window, flags_.calibration_tokens);
    }
    if (options.method == QuantizeMethod::dwq) {
      options.distill.windows =
          texts_->windows(flags_.window, flags_.dwq_tokens);
    }
    test_ = texts_->test(flags_.quality_tokens);
    windows_.context_tokens = static_cast<int>(std::min<std::int64_t>(
        kEvaluationContext,
        checkpoint.spec().context_tokens));
    windows_.stride_tokens = windows_.context_tokens;
    windows_.first_token = texts_->test_begin();
  }

  std::uint64_t predict(
      const Checkpoint& checkpoint,
      const FormatPlan& plan,
      const QuantizeOptions& options,
      const SensitivityOptions& sensitivity) const {
    const std::uint64_t own = predict_quantize_memory(
        checkpoint,
        plan,
        options,
        flags_.quality_tokens > 0 ? static_cast<int>(test_.size()) : 0);
    return flags_.target_bpw
               ? std::max(
                     own,
                     predict_sensitivity_memory(checkpoint, plan, sensitivity))
               : own;
  }

  SensitivityOptions sensitivity_options(const QuantizeOptions& options) {
    const MatrixFormat usual = flags_.fallback();
    if (usual.mode != QuantMode::affine || !flags_.recipe_name.empty()) {
      fail<UserError>(
          "--target-bpw with --mode or --recipe",
          "It chooses among numbers of bits of affine codes",
          "Leave --mode and --recipe out");
    }
    SensitivityOptions sensitivity;
    sensitivity.probe = usual;
    sensitivity.candidates = flags_.candidates();
    sensitivity.scale_type = options.scale_type;
    const QuantizeMethod codes =
        options.method == QuantizeMethod::dwq ? options.start : options.method;
    sensitivity.gptq = codes == QuantizeMethod::gptq;
    if (sensitivity.gptq) {
      sensitivity.calibration = texts_->first_windows(
          flags_.window,
          std::min(flags_.calibration_tokens, kMostSensitivityCalibration));
    }
    sensitivity.stop = options.stop;
    sensitivity.windows = texts_->last_windows(
        std::min(flags_.window, flags_.sensitivity_tokens / 2),
        flags_.sensitivity_tokens);
    return sensitivity;
  }

  /// Before minutes of measuring: whether the smallest formats fit at all.
  void require_room(
      const Checkpoint& checkpoint,
      const MlxPlaces& places,
      const SensitivityOptions& sensitivity,
      FormatPlan plan) const {
    SensitivityByName alike;
    for (const auto& [name, format] : plan.formats) {
      if (format == sensitivity.probe) {
        alike[name].losses.resize(sensitivity.candidates.size());
      }
    }
    choose_formats(
        checkpoint,
        alike,
        sensitivity.candidates,
        *flags_.target_bpw,
        places.together(),
        plan);
  }

  /// Formats by measured sensitivity. Matrices that a rule names keep theirs.
  void choose(
      const Checkpoint& checkpoint,
      const MlxPlaces& places,
      SensitivityOptions& sensitivity,
      FormatPlan& plan) const {
    FormatPlan free = plan;
    std::erase_if(free.formats, [&](const auto& each) {
      return each.second != sensitivity.probe;
    });
    Progress progress("Measuring", notice_on_terminal());
    sensitivity.progress = [&](double share, const std::string& what) {
      progress.update(share, what);
    };
    choose_formats(
        checkpoint,
        measure_sensitivity(checkpoint, free, sensitivity),
        sensitivity.candidates,
        *flags_.target_bpw,
        places.together(),
        plan);
  }

  std::optional<DistillResult> write(
      const Checkpoint& checkpoint,
      const MlxPlaces& places,
      const FormatPlan& plan,
      const QuantizeOptions& options) {
    MlxWriter
        writer(checkpoint, places, plan, options.scale_type, out_, force_);
    const auto distilled = quantize_model(checkpoint, plan, options, writer);
    writer.publish(fmt::format(
        "Quantized by Roofline, method {}, {:.3f} bits per weight.",
        flags_.method,
        plan.bits_per_weight(checkpoint)));
    return distilled;
  }

  /// Reads what was written, as anyone would.
  void measure(
      const Checkpoint& source,
      QuantizeResult& result,
      const std::function<bool()>& stop) {
    result.source = source.path().string();
    result.target = out_;
    result.by_chance = texts_ && texts_->by_chance();
    result.source_size = size_of(source);
    result.size = {
        static_cast<std::uint64_t>(result.plan.bytes(source)),
        result.source_size.weights};
    std::unique_ptr<Checkpoint> written;
    try {
      written = Checkpoint::open(out_);
    } catch (const UnsupportedError& error) {
      // A mode that this version writes and doesn't read.
      result.unmeasured = error.what();
      return;
    }
    result.size = size_of(*written);
    if (test_.size() < 2) {
      return;
    }
    Progress progress("Comparing", notice_on_terminal());
    QualityOptions quality;
    quality.windows = windows_;
    quality.stop = stop;
    quality.progress = [&](double share) { progress.update(share); };
    const auto report = measure_layered(source, *written, test_, quality);
    if (report.tokens > 0) {  // none: it was interrupted
      result.quality = report;
    }
  }

  std::string model_, target_, out_;
  std::optional<int> threads_;
  QuantizeFlags flags_;
  bool force_ = false;
  bool json_ = false;
  std::optional<QuantizeTexts> texts_;
  std::vector<std::int32_t> test_;
  WindowOptions windows_;
};

}  // namespace

std::unique_ptr<Command> make_quantize() {
  return std::make_unique<Quantize>();
}

}  // namespace roofline::cli
