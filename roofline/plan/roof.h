// The roof: how fast a decode step could be if moving its bytes were all there
// is to do, and the one line of truth that says how near a run came to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "roofline/decode/generate.h"
#include "roofline/model/decoder.h"
#include "roofline/model/held_form.h"

namespace roofline {

/// What one decode step of one sequence must read.
struct StepBytes {
  std::size_t weights = 0;
  std::size_t kv = 0;
  std::size_t total() const { return weights + kv; }
};

/// Keys and values that a step reads when `depth` tokens are in the cache:
/// windowed layers read their window, a rotating cache at most max_kv_tokens.
/// bytes_per_value: of what isn't in codes.
std::size_t kv_bytes_at(
    const ModelSpec& spec,
    std::int64_t depth,
    std::size_t bytes_per_value = 2,
    std::optional<int> max_kv_tokens = std::nullopt,
    const KvFormat& format = {});

/// all_logits: as Decoder::step_weight_bytes.
StepBytes step_bytes(
    const Decoder& decoder,
    std::int64_t depth,
    std::optional<int> max_kv_tokens = std::nullopt,
    bool all_logits = true);

/// bandwidth / bytes; 0 when either is 0.
double roof_tokens_per_second(const StepBytes& bytes, double bandwidth);

/// What a run cost. Speeds are 0 where nothing was measured.
struct TruthLine {
  double load_seconds = 0;
  double first_token_seconds = 0;
  double prefill_tokens_per_second = 0;
  double decode_tokens_per_second = 0;
  std::size_t peak_bytes = 0;
  StepBytes step;  ///< at the answer's middle
  /// Whether a draft model was there, even if it never guessed.
  bool has_draft = false;
  int proposed_tokens = 0;  ///< looked up (GenerateOptions::prompt_lookup)
  int drafted_tokens = 0;   ///< guessed by a draft model
  int accepted_tokens = 0;  ///< of both, those that were drawn
  int accepted_drafts = 0;  ///< of these, the draft model's
  /// More than 1 when guessed tokens were checked several in a step.
  double tokens_per_step = 1;
  double bandwidth = 0;  ///< bytes a second, measured
  std::string device;
  /// What loading lost, where the kernels have no form for the stored codes.
  std::optional<RequantizationLoss> requantized;

  double roof() const;  ///< tokens a second
  /// Decode as a share of the roof, 1 = all of it. Absent when not measured.
  std::optional<double> share_of_roof() const;
  /// One line without a line break.
  std::string text() const;
  nlohmann::ordered_json json() const;
};

/// Gathers all of the line but the bandwidth. To measure a machine takes memory
/// too: do it after this, which reads the peak.
TruthLine make_truth_line(
    const Decoder& decoder,
    const GenerateStats& stats,
    double load_seconds,
    std::optional<int> max_kv_tokens = std::nullopt);

/// Whether MLX computes on a card with memory of its own (CUDA), not in the
/// system's.
bool computes_on_a_card();

/// The most memory this process held: resident on a CPU; on a card MLX's own
/// peak there; on a GPU that shares the system's memory the larger of the two.
std::size_t peak_memory_bytes();

}  // namespace roofline
