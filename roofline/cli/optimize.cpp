#include "roofline/plan/optimize.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>
#include <mlx/backend/metal/metal.h>
#include <mlx/device.h>

#include "roofline/base/cpu_features.h"
#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/app.h"
#include "roofline/cli/bench_answer.h"
#include "roofline/cli/bench_room.h"
#include "roofline/cli/command.h"
#include "roofline/cli/optimize_flags.h"
#include "roofline/cli/optimize_measurer.h"
#include "roofline/cli/optimize_report.h"
#include "roofline/cli/option_helpers.h"
#include "roofline/cli/output.h"
#include "roofline/cli/run_history.h"
#include "roofline/plan/chips.h"
#include "roofline/plan/fit.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/machine_facts.h"
#include "roofline/plan/recommend.h"
#include "roofline/report/chart.h"
#include "roofline/report/progress.h"

namespace roofline::cli {

namespace {

// Of the budget, what measuring one format's quality may take.
constexpr double kQualityShare = 0.03;

OptimizeGoal goal_of(const std::string& name) {
  const std::vector<std::string> names = {"speed", "memory", "quality"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (name == names[i]) {
      return static_cast<OptimizeGoal>(i);
    }
  }
  fail<UserError>(
      fmt::format("--goal can't be \"{}\"", name),
      did_you_mean(name, names),
      "It takes speed, memory or quality");
}

// The best and the next: on some processors wide vectors lower the clock. What
// lies below is never quicker.
std::vector<std::string> isas_here() {
  constexpr std::size_t kMost = 2;
  const auto isas = runnable_isas();
  const auto rising = isas.last(std::min(kMost, isas.size()));
  std::vector<std::string> names;
  for (auto isa = rising.rbegin(); isa != rising.rend(); ++isa) {
    names.emplace_back(isa_name(*isa));
  }
  return names;
}

bool has_keys(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) { return layer.attention.has_value(); });
}

class Optimize : public Command {
 public:
  void declare(App& app) override {
    flags_.declare(app);
    app.footer(
        "Also called metal_optimizer. Formats are compared by quality (what "
        "the\n"
        "predictions over a text lose, as e^-KL: 1 is the stored weights' "
        "own) and by\n"
        "time; then threads, instruction sets and prefill steps. The winner "
        "must beat\n"
        "the defaults in interleaved runs, or the defaults stay. A model "
        "without\n"
        "weights here is only predicted.\n"
        "\n"
        "Examples\n"
        "    roofline optimize\n"
        "    roofline optimize path/to/folder --goal memory --out best.toml\n"
        "    roofline optimize path/to/folder --max-memory 4GB --apply\n"
        "    roofline metal_optimizer --model llama-2-7b --optimize-quant "
        "--optimize-params");
  }

  int run() override {
    options_.goal = goal_of(flags_.goal);
    options_.work = flags_.work;
    options_.budget_seconds = flags_.budget_seconds;
    check();
    if (!flags_.sampling.preset) {
      flags_.sampling.temperature = SamplingOptions().temperature;
    }
    flags_.sampling.resolve();  // throws for a preset that isn't known
    // Neither half chosen: both.
    if (!flags_.quant && !flags_.params) {
      flags_.quant = flags_.params = true;
    }
    options_.most_kl = -std::log(flags_.min_quality);
    const PlannedModel model = plan_model(flags_.model);
    measure_prompt(model);
    if (!flags_.draft_model.empty()) {
      flags_.draft_model =
          std::filesystem::absolute(resolve_model(flags_.draft_model)).string();
    }
    auto formats = format_candidates(model);
    if (!flags_.quant) {
      formats.resize(1);
    }
    const bool here = model.path && model.exact;
    set_room();
    calibration_ = gpu_ ? std::nullopt : calibration_here(history_name(model));
    if (calibration_) {
      options_.constants = calibration_->constants;
    }
    const MachineRates known = rates();
    predict_candidates(model, formats, known, options_, gpu_);
    if (here && flags_.quant && formats.size() > 1) {
      options_.mixed_units = mixed_units(model);
    }
    options_.describe = [&](OptimizeCandidate& candidate) {
      predict_candidate(model, candidate, known, options_, gpu_);
    };
    if (here) {  // what is only predicted needs no room
      // The search begins with the stored weights, to which all is compared.
      check_room(
          model,
          std::int64_t{flags_.work.prompt_tokens} + flags_.work.decode_tokens,
          1,
          std::nullopt,
          "Ask for fewer tokens with -p and -n, or make a smaller model with "
          "`roofline quantize`");
    }
    OptimizeResult result = here ? search(model, std::move(formats))
                                 : predicted(std::move(formats));
    const bool any = std::any_of(
        result.candidates.begin(),
        result.candidates.end(),
        [&](const auto& candidate) {
          return candidate.bytes() <= *options_.max_memory_bytes;
        });
    if (!any) {
      refuse_all(result.candidates);
    }
    tell(model, result, here);
    return kSuccess;
  }

 private:
  void check() const {
    choose("--device", flags_.device, {"auto", "cpu", "gpu"});
    const auto require = [](bool sound, const char* what, const char* takes) {
      if (!sound) {
        fail<UserError>(what, "", takes);
      }
    };
    require(
        flags_.draft_model.empty() || !flags_.prompt_file.empty(),
        "--draft-model needs --prompt-file",
        "What a draft model gains depends on what is said: name a text");
    require(
        flags_.min_quality > 0 && flags_.min_quality <= 1,
        "--min-quality is out of range",
        "It takes a number above 0 and up to 1");
    require(
        options_.budget_seconds >= 1,
        "--budget is too short",
        "It takes a number of seconds of at least 1");
    require(
        options_.work.prompt_tokens >= 1 && options_.work.decode_tokens >= 1,
        "There is nothing to time",
        "-p and -n take numbers of at least 1");
    require(
        options_.work.answers >= 1 && options_.work.answers <= 1024,
        "--answers is out of range",
        "It takes a number from 1 to 1024");
  }

  void set_room() {
    gpu_ = flags_.device != "cpu" &&
           mlx::core::default_device() == mlx::core::Device::gpu;
    const auto card = gpu_ ? card_memory_bytes() : std::nullopt;
    const auto own = card ? card_memory_budget(*card)
                          : cpu_memory_budget(machine_facts().memory_bytes);
    options_.max_memory_bytes =
        flags_.max_memory.empty()
            ? own
            : parse_memory_size(flags_.max_memory, "--max-memory");
  }

  [[noreturn]] void refuse_all(
      const std::vector<OptimizeCandidate>& candidates) const {
    const auto least = std::min_element(
        candidates.begin(),
        candidates.end(),
        [](const auto& a, const auto& b) { return a.bytes() < b.bytes(); });
    const auto text = [](std::uint64_t bytes) {
      return format_bytes(static_cast<double>(bytes));
    };
    fail<UserError>(
        "No setting fits",
        fmt::format(
            "The smallest, {}, takes {}, and {} {}",
            least->settings.text(),
            text(least->bytes()),
            text(*options_.max_memory_bytes),
            flags_.max_memory.empty() ? "are left to a model here"
                                      : "are allowed"),
        "Raise --max-memory, or take a smaller model");
  }

  MachineRates rates() const {
    MachineRates rates;
    const MachineProfile machine = with_peak(current_profile());
    rates.bytes_per_second = machine.read_bandwidth;
    rates.operations_per_second = machine.code_operations;
    if (calibration_) {
      calibration_->apply(rates);
    }
    return rates;
  }

  // The prompt's tokens are those of the file, where there is one.
  void measure_prompt(const PlannedModel& model) {
    if (flags_.prompt_file.empty()) {
      return;
    }
    if (!model.path || !model.exact || options_.work.answers > 1) {
      fail<UserError>(
          "--prompt-file needs a model that is here, and one answer at a time",
          "",
          "Leave it out, or leave --answers out and name a model with "
          "weights");
    }
    const auto checkpoint = Checkpoint::open(*model.path);
    options_.work.prompt_tokens =
        static_cast<int>(encode_prompt_file(
                             *checkpoint,
                             *checkpoint->load_tokenizer(),
                             flags_.prompt_file)
                             .size());
  }

  WaySpace space(const PlannedModel& model, std::uint64_t predicted_bytes)
      const {
    WaySpace space;
    space.kv = has_keys(model.spec);
    space.cores = machine_facts().usable_cores;
    space.isas = isas_here();
    space.work = options_.work;
    space.gpu = gpu_;
    if (gpu_ && mlx::core::metal::is_available()) {
      space.wired_bytes = static_cast<std::int64_t>(predicted_bytes);
    }
    space.text = !flags_.prompt_file.empty();
    space.draft_model = flags_.draft_model;
    return space;
  }

  OptimizeResult search(
      const PlannedModel& model,
      std::vector<OptimizeCandidate> formats) {
    std::vector<std::vector<RunSettings>> ways;
    if (flags_.params) {
      ways = way_candidates(space(model, formats[0].predicted_bytes));
      options_.told = told_ways(flags_.sampling.resolve());
    }
    Progress progress("Optimizing", notice_on_terminal());
    options_.progress = [&](double share, std::string_view best) {
      progress.update(share, best);
    };
    SetupMeasurer measurer(
        flags_.model,
        flags_.device,
        kQualityShare * options_.budget_seconds,
        flags_.prompt_file,
        flags_.sampling);
    return optimize(std::move(formats), ways, measurer, options_);
  }

  OptimizeResult predicted(std::vector<OptimizeCandidate> formats) const {
    OptimizeResult result;
    if (formats[0].predicted_bytes > *options_.max_memory_bytes) {
      formats[0].dropped = "predicted to take more than --max-memory";
    }
    mark_front(formats);
    drop_unmeasured(formats, options_.most_kl);
    const auto choice = planned_choice(formats, options_.goal);
    if (!choice) {
      refuse_all(formats);
    }
    result.choice = *choice;
    const OptimizeCandidate& best = formats[*choice];
    result.speedup = formats[0].predicted_seconds > 0
                         ? formats[0].predicted_seconds / best.predicted_seconds
                         : 1;
    result.why = fmt::format(
        "{}: predicted to take {:.1f} s of this workload{}, in {}. The weights "
        "aren't here, so nothing was run and no quality is known: of formats "
        "that may lose much none is chosen.",
        best.settings.text(),
        best.predicted_seconds,
        *choice == 0 ? ""
                     : fmt::format(
                           ", {:.1f} times as fast as the defaults",
                           result.speedup),
        format_bytes(static_cast<double>(best.predicted_bytes)));
    result.candidates = std::move(formats);
    return result;
  }

  void tell(
      const PlannedModel& model,
      const OptimizeResult& result,
      bool measured) const {
    const OptimizeCandidate& best = result.candidates[result.choice];
    std::vector<std::string> files;
    if (!flags_.out.empty()) {
      RunSettings settings = best.settings;
      if (model.path) {
        settings.model = std::filesystem::absolute(*model.path).string();
      }
      write_settings(flags_.out, settings, result.why);
      files.push_back(flags_.out);
    }
    if (flags_.apply) {
      if (!model.path) {
        fail<UserError>(
            "--apply needs a model that is here",
            "The default belongs to a file or folder",
            "Use --out, or name a model with weights");
      }
      const auto path = default_settings_path(*model.path);
      std::filesystem::create_directories(path.parent_path());
      write_settings(path, best.settings, result.why);
      files.push_back(path.string());
    }
    if (!flags_.plot.empty()) {
      write_chart(optimize_chart(result, measured, model.name), flags_.plot);
    }
    if (flags_.json) {
      nlohmann::ordered_json out = optimize_json(result, measured);
      out["model"] = model.name;
      out["settings_files"] = files;
      write_json(out);
      return;
    }
    write_text(optimize_text(result, measured));
    for (const std::string& file : files) {
      write_text(fmt::format("Wrote {}\n", file));
    }
  }

  OptimizeFlags flags_;
  bool gpu_ = false;
  OptimizeOptions options_;
  std::optional<Calibration> calibration_;
};

}  // namespace

std::unique_ptr<Command> make_optimize() {
  return std::make_unique<Optimize>();
}

}  // namespace roofline::cli
