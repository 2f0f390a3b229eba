#include "roofline/cli/evaluate_report.h"

#include <fmt/format.h>

#include "roofline/cli/output.h"

namespace roofline::cli {

namespace {

std::string size_text(const ModelSize& size) {
  return fmt::format(
      "{}, {:.3f} bits per weight",
      format_bytes(static_cast<double>(size.bytes)),
      size.bits_per_weight());
}

nlohmann::ordered_json size_json(const ModelSize& size) {
  return {
      {"bytes", size.bytes},
      {"weights", size.weights},
      {"bits_per_weight", size.bits_per_weight()}};
}

std::string accuracy_text(const Estimate& accuracy) {
  return fmt::format(
      "{:.2f} ± {:.2f} %",
      100 * accuracy.mean,
      100 * accuracy.standard_error);
}

nlohmann::ordered_json estimate_json(const Estimate& estimate) {
  return {
      {"value", estimate.mean},
      {"standard_error", estimate.standard_error}};
}

}  // namespace

std::string quality_lines(const QualityReport& quality) {
  return fmt::format(
      "perplexity     {:.4f} ± {:.4f}, the reference's {:.4f} ± {:.4f}\n"
      "KL divergence  mean {:.6f} ± {:.6f} nats, median {:.6f}, 99 % below "
      "{:.5f}, most {:.4f}\n"
      "same top token {:.2f} %\n"
      "Δp of the next mean {:+.3f} %, root mean square {:.3f} %\n",
      quality.perplexity,
      quality.perplexity_error,
      quality.reference_perplexity,
      quality.reference_perplexity_error,
      quality.mean_kl,
      quality.kl_standard_error,
      quality.median_kl,
      quality.p99_kl,
      quality.max_kl,
      100 * quality.top1_agreement,
      100 * quality.mean_delta_p,
      100 * quality.rms_delta_p);
}

nlohmann::ordered_json quality_json(
    const QualityReport& quality,
    bool compared) {
  nlohmann::ordered_json out = {
      {"perplexity", quality.perplexity},
      {"perplexity_standard_error", quality.perplexity_error},
      {"tokens", quality.tokens}};
  if (compared) {
    out["reference_perplexity"] = quality.reference_perplexity;
    out["reference_perplexity_standard_error"] =
        quality.reference_perplexity_error;
    out["kl"] = {
        {"mean", quality.mean_kl},
        {"standard_error", quality.kl_standard_error},
        {"median", quality.median_kl},
        {"p99", quality.p99_kl},
        {"max", quality.max_kl}};
    out["top1_agreement"] = quality.top1_agreement;
    out["delta_p"] = {
        {"mean", quality.mean_delta_p},
        {"rms", quality.rms_delta_p}};
  }
  return out;
}

std::string EvaluateReport::text() const {
  std::string out = fmt::format("model          {}\n", model);
  if (!quantized_at_load) {
    out += fmt::format("               {}\n", size_text(size));
  }
  if (kv.in_codes()) {
    out += fmt::format("               KV cache {}\n", kv.text());
  }
  if (reference) {
    out += fmt::format(
        "reference      {}\n               {}\n",
        *reference,
        size_text(*reference_size));
  }
  if (choices) {
    out += fmt::format(
        "task           {}, {} questions\n"
        "accuracy       {}\n"
        "  by character {}\n",
        text_name,
        choices->scores.size(),
        accuracy_text(choices->accuracy),
        accuracy_text(choices->accuracy_normalised));
    return out;
  }
  out += fmt::format(
      "text           {}: {} tokens counted; windows of {}, stride {}, {} or "
      "more before each, begin token: {}\n",
      text_name,
      quality->tokens,
      windows.context_tokens,
      windows.stride_tokens,
      windows.least_context,
      bos);
  if (reference) {
    return out + quality_lines(*quality);
  }
  return out + fmt::format(
                   "perplexity     {:.4f} ± {:.4f}\n",
                   quality->perplexity,
                   quality->perplexity_error);
}

nlohmann::ordered_json EvaluateReport::json() const {
  nlohmann::ordered_json out = {
      {"model", model},
      {"size", size_json(size)},
      {"quantized_at_load", quantized_at_load}};
  if (kv.in_codes()) {
    out["kv_cache"] = {
        {"key_bits", kv.key_bits},
        {"value_bits", kv.value_bits},
        {"group_size", kv.group_size},
        {"keep_full", kv.keep_full}};
  }
  if (reference) {
    out["reference"] = *reference;
    out["reference_size"] = size_json(*reference_size);
  }
  if (choices) {
    auto list = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < choices->scores.size(); ++i) {
      const ChoiceScore& score = choices->scores[i];
      list.push_back(
          {{"answer", questions[i].answer},
           {"best", score.best},
           {"best_normalised", score.best_normalised},
           {"log_likelihoods", score.log_likelihoods}});
    }
    out["task"] = {
        {"file", text_name},
        {"questions", choices->scores.size()},
        {"accuracy", estimate_json(choices->accuracy)},
        {"accuracy_normalised", estimate_json(choices->accuracy_normalised)},
        {"scores", std::move(list)}};
  } else {
    out["text"] = {
        {"name", text_name},
        {"context_tokens", windows.context_tokens},
        {"stride_tokens", windows.stride_tokens},
        {"least_context", windows.least_context},
        {"whole_windows_only", windows.whole_only},
        {"bos", bos}};
    out["quality"] = quality_json(*quality, reference.has_value());
  }
  out["stopped"] = stopped;
  out["load_seconds"] = load_seconds;
  out["seconds"] = seconds;
  out["peak_bytes"] = peak_bytes;
  out["device"] = device;
  return out;
}

std::string EvaluateReport::truth() const {
  std::string out = fmt::format("load {:.2f} s · ", load_seconds);
  if (quality) {
    out += fmt::format(
        "{:.1f} s · {:.0f} tok/s counted · ",
        seconds,
        seconds > 0 ? static_cast<double>(quality->tokens) / seconds : 0);
  } else {
    out += fmt::format(
        "{:.1f} s · {:.1f} questions/s · ",
        seconds,
        seconds > 0 ? static_cast<double>(choices->scores.size()) / seconds
                    : 0);
  }
  return out + fmt::format(
                   "peak {} · {}{}",
                   format_bytes(static_cast<double>(peak_bytes)),
                   device,
                   stopped ? " · stopped before the end" : "");
}

}  // namespace roofline::cli
