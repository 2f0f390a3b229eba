#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/memory.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/option_helpers.h"
#include "roofline/cli/output.h"
#include "roofline/cli/signals.h"
#include "roofline/cli/thread_notice.h"
#include "roofline/cli/train_notes.h"
#include "roofline/cli/train_plan.h"
#include "roofline/model/device.h"
#include "roofline/plan/peak.h"
#include "roofline/report/chart.h"
#include "roofline/train/trainer.h"

namespace roofline::cli {

namespace {

namespace fs = std::filesystem;

struct Teacher {
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<TrainableDecoder> decoder;
};

class Train : public Command {
 public:
  void declare(App& app) override {
    for (const TrainSetting& setting : train_settings()) {
      const std::string name(setting.name);
      app.add_option_function<std::string>(
             "--" + name,
             [this, name](const std::string& text) { given_[name] = text; },
             std::string(setting.help) + default_of(setting))
          ->type_name(std::string(setting.type))
          ->group(std::string(setting.group));
    }
    const char* group = "Run";
    app.add_option(
           "--config",
           config_,
           "Read settings from a file of TOML or YAML (.yaml, .yml) with the "
           "names of these options. Options come before it.")
        ->type_name("FILE")
        ->group(group);
    app.add_flag(
           "--resume",
           resume_,
           "Go on from the checkpoint in --output, as if the run had never "
           "stopped.")
        ->group(group);
    app.add_flag(
           "--fit",
           fit_,
           "If it won't fit into memory, change what is cheapest to change.")
        ->group(group);
    app.add_flag(
           "--dry-run",
           dry_run_,
           "Read the data, tell what the run would take, and stop.")
        ->group(group);
    app.add_option(
           "--plot",
           plot_,
           "Draw the curve of the losses at the end: .svg, .png or .html.")
        ->type_name("FILE")
        ->group(group);
    app.add_option("--threads", threads_, "Threads of the CPU's kernels.")
        ->type_name("N")
        ->check(in_range(1, 1024))
        ->group(group);
    app.add_flag("--json", json_, "Print the result as JSON.")->group(group);
    app.add_flag("--quiet", quiet_, "No lines of figures.")->group(group);
    app.footer(
        "The output folder gets the adapter (adapters.safetensors and\n"
        "adapter_config.json, mlx-lm's form), best/ (by validation loss), "
        "checkpoint/,\n"
        "metrics.jsonl, metrics.csv and train.toml.\n"
        "\n"
        "Examples\n"
        "    roofline train --data data --output adapter\n"
        "    roofline train --model folder --data chats.jsonl --rank 16 "
        "--epochs 3\n"
        "    roofline train --config adapter/train.toml --resume\n"
        "    roofline generate --adapter adapter \"Hello\"");
  }

  int run() override;

 private:
  static std::string default_of(const TrainSetting& setting) {
    const std::string value = setting.get(TrainOptions{});
    return value.empty() ? "" : fmt::format(" Default: {}.", value);
  }
  TrainOptions options() const;
  Dataset read(const fs::path& file, const SampleEncoder& encoder) const;
  void require_places() const;
  void require_writable(const Checkpoint& checkpoint) const;
  std::unique_ptr<Teacher> load_teacher(const Tokenizer& tokenizer) const;
  int finish(
      const TrainResult& result,
      const TrainForecast& forecast,
      int signal) const;

  std::map<std::string, std::string> given_;
  std::optional<std::string> config_, plot_;
  std::optional<int> threads_;
  bool resume_ = false;
  bool fit_ = false;
  bool dry_run_ = false;
  bool json_ = false;
  bool quiet_ = false;
  TrainOptions options_;
  std::string template_;  ///< of chats; empty: none
};

TrainOptions Train::options() const {
  TrainOptions options;
  if (config_) {
    read_train_file(options, *config_);
  }
  for (const auto& [name, text] : given_) {
    set_train_option(options, name, text);
  }
  validate(options);
  return options;
}

/// Throws UserError unless the folder can be made and written to; leaves
/// nothing behind.
void require_folder(const char* option, const fs::path& folder) {
  std::error_code error;
  fs::path there = fs::absolute(folder, error).lexically_normal();
  std::vector<fs::path> made;
  while (!fs::exists(there, error) && there.has_relative_path()) {
    made.push_back(there);
    there = there.parent_path();
  }
  error.clear();
  fs::create_directories(folder, error);
  const bool is_folder = !error && fs::is_directory(folder, error);
  const bool writable = is_folder && ::access(folder.c_str(), W_OK) == 0;
  for (const fs::path& each : made) {
    std::error_code ignored;
    fs::remove(each, ignored);  // only what is empty
  }
  if (!writable) {
    fail<UserError>(
        fmt::format("{} can't be \"{}\"", option, folder.string()),
        folder.empty() ? "It needs a folder"
        : is_folder    ? "It can't be written to"
        : error        ? "The folder can't be made: " + error.message()
                       : "It is no folder",
        fmt::format("Name another {}", option));
  }
}

/// Where the run writes, before hours of it.
void Train::require_places() const {
  if (plot_ && plot_->empty()) {
    fail<UserError>("--plot is empty", "", "Name a file, or leave it out");
  }
  if (plot_) {
    require_chart_file(*plot_);
  }
  require_folder("--output", options_.output);
  if (!options_.tensorboard.empty()) {
    require_folder("--tensorboard", options_.tensorboard);
  }
}

DatasetOptions dataset_options(const TrainOptions& options) {
  return {
      options.max_tokens,
      options.mask_prompt,
      options.long_samples == LongSamples::split,
      options.loss != LossName::cross_entropy};
}

Dataset Train::read(const fs::path& file, const SampleEncoder& encoder) const {
  Dataset data = read_dataset(file, encoder, dataset_options(options_));
  if (quiet_) {
    return data;
  }
  tell_of_tools(data, file, template_);
  write_notice(fmt::format(
      "{}: {} samples, {} tokens, {} of them learnt\n",
      file.string(),
      data.size(),
      data.tokens,
      data.learned_tokens));
  if (data.file) {
    write_notice(fmt::format(
        "{}: too large to keep; read as it is needed\n",
        file.string()));
  }
  if (data.truncated > 0) {
    write_notice(fmt::format(
        "{}: {} samples were longer than {} tokens; {} tokens were cut off "
        "(--long split keeps them)\n",
        file.string(),
        data.truncated,
        options_.max_tokens,
        data.cut_tokens));
  }
  if (data.left_out > 0) {
    write_notice(fmt::format(
        "{}: {} samples have nothing to learn within {} tokens and are left "
        "out\n",
        file.string(),
        data.left_out,
        options_.max_tokens));
  }
  return data;
}

/// Full training writes all weights; said before hours of it.
void Train::require_writable(const Checkpoint& checkpoint) const {
  const auto& stored = checkpoint.spec().quantization;
  constexpr std::array<std::string_view, 4> kWritable = {
      "affine",
      "mxfp4",
      "nvfp4",
      "mxfp8"};
  if (options_.method == AdaptMethod::full && stored &&
      std::find(kWritable.begin(), kWritable.end(), stored->scheme) ==
          kWritable.end()) {
    fail<UnsupportedError>(
        fmt::format("{} can't be trained in full", checkpoint.path().string()),
        "Its weights are in another program's codes, which can't be written "
        "again",
        "Convert it first (roofline convert --dequantize), or train an "
        "adapter");
  }
}

/// Both must read a text as the same tokens.
std::unique_ptr<Teacher> Train::load_teacher(const Tokenizer& tokenizer) const {
  if (options_.teacher.empty()) {
    return nullptr;
  }
  auto teacher = std::make_unique<Teacher>();
  teacher->checkpoint = Checkpoint::open(resolve_model(options_.teacher));
  const auto own = teacher->checkpoint->load_tokenizer();
  for (const char* text : {"Hello, world! 1234 äöü", "def f(x):\n\treturn x"}) {
    if (own->encode(text, Specials::none) !=
        tokenizer.encode(text, Specials::none)) {
      fail<UserError>(
          "The teacher has another vocabulary",
          "It reads the same text as other tokens",
          "Give a teacher of the same family");
    }
  }
  TrainableOptions loading;
  loading.device = options_.device;
  loading.half_activations = options_.precision == Precision::bf16;
  teacher->decoder = load_trainable(*teacher->checkpoint, loading);
  return teacher;
}

int Train::finish(
    const TrainResult& result,
    const TrainForecast& forecast,
    int signal) const {
  const fs::path output = options_.output;
  const Metrics metrics(output, result.steps);
  if (plot_ && !metrics.all().empty()) {
    fs::create_directories(fs::absolute(*plot_).parent_path());
    write_chart(loss_chart(metrics.all()), *plot_);
  }
  const double peak = peak_training_memory(options_);
  if (json_) {
    nlohmann::ordered_json out = {
        {"output", options_.output},
        {"steps", result.steps},
        {"stopped", result.stopped},
        {"predicted_peak_bytes", forecast.bytes},
        {"peak_bytes", peak}};
    if (!metrics.all().empty()) {
      out["loss"] = metrics.all().back().loss;
    }
    if (result.valid_loss) {
      out["valid_loss"] = *result.valid_loss;
    }
    if (result.best_valid_loss) {
      out["best_valid_loss"] = *result.best_valid_loss;
    }
    if (result.test_loss) {
      out["test_loss"] = *result.test_loss;
    }
    write_json(out);
  } else if (!quiet_) {
    if (result.test_loss) {
      write_notice(fmt::format("test loss {:.4f}\n", *result.test_loss));
    }
    write_notice(fmt::format(
        "peak memory {}, predicted {} ({:+.1f} %)\n",
        format_bytes(peak),
        format_bytes(forecast.bytes),
        100 * (forecast.bytes / peak - 1)));
    write_notice(
        result.stopped
            ? fmt::format(
                  "Stopped after step {}. Go on with: roofline train "
                  "--config {} --resume\n",
                  result.steps,
                  (output / "train.toml").string())
        : options_.method == AdaptMethod::full
            ? fmt::format("The model is in {}\n", (output / "model").string())
            : fmt::format(
                  "The adapter is in {}. Try it with: roofline generate "
                  "--adapter {} \"…\"\n",
                  options_.output,
                  options_.output));
  }
  return signal == 0 ? kSuccess : exit_code_of(signal);
}

int Train::run() {
  options_ = options();
  for (const auto& [name, text] : given_) {
    if (!quiet_) {
      tell_if_idle(name, options_);
    }
  }
  require_places();
  if (threads_) {
    ThreadPool::set_global_threads(*threads_);
  }
  const auto checkpoint = Checkpoint::open(resolve_model(options_.model));
  require_writable(*checkpoint);
  const auto tokenizer = checkpoint->load_tokenizer();
  std::optional<ChatTemplate> chat;
  if (const auto source = checkpoint->chat_template()) {
    chat.emplace(*source);
    template_ = *source;
  }
  const SampleEncoder encoder(
      *tokenizer,
      chat ? &*chat : nullptr,
      dataset_options(options_));
  const DataFiles files = find_data(options_.data);
  const Dataset train = read(files.train, encoder);
  std::optional<Dataset> valid;
  if (!files.valid.empty()) {
    valid = read(files.valid, encoder);
  }
  if (files.valid.empty() && given_.contains("evaluate-every") &&
      options_.evaluate_every > 0 && !quiet_) {
    write_notice(
        "roofline: --evaluate-every says nothing without valid.jsonl\n");
  }
  std::optional<Dataset> test;
  if (!files.test.empty()) {
    test = read(files.test, encoder);
  }
  const TrainForecast forecast = plan_training(
      *checkpoint,
      {train, valid ? &*valid : nullptr, test ? &*test : nullptr},
      options_,
      fit_);
  if (!quiet_) {
    write_notice(thread_notice(threads_, options_.device));
    write_notice(forecast.text);
  }
  if (!forecast.fits) {
    fail<UserError>(
        "The run won't fit into memory",
        forecast.shortage,
        forecast.advice);
  }
  if (dry_run_) {
    if (json_) {
      write_json(forecast_json(forecast, train, options_));
    }
    return kSuccess;
  }
  const auto decoder = load_trainable(
      *checkpoint,
      trainable_options(options_, checkpoint->spec()));
  const auto teacher = load_teacher(*tokenizer);
  // Measured only to be shown.
  const double peak =
      quiet_ ? 0.0
      : runs_on_gpu(options_.device)
          ? measure_gpu_peak_operations()
          : measure_peak_operations(
                ThreadPool::global(),
                options_.precision == Precision::bf16 ? product_peak(false)
                                                      : PeakKind::float32);
  Watch watch(
      options_.report_every,
      quiet_,
      peak / forecast.operations_per_token);
  TrainEvents events;
  events.on_step = [&](const StepFigures& f, int steps) {
    watch.step(f, steps);
  };
  events.on_note = [](const std::string& text) {
    write_notice("roofline: " + text + "\n");
  };
  Trainer trainer(
      *checkpoint,
      *decoder,
      train,
      valid ? &*valid : nullptr,
      options_,
      events);
  if (teacher) {
    trainer.follow(*teacher->decoder);
  }
  if (test) {
    trainer.test_on(*test);
  }
  if (resume_) {
    trainer.resume();
  }
  InterruptGuard interrupt;
  const TrainResult result = trainer.run(interrupt.flag());
  return finish(result, forecast, interrupt.signal());
}

}  // namespace

std::unique_ptr<Command> make_train() {
  return std::make_unique<Train>();
}

}  // namespace roofline::cli
