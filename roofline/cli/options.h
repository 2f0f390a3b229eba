// The options that several commands share, as values: which model and how it
// runs, how tokens are drawn, when an answer ends. Each struct declares its
// options and turns what was parsed into the libraries' own option structs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "roofline/cli/draft_flags.h"
#include "roofline/decode/generate.h"
#include "roofline/model/decoder.h"
#include "roofline/plan/planned_model.h"
#include "roofline/plan/settings.h"
#include "roofline/weights/random_checkpoint.h"

namespace roofline::cli {

class App;

/// --device, --threads, --exact, --no-cache.
struct DeviceFlags {
  std::string device = "auto";
  std::optional<int> threads;
  bool exact = false;
  bool no_cache = false;

  void declare(App& app);
  /// Sets the number of threads and checks the names. Throws UserError.
  ModelOptions resolve() const;
};

/// --quant, --group-size.
struct QuantFlags {
  std::optional<std::string> quant;  ///< absent: none
  std::optional<int> group_size;
  std::optional<std::string> eight_bit = {};  ///< parts, comma between

  void declare(App& app);
  /// nullopt: leave the weights as they are. Throws UserError.
  std::optional<QuantizeChoice> resolve() const;
};

/// --kv-bits, --k-bits, --v-bits, --kv-group-size, --kv-keep-full.
struct KvFlags {
  KvChoice choice;

  void declare(App& app);
  /// Throws UserError.
  KvFormat resolve() const { return choice.resolve(); }
};

/// What a choice means to the planner and to random weights.
WeightFormat weight_format(const QuantizeChoice& choice);
RandomFormat random_format(const QuantizeChoice& choice);

/// The sampling options. What is absent comes from the preset, or else from
/// SamplingOptions' defaults.
struct SamplingFlags {
  std::optional<std::string> preset;
  std::optional<float> temperature, top_p, min_p, typical_p;
  std::optional<int> top_k, penalty_window, logprobs;
  std::optional<float> xtc_probability, xtc_threshold;
  std::optional<float> repetition, presence, frequency;
  std::optional<float> dry_multiplier, dry_base;
  std::optional<int> dry_allowed_length, dry_window;
  std::vector<std::string> dry_breakers, logit_bias;
  std::optional<std::uint64_t> seed;

  void declare(App& app);
  /// Checked by validate(). Throws UserError.
  SamplingOptions resolve() const;
  /// Those of `settings` that weren't given.
  void fill(const RunSettings& settings);

 private:
  void declare_penalties(App& app);
};

/// When an answer ends, and what happens when the context does.
struct LengthFlags {
  std::optional<int> max_tokens;
  int min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  std::vector<int> stop_tokens;
  std::optional<int> max_kv;
  std::string overflow = "error";
  std::optional<int> prompt_lookup;  ///< absent: 0, off

  void declare(App& app);
  /// Fills everything of GenerateOptions but the sampling. Throws UserError.
  void apply(GenerateOptions& options) const;
};

/// --settings, --no-settings.
struct SettingsFlags {
  std::string file;
  bool none = false;

  void declare(App& app);
  /// The file's, else this model's default ones (optimize --apply), else empty.
  /// model: what resolve_model() takes. Sets source. Throws UserError.
  RunSettings read(const std::string& model);

  std::string source;  ///< the file that was read; empty: none
};

/// All that generate and chat share, resolved and checked.
struct AnswerFlags {
  DeviceFlags device;
  QuantFlags quant;
  KvFlags kv;
  SamplingFlags sampling;
  LengthFlags length;
  DraftFlags draft;
  SettingsFlags settings;
  std::optional<int> prefill_step;

  void declare(App& app);
  /// Fills what wasn't given from the settings, an empty model too, and makes
  /// their instruction set and memory limits the process's own: call it first.
  /// Returns a line that tells so, or nothing. Throws UserError.
  std::string take_settings(std::string& model);
  ModelOptions model_options() const;
  GenerateOptions generate_options() const;
};

/// "42=-1.5" → {42, -1.5}. Throws UserError.
std::pair<std::int32_t, float> parse_logit_bias(const std::string& text);

/// Replaces \n, \t, \r, \" and \\ by what they stand for; anything else after
/// a backslash stays as it is.
std::string unescape(const std::string& text);

}  // namespace roofline::cli
