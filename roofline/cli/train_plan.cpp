#include "roofline/cli/train_plan.h"

#include <algorithm>
#include <functional>
#include <optional>

#include <fmt/format.h>

#include "roofline/cli/output.h"
#include "roofline/plan/machine_facts.h"
#include "roofline/train/forecast.h"

namespace roofline::cli {

namespace {

/// One way to take less, cheapest first; returns what changed.
using Change = std::function<std::optional<std::string>(TrainOptions&)>;

std::optional<std::string> keep_less(TrainOptions& o) {
  if (o.checkpoint_layers) {
    return std::nullopt;
  }
  o.checkpoint_layers = true;
  return "--checkpoint-layers on";
}

/// Half the batch, twice as often: the same steps.
std::optional<std::string> halve_batch(TrainOptions& o) {
  if (o.batch < 2) {
    return std::nullopt;
  }
  o.accumulate *= o.batch % 2 == 0 ? 2 : o.batch;
  o.batch = o.batch % 2 == 0 ? o.batch / 2 : 1;
  return fmt::format("--batch {} --accumulate {}", o.batch, o.accumulate);
}

std::optional<std::string> smaller_states(TrainOptions& o) {
  if (o.optimizer.name != OptimizerName::adamw) {
    return std::nullopt;
  }
  o.optimizer.name = OptimizerName::adamw8;
  return "--optimizer adamw8";
}

std::optional<std::string> lower_rank(TrainOptions& o) {
  if (o.method == AdaptMethod::full || o.rank <= 4) {
    return std::nullopt;
  }
  o.alpha /= 2;  // alpha / rank stays
  o.rank /= 2;
  return fmt::format("--rank {} --alpha {}", o.rank, o.alpha);
}

std::optional<std::string> adapt_only(TrainOptions& o) {
  if (o.method != AdaptMethod::full) {
    return std::nullopt;
  }
  o.method = AdaptMethod::lora;
  return "--method lora";
}

std::optional<std::string> shorter(TrainOptions& o) {
  if (o.max_tokens <= 128) {
    return std::nullopt;
  }
  o.max_tokens /= 2;
  return fmt::format("--max-tokens {} --long split", o.max_tokens);
}

double bytes_of(
    const Checkpoint& checkpoint,
    const Dataset& train,
    const TrainOptions& options) {
  const auto longest = std::int64_t{options.batch} * options.max_tokens *
                       (options.loss == LossName::cross_entropy ? 1 : 2);
  const auto tokens = std::min(largest_batch(train, options), longest);
  return forecast_training(checkpoint, options, tokens).total();
}

std::string parts_text(const Forecast& forecast) {
  std::string text;
  for (const auto& part : forecast.parts) {
    if (part.bytes >= 1e5) {
      text += fmt::format(
          "{}{} {}",
          text.empty() ? "" : ", ",
          part.name,
          format_bytes(part.bytes));
    }
  }
  return text;
}

}  // namespace

TrainForecast plan_training(
    const Checkpoint& checkpoint,
    const Dataset& train,
    TrainOptions& options,
    bool fit) {
  const MachineFacts facts = machine_facts();
  const auto budget =
      static_cast<double>(facts.available_bytes.value_or(facts.memory_bytes));
  TrainForecast out;
  out.bytes = bytes_of(checkpoint, train, options);
  TrainOptions changed = options;
  std::string changes;
  double bytes = out.bytes;
  // --max-tokens last, and never by itself: samples would have to be read anew.
  const Change all[] =
      {keep_less, halve_batch, smaller_states, lower_rank, adapt_only};
  for (const auto& change : all) {
    while (bytes > budget) {
      const auto text = change(changed);
      if (!text) {
        break;
      }
      changes += (changes.empty() ? "" : " ") + *text;
      bytes = bytes_of(checkpoint, train, changed);
    }
  }
  const bool fits_changed = bytes <= budget;
  if (out.bytes > budget && fit && fits_changed) {
    options = changed;
    out.bytes = bytes;
    out.text = fmt::format("Changed so that it fits: {}\n", changes);
  }
  const auto forecast =
      forecast_training(checkpoint, options, largest_batch(train, options));
  out.text += fmt::format(
      "Will take about {} of {} that are free: {}\n",
      format_bytes(out.bytes),
      format_bytes(budget),
      parts_text(forecast));
  out.fits = out.bytes <= budget;
  if (!out.fits) {
    const auto text = shorter(changed);
    out.shortage = fmt::format(
        "It would take about {}, and {} are free: {} too little",
        format_bytes(out.bytes),
        format_bytes(budget),
        format_bytes(out.bytes - budget));
    out.advice = fits_changed ? fmt::format(
                                    "Add {} ({}), or --fit, which does so",
                                    changes,
                                    format_bytes(bytes))
                 : text ? fmt::format("Try {}, or a smaller model", *text)
                        : std::string("Take a smaller or a quantized model");
  }
  return out;
}

}  // namespace roofline::cli
