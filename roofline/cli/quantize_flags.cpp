#include "roofline/cli/quantize_flags.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/app.h"
#include "roofline/quantize/mlx_writer.h"

namespace roofline::cli {

namespace {

Encoding parse_dtype(const std::string& text) {
  if (text == "float16" || text == "f16") {
    return Encoding::f16;
  }
  if (text == "bfloat16" || text == "bf16") {
    return Encoding::bf16;
  }
  if (text == "float32" || text == "f32") {
    return Encoding::f32;
  }
  fail<UserError>(
      "--dtype " + text,
      "It can be float16, bfloat16 or float32",
      "See `roofline quantize --help`");
}

QuantizeMethod method_named(const std::string& name) {
  return name == "gptq"  ? QuantizeMethod::gptq
         : name == "awq" ? QuantizeMethod::awq
         : name == "dwq" ? QuantizeMethod::dwq
                         : QuantizeMethod::plain;
}

bool fits_any(const Checkpoint& checkpoint, std::string_view pattern) {
  const auto layers = static_cast<int>(checkpoint.spec().layers.size());
  return std::any_of(
      checkpoint.tensors().begin(),
      checkpoint.tensors().end(),
      [&](const Tensor& tensor) {
        return is_quantizable(tensor) && matches(pattern, tensor.name, layers);
      });
}

}  // namespace

void QuantizeFlags::declare(App& app) {
  declare_formats(app);
  declare_calibration(app);
  declare_distillation(app);
}

QuantizeMethod QuantizeFlags::quantize_method() const {
  return method_named(method);
}

QuantizeMethod QuantizeFlags::start_method() const {
  return method_named(dwq_start);
}

DistillOptions QuantizeFlags::distill_options() const {
  DistillOptions options;
  options.steps = dwq_steps;
  options.learning_rate = dwq_rate;
  options.step_tokens = dwq_batch;
  options.most_seconds = 60 * dwq_minutes;
  options.norms = dwq_norms;
  return options;
}

Encoding QuantizeFlags::scale_type(const Checkpoint& checkpoint) const {
  return dtype ? parse_dtype(*dtype) : default_dtype(checkpoint);
}

void QuantizeFlags::declare_formats(App& app) {
  const char* group = "Formats";
  app.add_option("--bits", bits, "2, 3, 4, 5, 6 or 8. Default: 4.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--group-size",
         group_size,
         "Weights that share a scale and a bias: 32, 64 or 128. Default: 64.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--mode",
         mode,
         "affine, or small floats, whose bits and groups are fixed: mxfp4, "
         "nvfp4, mxfp8. Default: affine.")
      ->type_name("MODE")
      ->group(group);
  app.add_option(
         "--rule",
         rules,
         "A format for the matrices whose names fit: 6, 4/32 (bits/group), "
         "mxfp4, nvfp4, mxfp8 or keep. `*` stands for anything between dots; "
         "layers can be a range (0-3) or ends. The last rule that fits "
         "decides. Can be given again.")
      ->type_name("PATTERN=FORMAT")
      ->group(group);
  app.add_option("--recipe", recipe_name, "A named list of rules, see below.")
      ->type_name("NAME")
      ->group(group);
  app.add_option(
         "--target-bpw",
         target_bpw,
         "Bits per weight of the whole model: every matrix that no --rule "
         "names gets 2 to 8 bits, and groups of its own where --group-size "
         "names none, by measured sensitivity, so that the sum of expected "
         "divergences is least.")
      ->type_name("BITS")
      ->group(group);
  app.add_option(
         "--sensitivity-tokens",
         sensitivity_tokens,
         "Tokens of the calibration text on which --target-bpw measures. "
         "Default: 512.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--dtype",
         dtype,
         "Of scales, biases and what stays floats: float16, bfloat16 or "
         "float32. Default: the source's.")
      ->type_name("TYPE")
      ->group(group);
}

void QuantizeFlags::declare_calibration(App& app) {
  const char* group = "Method";
  app.add_option(
         "--method",
         method,
         "plain: each value to the nearest. Calibrated by a text, each layer "
         "for what the quantized ones before it give: awq (loud columns "
         "scaled up before rounding) and gptq (errors spread over other "
         "columns, then refined). dwq goes on from one of them: scales and "
         "biases of all matrices follow the source's predictions by gradient "
         "descent. Default: plain.")
      ->type_name("plain|awq|gptq|dwq")
      ->group(group);
  app.add_option(
         "--calibration",
         calibration,
         "The text to calibrate with. Default: a bundled one.")
      ->type_name("FILE")
      ->group(group);
  app.add_option(
         "--calibration-tokens",
         calibration_tokens,
         "Tokens of it, in windows from all over. Default: 8192.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--window",
         window,
         "Tokens of a calibration window. Default: 512.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--quality-text",
         quality_text,
         "The text on which the result is compared with the source. "
         "Default: a bundled one, not the one to calibrate with.")
      ->type_name("FILE")
      ->group(group);
  app.add_option(
         "--quality-tokens",
         quality_tokens,
         "Tokens of it; 0 leaves the comparison out. Default: 4096.")
      ->type_name("N")
      ->group(group);
}

void QuantizeFlags::declare_distillation(App& app) {
  const char* group = "Distillation (--method dwq)";
  app.add_option(
         "--dwq-start",
         dwq_start,
         "The method that gives the codes. Default: gptq.")
      ->type_name("plain|awq|gptq")
      ->group(group);
  app.add_option("--dwq-steps", dwq_steps, "Steps. Default: 120.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--dwq-rate",
         dwq_rate,
         "Learning rate, as a share of a matrix's scales. Default: 0.002.")
      ->type_name("RATE")
      ->group(group);
  app.add_option(
         "--dwq-tokens",
         dwq_tokens,
         "Tokens of the calibration text to learn from, and to tell by how "
         "it goes. Default: 32768.")
      ->type_name("N")
      ->group(group);
  app.add_option("--dwq-batch", dwq_batch, "Tokens of a step. Default: 1024.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--dwq-minutes",
         dwq_minutes,
         "Ends after so long, with the best so far. Default: no limit.")
      ->type_name("MINUTES")
      ->group(group);
  app.add_flag("--dwq-norms", dwq_norms, "Train the norms' weights, too.")
      ->group(group);
}

void QuantizeFlags::check() const {
  if (method != "plain" && method != "awq" && method != "gptq" &&
      method != "dwq") {
    fail<UserError>(
        "--method " + method,
        "It can be plain, awq, gptq or dwq",
        "See `roofline quantize --help`");
  }
  if (dwq_start != "plain" && dwq_start != "awq" && dwq_start != "gptq") {
    fail<UserError>(
        "--dwq-start " + dwq_start,
        "It can be plain, awq or gptq",
        "See `roofline quantize --help`");
  }
  if (dwq_steps < 1 || dwq_tokens < 4 || dwq_batch < 1 || !(dwq_rate > 0) ||
      !(dwq_minutes >= 0)) {
    fail<UserError>(
        "A number for --method dwq is too small",
        "Steps, tokens and the learning rate are above zero",
        "See `roofline quantize --help`");
  }
  constexpr double kMostBpw = 16;
  if (target_bpw && !(*target_bpw > 0 && *target_bpw <= kMostBpw)) {
    fail<UserError>(
        fmt::format("--target-bpw can't be {:g}", *target_bpw),
        "It is a number of bits above 0 and up to 16",
        "Matrices get 2 to 8 bits and their scales");
  }
  if (calibration_tokens < 1 || window < 2 || quality_tokens < 0 ||
      sensitivity_tokens < 4) {
    fail<UserError>(
        "A number of tokens is too small",
        "Windows need two tokens, calibration one",
        "See `roofline quantize --help`");
  }
}

MatrixFormat QuantizeFlags::fallback() const {
  if (mode != "affine") {
    if (bits || group_size) {
      fail<UserError>(
          "--mode " + mode + " with --bits or --group-size",
          "The bits and groups of small floats are fixed",
          "Leave --bits and --group-size out");
    }
    const auto format = parse_format(mode, 64, "--mode");
    if (format.mode == QuantMode::affine || format.mode == QuantMode::keep) {
      fail<UserError>(
          "--mode " + mode,
          "It can be affine, mxfp4, nvfp4 or mxfp8",
          "See `roofline quantize --help`");
    }
    return format;
  }
  const MatrixFormat format{
      QuantMode::affine,
      bits.value_or(4),
      // What --target-bpw measures in fits more matrices.
      group_size.value_or(target_bpw ? 32 : 64)};
  require_affine_format(format.bits, format.group_size);
  return format;
}

std::vector<MatrixFormat> QuantizeFlags::candidates() const {
  std::vector<MatrixFormat> formats;
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      if (!group_size || *group_size == group) {
        formats.push_back({QuantMode::affine, bits, group});
      }
    }
  }
  return formats;
}

FormatPlan QuantizeFlags::make_plan(const Checkpoint& checkpoint) const {
  MatrixFormat format = fallback();
  const int group = group_size.value_or(64);
  std::vector<FormatRule> parsed_rules;
  if (!recipe_name.empty()) {
    const Recipe& named = recipe(recipe_name);
    if (bits || mode != "affine") {
      fail<UserError>(
          "--recipe with --bits or --mode",
          "The recipe sets the formats",
          "Leave one of them out");
    }
    format = parse_format(named.fallback, group, "--recipe");
    for (const auto rule : named.rules) {
      // A recipe also serves models that lack one of its matrices.
      auto parsed = parse_rule(rule, group);
      if (fits_any(checkpoint, parsed.pattern)) {
        parsed_rules.push_back(std::move(parsed));
      }
    }
  }
  for (const std::string& rule : rules) {
    parsed_rules.push_back(parse_rule(rule, group));
  }
  return plan_formats(checkpoint, format, parsed_rules);
}

std::string recipe_lines() {
  std::string text;
  for (const Recipe& each : recipes()) {
    text += fmt::format("{} ({}); ", each.name, each.what);
  }
  text.resize(text.size() - 2);
  return text + ".";
}

}  // namespace roofline::cli
