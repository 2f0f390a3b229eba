// What there is to choose from: candidates, what is predicted of them, and
// which of them no other beats.
#include <algorithm>
#include <array>
#include <cmath>

#include "roofline/base/statistics.h"
#include "roofline/plan/optimize.h"
#include "roofline/plan/roof.h"
#include "roofline/spec/tensor_parts.h"

namespace roofline {

namespace {

constexpr std::int64_t kSmallCacheBytes = 256'000'000;
/// What may have 8 bits where the rest has 4, the most bits first.
constexpr std::array kMixedParts = {"embed,v,down", "v,down", "embed", "ends"};
constexpr int kMixedGroup = 64;
/// Tokens that may be looked up at most.
constexpr std::array kLookups = {4, 8, 16, 32};
/// Tokens that may be drafted at most.
constexpr std::array kDrafts = {2, 4, 8};

/// Smaller is better in all three.
struct Marks {
  double seconds = 0;
  double bytes = 0;
  double kl = 0;
};

/// What counts as the same time and the same memory: two runs of one setting
/// differ by as much.
constexpr double kSameShare = 0.01;

bool beats(const Marks& a, const Marks& b) {
  const auto no_worse = [](double x, double y) {
    return x <= y * (1 + kSameShare);
  };
  const auto better = [](double x, double y) {
    return x < y * (1 - kSameShare);
  };
  return no_worse(a.seconds, b.seconds) && no_worse(a.bytes, b.bytes) &&
         a.kl <= b.kl &&
         (better(a.seconds, b.seconds) || better(a.bytes, b.bytes) ||
          a.kl < b.kl);
}

Marks marks_of(const OptimizeCandidate& candidate, bool measured) {
  return {
      measured ? candidate.seconds() : candidate.predicted_seconds,
      static_cast<double>(candidate.bytes()),
      candidate.quality ? candidate.quality->mean_kl : 0};
}

RunSettings quantized_settings(int bits, int group) {
  RunSettings settings;
  settings.quant = bits == 4 ? "int4" : "int8";
  settings.group_size = group;
  return settings;
}

std::vector<RunSettings> step_ways(int prompt_tokens) {
  std::vector<RunSettings> steps;
  for (const int tokens : {64, 128, 256, 1024, 2048}) {
    // A step that holds the whole prompt is the same as any larger one.
    if (tokens < prompt_tokens ||
        (tokens > 512 && tokens / 2 < prompt_tokens)) {
      steps.emplace_back().prefill_step = tokens;
    }
  }
  return steps;
}

std::vector<RunSettings> memory_ways(const WaySpace& space) {
  std::vector<RunSettings> ways(1);
  ways[0].cache_limit_bytes = kSmallCacheBytes;
  if (space.wired_bytes) {
    ways.emplace_back().wired_limit_bytes = space.wired_bytes;
  }
  return ways;
}

std::vector<RunSettings> thread_ways(const WaySpace& space) {
  std::vector<RunSettings> ways;
  for (std::size_t isa = 0; isa < space.isas.size(); ++isa) {
    for (int threads = space.cores; threads >= 1; threads /= 2) {
      if (isa == 0 && threads == space.cores) {
        continue;  // the default
      }
      RunSettings way;
      if (isa > 0) {
        way.isa = space.isas[isa];
      }
      if (threads < space.cores) {
        way.threads = threads;
      }
      ways.push_back(way);
    }
  }
  return ways;
}

/// The cache's precisions, the most bits first. 4 bits want small groups and
/// the first tokens in full.
std::vector<RunSettings> kv_ways() {
  constexpr int kSmallGroup = 32;
  constexpr int kFirst = 4;
  std::vector<RunSettings> ways(3);
  ways[0].kv_bits = 8;
  ways[1].k_bits = 8;
  ways[1].v_bits = 4;
  ways[1].kv_group_size = kSmallGroup;
  ways[2].kv_bits = 4;
  ways[2].kv_group_size = kSmallGroup;
  ways[2].kv_keep_full = kFirst;
  return ways;
}

double bits_per_weight(const PlannedModel& model) {
  return 8.0 * static_cast<double>(model.weight_bytes()) /
         static_cast<double>(std::max<std::int64_t>(1, model.parameters()));
}

/// Seconds of the workload at the roof (share 1) or as they are expected.
double workload_seconds(
    const Workload& work,
    double prefill_speed,
    double decode_speed) {
  if (decode_speed <= 0) {
    return 0;
  }
  const double prefill =
      prefill_speed > 0 ? work.prompt_tokens / prefill_speed : 0;
  return work.answers * (prefill + work.decode_tokens / decode_speed);
}

}  // namespace

double OptimizeSample::seconds(const Workload& work) const {
  // The last step's batch may not be full; it takes as long.
  const int times = (work.answers + batch - 1) / batch;
  return times * (prefill_seconds + decode_seconds * work.decode_tokens /
                                        std::max(1, decode_tokens));
}

double OptimizeCandidate::seconds() const {
  return median_of(samples);
}

double OptimizeCandidate::prefill_speed() const {
  return median_of(prefill_speeds);
}

double OptimizeCandidate::decode_speed() const {
  return median_of(decode_speeds);
}

std::uint64_t OptimizeCandidate::bytes() const {
  return peak_bytes > 0 ? peak_bytes : predicted_bytes;
}

RunSettings combined(RunSettings base, const RunSettings& way) {
  const auto take = [](auto& to, const auto& from) {
    if (from) {
      to = from;
    }
  };
  if (way.kv().any()) {
    base.kv_bits = way.kv_bits;
    base.k_bits = way.k_bits;
    base.v_bits = way.v_bits;
    base.kv_group_size = way.kv_group_size;
    base.kv_keep_full = way.kv_keep_full;
  }
  take(base.prefill_step, way.prefill_step);
  take(base.threads, way.threads);
  take(base.isa, way.isa);
  take(base.cache_limit_bytes, way.cache_limit_bytes);
  take(base.wired_limit_bytes, way.wired_limit_bytes);
  take(base.batch, way.batch);
  take(base.prompt_lookup, way.prompt_lookup);
  take(base.draft_model, way.draft_model);
  take(base.num_draft_tokens, way.num_draft_tokens);
  take(base.temperature, way.temperature);
  take(base.top_p, way.top_p);
  take(base.min_p, way.min_p);
  take(base.top_k, way.top_k);
  take(base.repetition_penalty, way.repetition_penalty);
  return base;
}

void mark_front(std::span<OptimizeCandidate> candidates) {
  const bool any = std::any_of(
      candidates.begin(),
      candidates.end(),
      [](const OptimizeCandidate& c) { return c.measured(); });
  for (OptimizeCandidate& candidate : candidates) {
    candidate.on_front = candidate.measured() == any && !candidate.told_only;
    for (const OptimizeCandidate& other : candidates) {
      if (other.measured() == any && !other.told_only &&
          beats(marks_of(other, any), marks_of(candidate, any))) {
        candidate.on_front = false;
      }
    }
  }
}

std::optional<WeightFormat> format_of(const RunSettings& settings) {
  if (!settings.quant || *settings.quant == "none") {
    return std::nullopt;
  }
  WeightFormat format;
  format.bits = *settings.quant == "int4" ? 4 : 8;
  format.group_size = settings.group_size.value_or(format.group_size);
  format.eight_bit =
      parse_matrix_parts(settings.quant_8bit.value_or(""), "quant_8bit");
  return format;
}

std::vector<OptimizeCandidate> format_candidates(const PlannedModel& model) {
  std::vector<OptimizeCandidate> candidates(1);
  candidates[0].bits_per_weight = bits_per_weight(model);
  const auto add = [&](int bits, int group, const char* eight_bit = nullptr) {
    OptimizeCandidate candidate;
    candidate.settings = quantized_settings(bits, group);
    if (eight_bit != nullptr) {
      candidate.settings.quant_8bit = eight_bit;
    }
    const PlannedModel stored =
        quantized(model, *format_of(candidate.settings));
    // What is stored as codes stays: nothing would change.
    if (stored.weight_bytes() < model.weight_bytes()) {
      candidate.bits_per_weight = bits_per_weight(stored);
      candidates.push_back(std::move(candidate));
    }
  };
  for (const int bits : {8, 4}) {
    for (const int group : {32, 64, 128}) {
      add(bits, group);
    }
  }
  for (const char* parts : kMixedParts) {
    add(4, kMixedGroup, parts);
  }
  return candidates;
}

std::vector<std::vector<RunSettings>> way_candidates(const WaySpace& space) {
  std::vector<std::vector<RunSettings>> kinds;
  if (!space.gpu) {
    kinds.push_back(thread_ways(space));
  }
  kinds.push_back(step_ways(space.work.prompt_tokens));
  if (space.gpu) {
    kinds.push_back(memory_ways(space));
  }
  if (space.kv) {
    kinds.push_back(kv_ways());
  }
  std::vector<RunSettings> batches;
  for (int batch = 2; batch <= space.work.answers; batch *= 2) {
    batches.emplace_back().batch = batch;
  }
  kinds.push_back(std::move(batches));
  if (space.text) {
    std::vector<RunSettings> lookups;
    for (const int tokens : kLookups) {
      lookups.emplace_back().prompt_lookup = tokens;
    }
    kinds.push_back(std::move(lookups));
  }
  if (space.text && !space.draft_model.empty()) {
    std::vector<RunSettings> drafts;
    for (const int tokens : kDrafts) {
      RunSettings& way = drafts.emplace_back();
      way.draft_model = space.draft_model;
      way.num_draft_tokens = tokens;
    }
    kinds.push_back(std::move(drafts));
  }
  std::erase_if(kinds, [](const auto& kind) { return kind.empty(); });
  return kinds;
}

std::vector<RunSettings> told_ways(const SamplingOptions& wish) {
  std::vector<RunSettings> ways;
  if (wish.temperature == 0) {
    return ways;
  }
  ways.emplace_back().temperature = 0;
  const bool tests = wish.top_p < 1 || wish.min_p > 0 || wish.top_k > 0;
  if (tests) {
    RunSettings& none = ways.emplace_back();
    none.top_p = 1;
    none.min_p = 0;
    none.top_k = 0;
  } else {
    constexpr int kFew = 40;
    ways.emplace_back().top_k = kFew;
  }
  if (wish.repetition_penalty != 1) {
    ways.emplace_back().repetition_penalty = 1;
  }
  return ways;
}

double predict_candidate(
    const PlannedModel& model,
    OptimizeCandidate& candidate,
    const MachineRates& rates,
    const OptimizeOptions& options,
    bool gpu) {
  const Workload& work = options.work;
  InferenceQuestion question;
  question.context_tokens = work.prompt_tokens + work.decode_tokens;
  question.gpu = gpu;
  question.card = computes_on_a_card();
  question.constants = options.constants;
  question.kv = candidate.settings.kv().resolve();
  const auto format = format_of(candidate.settings);
  const PlannedModel stored = format ? quantized(model, *format) : model;
  candidate.bits_per_weight = bits_per_weight(stored);
  candidate.predicted_bytes = predict_inference(stored, question).total();
  const SpeedPrediction speed =
      predict_speed(stored, question, work.prompt_tokens, rates);
  candidate.predicted_seconds =
      workload_seconds(work, speed.prefill, speed.decode);
  return workload_seconds(work, speed.prefill_roof, speed.decode_roof);
}

void predict_candidates(
    const PlannedModel& model,
    std::span<OptimizeCandidate> candidates,
    const MachineRates& rates,
    const OptimizeOptions& options,
    bool gpu) {
  std::vector<double> best_case;
  for (OptimizeCandidate& candidate : candidates) {
    best_case.push_back(
        predict_candidate(model, candidate, rates, options, gpu));
  }
  const auto& first = candidates.front();
  for (std::size_t i = 1; i < candidates.size(); ++i) {
    OptimizeCandidate& candidate = candidates[i];
    if (options.max_memory_bytes &&
        candidate.predicted_bytes > *options.max_memory_bytes) {
      candidate.dropped = "predicted to take more than --max-memory";
    } else if (
        options.goal == OptimizeGoal::speed && first.predicted_seconds > 0 &&
        best_case[i] > first.predicted_seconds) {
      candidate.dropped = "predicted to be slower than the defaults";
    }
  }
}

void drop_unmeasured(
    std::vector<OptimizeCandidate>& candidates,
    double most_kl) {
  // What 4 bits in groups of 64 lose of a 7B model by public measurements of
  // perplexity is about what the default of --min-quality allows.
  constexpr double kDefaultKl = 0.0513;
  constexpr int kCoarsest = 64;
  for (OptimizeCandidate& candidate : candidates) {
    const auto format = format_of(candidate.settings);
    const bool safe = !format || format->bits >= 8;
    if (!safe && candidate.dropped.empty() &&
        (most_kl < kDefaultKl - 1e-4 || format->group_size > kCoarsest)) {
      candidate.dropped = "may lose too much, and isn't measured";
    }
  }
}

std::optional<std::size_t> planned_choice(
    std::span<const OptimizeCandidate> candidates,
    OptimizeGoal goal) {
  std::optional<std::size_t> best;
  const auto mark = [&](const OptimizeCandidate& candidate) {
    switch (goal) {
      case OptimizeGoal::memory:
        return static_cast<double>(candidate.predicted_bytes);
      case OptimizeGoal::speed:
        return candidate.predicted_seconds;
      case OptimizeGoal::quality:
        break;
    }
    const auto format = format_of(candidate.settings);
    return format ? -format->bits_per_weight() : -16.0;
  };
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].dropped.empty() &&
        (!best || mark(candidates[i]) < mark(candidates[*best]))) {
      best = i;
    }
  }
  return best;
}

}  // namespace roofline
