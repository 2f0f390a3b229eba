#include "roofline/cli/options.h"

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/option_helpers.h"
#include "roofline/spec/tensor_parts.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

namespace {

constexpr int kMostThreads = 1024;

}  // namespace

void DeviceFlags::declare(App& app) {
  const char* group = "Device";
  add(app,
      group,
      "--device",
      "auto|cpu|gpu",
      device,
      "Where to compute. auto: the GPU when MLX has one. Default: auto.");
  add(app,
      group,
      "--threads",
      "N",
      threads,
      "Threads of the CPU kernels. Default: the cores that may be used.");
  app.add_flag(
         "--exact",
         exact,
         "float32 activations and cache, and no fast approximations.")
      ->group(group);
  app.add_flag(
         "--no-cache",
         no_cache,
         "Don't keep repacked or quantized weights on disk, and don't look "
         "for kept ones.")
      ->group(group);
}

ModelOptions DeviceFlags::resolve() const {
  ModelOptions options;
  options.device = static_cast<DeviceChoice>(
      choose("--device", device, {"auto", "cpu", "gpu"}));
  options.exact = exact;
  options.cache_packed = !no_cache;
  if (threads) {
    if (*threads < 1 || *threads > kMostThreads) {
      fail<UserError>(
          fmt::format("--threads can't be {}", *threads),
          "",
          fmt::format("It takes a number from 1 to {}", kMostThreads));
    }
    ThreadPool::set_global_threads(*threads);
  }
  return options;
}

void QuantFlags::declare(App& app) {
  add(app,
      "Weights",
      "--quant",
      "int4|int8|none",
      quant,
      "Quantize a floating-point checkpoint while it is loaded; the result is "
      "kept for the next start. Default: none.");
  add(app,
      "Weights",
      "--group-size",
      "32|64|128",
      group_size,
      "Weights that share a scale and a bias. Only with --quant. Default: 64.");
  add(app,
      "Weights",
      "--quant-8bit",
      "PART,…",
      eight_bit,
      "Parts that --quant int4 holds at 8 bits: embed, q, k, v, o, gate, up, "
      "down, ends (the first and last eighth of the layers), layers (5, 0-3) "
      "and one kind in them (0-3.down). Default: none.");
}

static void refuse_eight_bit(const std::optional<std::string>& parts) {
  if (parts && !parts->empty()) {
    fail<UserError>(
        "--quant-8bit needs --quant int4",
        "It names the parts that have 8 bits where the rest has 4",
        "Add --quant int4, or leave --quant-8bit out");
  }
}

std::optional<QuantizeChoice> QuantFlags::resolve() const {
  const std::size_t kind =
      choose("--quant", quant.value_or("none"), {"none", "int4", "int8"});
  if (kind == 0) {
    if (group_size) {
      fail<UserError>(
          "--group-size needs --quant",
          "Without it the weights stay as they are stored",
          "Add --quant int4 or --quant int8, or leave --group-size out");
    }
    refuse_eight_bit(eight_bit);
    return std::nullopt;
  }
  QuantizeChoice choice;
  choice.bits = kind == 1 ? 4 : 8;
  override_with(choice.group_size, group_size);
  choose(
      "--group-size",
      std::to_string(choice.group_size),
      {"32", "64", "128"});
  if (choice.bits != 4) {
    refuse_eight_bit(eight_bit);
  }
  choice.eight_bit = parse_matrix_parts(eight_bit.value_or(""), "--quant-8bit");
  return choice;
}

void KvFlags::declare(App& app) {
  const char* group = "KV cache";
  add(app,
      group,
      "--kv-bits",
      "8|4|16",
      choice.bits,
      "Keep keys and values in codes of so many bits, with a scale and a bias "
      "for each group. Default: 16, floats.");
  add(app,
      group,
      "--k-bits",
      "8|4|16",
      choice.key_bits,
      "The same of keys alone.");
  add(app,
      group,
      "--v-bits",
      "8|4|16",
      choice.value_bits,
      "The same of values alone.");
  add(app,
      group,
      "--kv-group-size",
      "32|64",
      choice.group_size,
      "Values that share a scale and a bias. Default: 64.");
  add(app,
      group,
      "--kv-keep-full",
      "N",
      choice.keep_full,
      "Keep the first N tokens as floats: attention leans on them most. "
      "Default: 0.");
}

WeightFormat weight_format(const QuantizeChoice& choice) {
  return {choice.bits, choice.group_size, choice.eight_bit};
}

RandomFormat random_format(const QuantizeChoice& choice) {
  return {choice.bits, choice.group_size, choice.eight_bit};
}

void SettingsFlags::declare(App& app) {
  const char* group = "Settings";
  add(app,
      group,
      "--settings",
      "FILE",
      file,
      "Take settings from a file that `roofline optimize --out` wrote. Options "
      "given here count more.");
  app.add_flag(
         "--no-settings",
         none,
         "Leave out the settings that `roofline optimize --apply` made this "
         "model's default.")
      ->group(group);
}

RunSettings SettingsFlags::read(const std::string& model) {
  if (!file.empty()) {
    source = file;
    return read_settings(file);
  }
  if (none) {
    return {};
  }
  std::filesystem::path path;
  try {
    path = default_settings_path(resolve_model(model));
  } catch (const UserError&) {
    return {};  // loading tells it, after what is wrong with other options
  }
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return {};
  }
  source = path.string();
  return read_settings(path);
}

void AnswerFlags::declare(App& app) {
  sampling.declare(app);
  length.declare(app);
  draft.declare(app);
  quant.declare(app);
  kv.declare(app);
  device.declare(app);
  settings.declare(app);
}

std::string AnswerFlags::take_settings(std::string& model) {
  const RunSettings given = settings.read(model);
  if (model.empty()) {
    model = given.model.value_or("");
  }
  const auto fill = [](auto& value, const auto& from) {
    if (!value && from) {
      value = *from;
    }
  };
  if (!quant.quant && !quant.group_size) {
    quant.quant = given.quant;
    quant.group_size = given.group_size;
    fill(quant.eight_bit, given.quant_8bit);
  }
  if (!kv.choice.any()) {
    kv.choice = given.kv();
  }
  fill(device.threads, given.threads);
  fill(prefill_step, given.prefill_step);
  fill(length.max_tokens, given.max_tokens);
  fill(length.max_kv, given.max_kv);
  fill(length.prompt_lookup, given.prompt_lookup);
  draft.fill(given);
  // A preset is a choice of its own.
  if (!sampling.preset) {
    sampling.fill(given);
  }
  if (given.isa) {
    setenv("ROOFLINE_ISA", given.isa->c_str(), 0);
  }
  apply_memory_limits(given);
  if (settings.source.empty()) {
    return "";
  }
  return fmt::format(
      "roofline: settings: {} ({}; --no-settings leaves them out)\n",
      given.text(),
      settings.source);
}

ModelOptions AnswerFlags::model_options() const {
  ModelOptions options = device.resolve();
  options.quantize = quant.resolve();
  options.kv = kv.resolve();
  return options;
}

GenerateOptions AnswerFlags::generate_options() const {
  GenerateOptions options;
  options.sampling = sampling.resolve();
  length.apply(options);
  draft.apply(options);
  override_with(options.prefill_chunk, prefill_step);
  return options;
}

}  // namespace roofline::cli
