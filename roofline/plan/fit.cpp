#include "roofline/plan/fit.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/option_values.h"
#include "roofline/base/units.h"

namespace roofline {

namespace {

constexpr std::int64_t kGrain = 256;
constexpr std::int64_t kDefaultContext = 4096;
constexpr int kShortStep = 128;

double unit_of(const std::string& unit) {
  if (unit.empty() || unit == "G" || unit == "GB") {
    return kGib;
  }
  if (unit == "M" || unit == "MB") {
    return kGib / 1024;
  }
  return unit == "T" || unit == "TB" ? kGib * 1024 : 0;
}

bool has_keys(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) { return layer.attention.has_value(); });
}

bool any_floats(const PlannedModel& model) {
  return std::any_of(
      model.tensors.begin(),
      model.tensors.end(),
      [](const ModelTensor& tensor) {
        return tensor.rows > 1 && !tensor.quantized;
      });
}

std::uint64_t bytes_of(
    const PlannedModel& model,
    const InferenceQuestion& question) {
  return predict_inference(model, question).total();
}

FitChoice choice_at_step(
    const PlannedModel& model,
    InferenceQuestion question,
    int prefill_step,
    std::uint64_t budget) {
  question.prefill_step = prefill_step;
  FitChoice choice;
  choice.format = question.quantize;
  choice.question = question;
  choice.bytes = bytes_of(model, question);
  choice.whole = choice.bytes <= budget;
  choice.largest_context = largest_context(model, question, budget);
  return choice;
}

/// The context asked for if that fits, else the largest; with a shorter
/// prefill step only where that makes room.
FitChoice choice_for(
    const PlannedModel& model,
    const InferenceQuestion& question,
    std::uint64_t budget) {
  FitChoice choice =
      choice_at_step(model, question, question.prefill_step, budget);
  if (!choice.whole && question.prefill_step > kShortStep) {
    const FitChoice shorter =
        choice_at_step(model, question, kShortStep, budget);
    if (shorter.whole || shorter.largest_context > choice.largest_context) {
      choice = shorter;
    }
  }
  if (!choice.whole && choice.largest_context > 0) {
    choice.question.context_tokens =
        std::min(question.context_tokens, choice.largest_context);
    choice.bytes = bytes_of(model, choice.question);
  }
  return choice;
}

/// Nats a token that SmolLM2-135M lost by its weights (docs/quantize.md; 8
/// bits: roofline evaluate) and by its KV cache (docs/kv-cache.md). Larger
/// models lose less of all; the order stays.
double loss_of(const FitChoice& choice) {
  const int weights = choice.format ? choice.format->bits : 16;
  const int kv = choice.question.kv_bits();
  const double of_weights = weights >= 16 ? 0 : weights >= 8 ? 0.001 : 0.47;
  const double of_kv = kv >= 16 ? 0 : kv >= 8 ? 0.0025 : 0.2;
  return of_weights + of_kv;
}

}  // namespace

std::uint64_t parse_memory_size(
    std::string_view text,
    std::string_view option) {
  const std::size_t end =
      std::min(text.find_first_not_of("+-.0123456789eE"), text.size());
  const std::optional<double> number =
      parse_number<double>(text.substr(0, end));
  std::string unit;
  for (const char letter : text.substr(end)) {
    if (letter != ' ' && letter != 'i' && letter != 'I') {
      unit +=
          static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    }
  }
  const double bytes = number.value_or(0) * unit_of(unit);
  if (!(bytes >= kGib / 1024 && bytes <= 64 * 1024 * kGib)) {
    fail<UserError>(
        fmt::format("{} can't be \"{}\"", option, text),
        "",
        "It takes a size such as 16GB, from 1MB to 64TB");
  }
  return static_cast<std::uint64_t>(bytes);
}

std::int64_t largest_context(
    const PlannedModel& model,
    InferenceQuestion question,
    std::uint64_t budget_bytes) {
  const auto fits = [&](std::int64_t grains) {
    question.context_tokens = grains * kGrain;
    return bytes_of(model, question) <= budget_bytes;
  };
  const std::int64_t own = model.spec.context_tokens;
  std::int64_t low = 0;
  std::int64_t high =
      std::max<std::int64_t>(1, (own > 0 ? own : kDefaultContext) / kGrain);
  while (low < high) {
    const std::int64_t middle = (low + high + 1) / 2;
    if (fits(middle)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low * kGrain;
}

std::string FitChoice::format_text(const PlannedModel& model) const {
  if (format) {
    return format->text();
  }
  return model.exact || !any_floats(model) ? "as stored" : "bf16";
}

std::vector<FitChoice> settings_that_fit(
    const PlannedModel& model,
    const InferenceQuestion& wish,
    std::uint64_t budget_bytes) {
  std::vector<std::optional<WeightFormat>> formats = {wish.quantize};
  if (any_floats(model) && !wish.quantize) {
    formats.push_back(WeightFormat{8});
    formats.push_back(WeightFormat{4});
  }
  std::vector<FitChoice> out;
  for (const auto& format : formats) {
    for (const int bits : {16, 8, 4}) {
      InferenceQuestion question = wish;
      question.quantize = format;
      if (!wish.kv.in_codes()) {
        question.set_kv_bits(bits);
      } else if (bits < 16) {
        continue;  // the one asked for, once
      }
      if (bits < 16 && !has_keys(model.spec)) {
        continue;  // states stay floats
      }
      const FitChoice choice = choice_for(model, question, budget_bytes);
      if (choice.whole || choice.largest_context > 0) {
        out.push_back(choice);
      }
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return a.whole != b.whole ? a.whole : loss_of(a) < loss_of(b);
  });
  return out;
}

FitChoice smallest_choice(
    const PlannedModel& model,
    const InferenceQuestion& wish) {
  FitChoice choice;
  choice.question = wish;
  choice.question.context_tokens = kGrain;
  choice.question.prefill_step = kShortStep;
  if (any_floats(model) && !wish.quantize) {
    choice.question.quantize = WeightFormat{4};
  }
  choice.format = choice.question.quantize;
  if (!wish.kv.in_codes() && has_keys(model.spec)) {
    choice.question.set_kv_bits(4);
  }
  choice.bytes = bytes_of(model, choice.question);
  return choice;
}

}  // namespace roofline
