#include "roofline/cli/recommend_text.h"

#include <fmt/format.h>

#include "roofline/base/units.h"
#include "roofline/cli/output.h"
#include "roofline/decode/sampling.h"
#include "roofline/plan/chips.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/machine_facts.h"
#include "roofline/report/table.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostOthers = 6;

std::string factor_text(std::optional<double> factor) {
  return factor ? fmt::format("{:.1f}×", *factor) : "–";
}

std::string quant_flag(const std::optional<WeightFormat>& format) {
  return format && format->bits < 16
             ? fmt::format(" --quant int{}", format->bits)
             : "";
}

std::string format_name(const std::optional<WeightFormat>& format) {
  return format ? format->text() : "as stored (bf16)";
}

/// Options with which `roofline memory` asks about the same machine; nullopt
/// where it can't: a card that isn't here.
std::optional<std::string> machine_flags(const Hardware& hardware) {
  const std::string ram = fmt::format(
      " --ram {:g}GB",
      static_cast<double>(hardware.ram_bytes) / kGib);
  if (!hardware.gpu) {
    const bool here = hardware.ram_bytes == machine_facts().memory_bytes;
    return here ? "" : " --device cpu" + ram;
  }
  const Chip* chip = look_up_chip(hardware.name);
  if (chip && chip->vendor == ChipVendor::apple) {
    return ram;  // a Mac that was named isn't the one that the command runs on
  }
  return card_memory_bytes() == hardware.ram_bytes ? std::optional("")
                                                   : std::nullopt;
}

std::optional<std::string> memory_command(
    const Hardware& hardware,
    const RunPlan& plan) {
  const auto machine = machine_flags(hardware);
  if (!machine) {
    return std::nullopt;
  }
  return fmt::format(
      "roofline memory --model {}{} --context {}{}",
      plan.model,
      quant_flag(plan.format),
      plan.question.context_tokens,
      *machine);
}

std::string generate_command(const RunPlan& plan, const std::string& preset) {
  return fmt::format(
      "roofline generate --model {}{} --preset {} --max-kv {} \"…\"",
      plan.model,
      quant_flag(plan.format),
      preset,
      plan.question.context_tokens);
}

std::optional<std::string> training_memory_command(
    const Hardware& hardware,
    const TrainPlan& plan) {
  const auto machine = machine_flags(hardware);
  if (!machine) {
    return std::nullopt;
  }
  const TrainingQuestion& question = plan.question;
  std::string command = fmt::format(
      "roofline memory --model {} --train {} --train-batch {} --seq {}",
      plan.model,
      name_of(question.method),
      question.batch,
      question.sequence_tokens);
  if (question.method != TrainMethod::full) {
    command += fmt::format(" --rank {}", question.rank);
  }
  return command + (question.checkpointing ? " --checkpointing" : "") +
         *machine;
}

std::string train_command(const TrainPlan& plan) {
  const TrainingQuestion& question = plan.question;
  std::string command = fmt::format(
      "roofline train --model {} --data DATA.jsonl --method {} --batch {} "
      "--max-tokens {}",
      plan.model,
      name_of(question.method),
      question.batch,
      question.sequence_tokens);
  if (question.method != TrainMethod::full) {
    command += fmt::format(" --rank {}", question.rank);
  }
  return command + (question.checkpointing ? " --checkpoint-layers on" : "");
}

/// memory: nullopt where none asks about that machine.
std::string run_lines(
    const std::optional<std::string>& memory,
    const std::string& command,
    std::string_view needs) {
  return fmt::format(
      "\nRun\n{}    {}\n    ({} needs the {})\n",
      memory ? fmt::format("    {}\n", *memory) : "",
      command,
      memory ? "the second" : "it",
      needs);
}

Json optional_json(std::optional<double> value) {
  return value ? Json(*value) : Json(nullptr);
}

std::string speedup_text(const Hardware& hardware, const RunPlan& plan) {
  if (!plan.decode_speedup) {
    return "";
  }
  std::string text = fmt::format(
      "    over CPU     decode {}, prefill {} by the published rates",
      factor_text(plan.decode_speedup),
      factor_text(plan.prefill_speedup));
  const Chip* chip = look_up_chip(hardware.name);
  const auto claim = chip ? claimed_speedup(*chip) : std::nullopt;
  if (!claim) {
    return text + "\n";
  }
  return text +
         fmt::format(
             "\n                 The guide expects {:.0f} to {:.0f}× of {}: "
             "prefill is bound by arithmetic,\n                 where the GPU "
             "leads; decode by memory, which the CPU shares.\n",
             claim->least,
             claim->most,
             claim->chips);
}

}  // namespace

std::string speed_text(double tokens_per_second) {
  if (tokens_per_second <= 0) {
    return "–";
  }
  return tokens_per_second < 10
             ? fmt::format("{:.1f} tok/s", tokens_per_second)
             : fmt::format("{:.0f} tok/s", tokens_per_second);
}

std::string size_text(double bytes) {
  return fmt::format("{:.1f} GB", bytes / 1e9);
}

std::string size_text(std::uint64_t bytes) {
  return size_text(static_cast<double>(bytes));
}

std::string machine_text(const Hardware& hardware) {
  std::string text = fmt::format(
      "{}, {:.0f} GB\n    {:.0f} GB/s",
      hardware.name,
      static_cast<double>(hardware.ram_bytes) / kGib,
      hardware.rates.bytes_per_second / 1e9);
  if (hardware.rates.operations_per_second > 0) {
    text += fmt::format(
        ", {:.1f} {}",
        hardware.rates.operations_per_second / 1e12,
        hardware.float_operations_per_second > 0 && !hardware.gpu
            ? fmt::format(
                  "TOPS of 8-bit codes and {:.1f} TFLOPS of floats, measured",
                  hardware.float_operations_per_second / 1e12)
            : "TFLOPS of 16-bit floats");
  }
  text += fmt::format("; {} for models\n", size_text(hardware.budget_bytes));
  return hardware.note.empty() ? text
                               : fmt::format("{}    {}\n", text, hardware.note);
}

Json hardware_json(const Hardware& hardware) {
  return {
      {"name", hardware.name},
      {"gpu", hardware.gpu},
      {"ram_bytes", hardware.ram_bytes},
      {"budget_bytes", hardware.budget_bytes},
      {"bytes_per_second", hardware.rates.bytes_per_second},
      {"operations_per_second", hardware.rates.operations_per_second},
      {"float_operations_per_second", hardware.float_operations_per_second},
      {"note", hardware.note}};
}

std::string run_text(
    const std::string& use,
    const Hardware& hardware,
    const RunPlan& plan) {
  const Preset& preset = find_preset(use);
  const SamplingOptions& sampling = preset.options;
  std::string text = fmt::format(
      "For {}: {} in {}\n",
      use,
      plan.model,
      format_name(plan.format));
  text += fmt::format(
      "    memory       {} of {} at {} tokens of context, KV cache {}\n",
      size_text(plan.memory.total()),
      size_text(hardware.budget_bytes),
      plan.question.context_tokens,
      plan.question.kv_text());
  text += fmt::format(
      "    speed        decode {} expected (roof {}), prefill {}{}\n",
      speed_text(plan.speed.decode),
      speed_text(plan.speed.decode_roof),
      speed_text(plan.speed.prefill),
      plan.quick_enough ? "" : "; slower than people read");
  if (plan.first_token_seconds > 0) {
    text += fmt::format(
        "    first token  after {:.1f} s with a prompt of {} tokens\n",
        plan.first_token_seconds,
        plan.prompt_tokens);
  }
  text += speedup_text(hardware, plan);
  text += fmt::format(
      "    at once      {} side by side, or one that decodes {} in parallel "
      "({} together)\n",
      plan.copies,
      plan.streams,
      speed_text(plan.streams_tokens_per_second));
  text += fmt::format(
      "    settings     preset {}: temperature {:g}, top-p {:g}, top-k {}, "
      "repetition {:g}\n",
      preset.name,
      sampling.temperature,
      sampling.top_p,
      sampling.top_k,
      sampling.repetition_penalty);
  return text + run_lines(
                    memory_command(hardware, plan),
                    generate_command(plan, use),
                    "checkpoint: a path, or a name under $ROOFLINE_MODELS");
}

std::string others_text(const std::vector<RunPlan>& plans) {
  Table table{
      {{"Also fits"},
       {"Format"},
       {"Context", Align::right},
       {"Memory", Align::right},
       {"Decode", Align::right},
       {"Prefill", Align::right}},
      {}};
  for (std::size_t i = 1; i < plans.size() && i <= kMostOthers; ++i) {
    const RunPlan& plan = plans[i];
    table.rows.push_back(
        {plan.model,
         format_name(plan.format),
         std::to_string(plan.question.context_tokens),
         size_text(plan.memory.total()),
         speed_text(plan.speed.decode),
         speed_text(plan.speed.prefill)});
  }
  return table.rows.empty()
             ? ""
             : fmt::format("\n{}", table_text(table, output_columns()));
}

Json run_json(
    const Hardware& hardware,
    const RunPlan& plan,
    const std::string& preset) {
  const int bits = plan.format ? plan.format->bits : 16;
  Json commands = Json::array();
  if (const auto memory = memory_command(hardware, plan)) {
    commands.push_back(*memory);
  }
  commands.push_back(generate_command(plan, preset));
  return {
      {"model", plan.model},
      {"parameters", plan.parameters},
      {"format", format_name(plan.format)},
      {"bits", bits},
      {"context_tokens", plan.question.context_tokens},
      {"kv_bits", plan.question.kv_bits()},
      {"prefill_step", plan.question.prefill_step},
      {"memory_bytes", plan.memory.total()},
      {"decode_tokens_per_second", plan.speed.decode},
      {"decode_roof_tokens_per_second", plan.speed.decode_roof},
      {"prefill_tokens_per_second", plan.speed.prefill},
      {"prompt_tokens", plan.prompt_tokens},
      {"first_token_seconds", plan.first_token_seconds},
      {"decode_speedup_over_cpu", optional_json(plan.decode_speedup)},
      {"prefill_speedup_over_cpu", optional_json(plan.prefill_speedup)},
      {"quick_enough", plan.quick_enough},
      {"copies_at_once", plan.copies},
      {"parallel_streams", plan.streams},
      {"parallel_tokens_per_second", plan.streams_tokens_per_second},
      {"commands", commands}};
}

Json train_json(const Hardware& hardware, const TrainPlan& plan) {
  const auto memory = training_memory_command(hardware, plan);
  return {
      {"model", plan.model},
      {"method", name_of(plan.question.method)},
      {"batch", plan.question.batch},
      {"sequence_tokens", plan.question.sequence_tokens},
      {"rank", plan.question.rank},
      {"checkpointing", plan.question.checkpointing},
      {"memory_bytes", plan.memory.total()},
      {"fits", plan.fits},
      {"command", train_command(plan)},
      {"memory_command", memory ? Json(*memory) : Json()}};
}

std::string train_text(const Hardware& hardware, const TrainPlan& plan) {
  return fmt::format(
      "To train: {} by {}, batch {} of {} tokens, {} checkpointing\n"
      "    {} of {}\n{}",
      plan.model,
      name_of(plan.question.method),
      plan.question.batch,
      plan.question.sequence_tokens,
      plan.question.checkpointing ? "with" : "without",
      size_text(plan.memory.total()),
      size_text(hardware.budget_bytes),
      run_lines(
          training_memory_command(hardware, plan),
          train_command(plan),
          "checkpoint, and your data"));
}

}  // namespace roofline::cli
