#include "roofline/weights/convert/mlx_lm.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/weights/convert/mlx_lm_features.h"

namespace roofline {

namespace {

using F = MlxFeature;

constexpr std::string_view kVersion = "mlx-lm 0.32.2";

constexpr std::uint64_t bits_of(std::initializer_list<F> features) {
  std::uint64_t out = 0;
  for (const F each : features) {
    out |= std::uint64_t{1} << (static_cast<unsigned>(each) % 64);
  }
  return out;
}

/// Features past the 63rd have a word of their own.
struct Features {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  constexpr Features() = default;
  constexpr Features(std::initializer_list<F> features) {
    for (const F each : features) {
      (static_cast<unsigned>(each) < 64 ? low : high) |= bits_of({each});
    }
  }
  constexpr bool has(F each) const {
    const auto at = static_cast<unsigned>(each);
    return ((at < 64 ? low : high) >> (at % 64) & 1) != 0;
  }
  constexpr Features operator|(const Features& other) const {
    Features out = *this;
    out.low |= other.low;
    out.high |= other.high;
    return out;
  }
};

/// What any model has unless its row says otherwise.
constexpr Features kUsual = {
    F::windows_nowhere, F::unscaled_rope,    F::no_qkv_bias,
    F::no_output_bias,  F::no_dense_bias,    F::no_head_bias,
    F::tied_head,       F::own_head,         F::qk_norm,
    F::no_qk_norm,      F::wide_heads,       F::no_score_cap,
    F::no_logit_cap,    F::low_rank_queries, F::direct_queries,
    F::dense_first,     F::raw_weights,      F::sum_of_weights,
    F::expert_groups,   F::shared_experts,   F::no_shared_experts,
    F::selection_bias,  F::conv_bias,        F::no_conv_bias,
};
constexpr Features kScalings = {
    F::linear_rope,
    F::dynamic_rope,
    F::llama3_rope,
    F::yarn_rope};
constexpr Features kBiases = {F::qkv_bias, F::output_bias};
constexpr Features kPartial = {F::partial_rotation, F::other_rotation};
constexpr Features kListedWindows = {F::windows, F::uneven_windows};
constexpr Features kRecurrence = {F::input_bias, F::recurrence_bias};
constexpr Features kNeedsBiases = {F::no_qkv_bias, F::no_output_bias};

struct MlxLmModel {
  std::string_view model_type;
  Features takes = {};   ///< beside what is usual
  Features misses = {};  ///< of what is usual
  /// Why it can't load any folder of this family; empty: it can.
  std::string_view unknown = {};
};

constexpr std::string_view kNoFamily = "has no such family";

/// Sorted by name.
const std::array kModels = {
    MlxLmModel{"apertus", kScalings | Features{F::odd_hidden}, {F::wide_heads}},
    MlxLmModel{"arcee", {}, {}, kNoFamily},
    MlxLmModel{"bitnet", {}, {}, "takes packed ternary weights only"},
    MlxLmModel{"cohere", kBiases | Features{F::qk_norm_by_head}, {F::own_head}},
    MlxLmModel{
        "cohere2",
        kBiases | Features{F::windows, F::layers_without_rope},
        {F::own_head, F::wide_heads, F::windows_nowhere}},
    MlxLmModel{
        "deepseek_v2",
        kBiases | Features{F::yarn_rope},
        {F::unscaled_rope, F::tied_head, F::sum_of_weights}},
    MlxLmModel{"deepseek_v3", kBiases | kScalings, {F::tied_head}},
    MlxLmModel{"dots1", kScalings},
    MlxLmModel{"ernie4_5", kBiases | Features{F::dense_bias}},
    MlxLmModel{
        "ernie4_5_moe",
        kBiases | Features{F::dense_bias},
        {F::selection_bias}},
    MlxLmModel{
        "exaone4",
        kScalings | kListedWindows | Features{F::layers_without_rope}},
    MlxLmModel{
        "falcon_h1",
        kBiases | kScalings | kRecurrence |
            Features{F::dense_bias, F::no_recurrent_norm, F::norm_before_gate}},
    MlxLmModel{"gemma", {}, {F::own_head}},
    MlxLmModel{
        "gemma2",
        {F::score_scale, F::score_cap, F::logit_cap},
        {F::own_head, F::no_score_cap, F::no_logit_cap}},
    MlxLmModel{
        "gemma3_text",
        {F::windows, F::bases_of_windows, F::linear_rope, F::score_scale},
        {F::windows_nowhere}},
    MlxLmModel{
        "gemma3n_text",
        kListedWindows |
            Features{F::bases_of_windows, F::score_scale, F::logit_cap}},
    MlxLmModel{
        "gemma4_text",
        kListedWindows |
            Features{
                F::bases_of_windows,
                F::score_scale,
                F::logit_cap,
                F::wide_shared_kv,
                F::keys_as_values,
                F::dense_only}},
    MlxLmModel{"glm", {F::qkv_bias}},
    MlxLmModel{"glm4", kPartial | Features{F::qkv_bias}},
    MlxLmModel{"glm4_moe", kPartial | Features{F::qkv_bias}},
    MlxLmModel{
        "gpt2",
        kBiases | Features{F::dense_bias, F::layers_without_rope},
        {F::own_head}},
    MlxLmModel{
        "gpt_neox",
        kBiases | kPartial | Features{F::dense_bias, F::parallel_parts},
        kNeedsBiases},
    MlxLmModel{
        "gpt_oss",
        kBiases | kScalings | kListedWindows,
        kNeedsBiases | Features{F::tied_head, F::windows_nowhere}},
    MlxLmModel{
        "granite",
        kBiases | kScalings | Features{F::dense_bias, F::score_scale}},
    MlxLmModel{"granitemoe", kBiases | kScalings | Features{F::score_scale}},
    MlxLmModel{
        "granitemoehybrid",
        kBiases | kRecurrence |
            Features{
                F::score_scale,
                F::dense_only,
                F::layers_without_rope,
                F::uneven_recurrence,
                F::recurrence_only,
                F::attention_only}},
    MlxLmModel{"helium", {F::qkv_bias, F::dense_bias}, {F::tied_head}},
    MlxLmModel{"hunyuan_v1_dense", kBiases | Features{F::stretched_base}},
    MlxLmModel{"kimi_k2", kBiases | kScalings, {F::tied_head}},
    MlxLmModel{
        "lfm2",
        kRecurrence | Features{F::uneven_recurrence},
        {F::own_head}},
    MlxLmModel{
        "lfm2_moe",
        kRecurrence | Features{F::uneven_recurrence},
        {F::own_head}},
    MlxLmModel{"llama", kBiases | kScalings | Features{F::dense_bias}},
    MlxLmModel{
        "mamba2",
        kRecurrence |
            Features{F::step_bounds, F::uneven_recurrence, F::recurrence_only}},
    MlxLmModel{"minimax", kPartial},
    MlxLmModel{"minimax_m2", kPartial},
    MlxLmModel{"ministral", {}, {}, kNoFamily},
    MlxLmModel{
        "ministral3",
        kScalings | kListedWindows | Features{F::growing_queries}},
    MlxLmModel{"mistral", kBiases | kScalings | Features{F::dense_bias}},
    MlxLmModel{"mixtral", {}, {F::wide_heads}},
    MlxLmModel{
        "nemotron",
        kBiases | kPartial |
            Features{F::dense_bias, F::odd_hidden, F::linear_rope}},
    MlxLmModel{
        "nemotron_h",
        kBiases | kRecurrence |
            Features{
                F::dense_bias,
                F::odd_hidden,
                F::layers_without_rope,
                F::latent_experts,
                F::dense_only,
                F::norm_by_group,
                F::step_bounds,
                F::uneven_recurrence}},
    MlxLmModel{
        "olmo",
        {},
        {},
        "has this family's older form only, under other names"},
    MlxLmModel{"olmo2", kBiases | kScalings},
    MlxLmModel{
        "olmo3",
        kBiases | kScalings | kListedWindows,
        {F::windows_nowhere}},
    MlxLmModel{"olmoe", kBiases | kScalings},
    MlxLmModel{
        "phi",
        kBiases | kPartial |
            Features{F::dense_bias, F::head_bias, F::odd_hidden},
        kNeedsBiases | Features{F::tied_head, F::qk_norm, F::no_head_bias}},
    MlxLmModel{"phi3", kPartial | Features{F::linear_rope}},
    MlxLmModel{"phimoe", kBiases | Features{F::head_bias}, {F::tied_head}},
    MlxLmModel{"qwen2", kScalings | Features{F::qkv_bias}, {F::no_qkv_bias}},
    MlxLmModel{
        "qwen2_moe",
        {F::qkv_bias, F::linear_rope},
        {F::no_qkv_bias, F::sum_of_weights, F::dense_first}},
    MlxLmModel{"qwen3", kScalings},
    MlxLmModel{"qwen3_5_moe_text", kPartial | kBiases},
    MlxLmModel{"qwen3_5_text", kPartial | kBiases},
    MlxLmModel{"qwen3_moe", {F::dense_elsewhere}},
    MlxLmModel{"qwen3_next", kPartial | kBiases | Features{F::dense_elsewhere}},
    MlxLmModel{"seed_oss", kBiases | kScalings | Features{F::dense_bias}},
    MlxLmModel{
        "smollm3",
        kBiases | kScalings | kListedWindows |
            Features{F::dense_bias, F::layers_without_rope}},
    MlxLmModel{
        "stablelm",
        kPartial |
            Features{
                F::qkv_bias,
                F::qk_norm_by_head,
                F::parallel_parts,
                F::serial_parts}},
    MlxLmModel{
        "starcoder2",
        kBiases | Features{F::dense_bias, F::odd_hidden},
        kNeedsBiases},
};

}  // namespace

std::string unlike_in_mlx_lm(
    const ModelSpec& spec,
    const nlohmann::json& config) {
  const std::string family = language_family(config);
  const auto model =
      std::find_if(kModels.begin(), kModels.end(), [&](const MlxLmModel& each) {
        return each.model_type == family;
      });
  if (model == kModels.end()) {
    return "";
  }
  if (!model->unknown.empty()) {
    return fmt::format(
        "{} can't load this folder: it {} ({}). Roofline reads it",
        kVersion,
        model->unknown,
        family);
  }
  const Features all = kUsual | model->takes;
  std::vector<std::string_view> lacks;
  for (const F each : mlx_features(spec, config)) {
    if (!all.has(each) || model->misses.has(each)) {
      lacks.push_back(words_of(each));
    }
  }
  if (lacks.empty()) {
    return "";
  }
  return fmt::format(
      "{} doesn't have in {}: {}. It refuses this folder or computes it "
      "otherwise; Roofline reads it as meant",
      kVersion,
      family,
      fmt::join(lacks, "; "));
}

}  // namespace roofline
