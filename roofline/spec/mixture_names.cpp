#include "roofline/spec/mixture_names.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "roofline/spec/families.h"

namespace roofline {

namespace {

enum class Form {
  whole,
  packed,         ///< gate and up of each expert
  stack,          ///< of one matrix of each expert
  packed_shared,  ///< gate and up of the shared expert
};

struct ExpertRow {
  std::string_view pattern;  ///< "#" stands for an expert's number
  std::string_view target;
  Form form = Form::whole;
};

// After "mlp.", "mixer.", "block_sparse_moe." or "feed_forward.".
constexpr std::array kExpertHf = {
    ExpertRow{"gate", "router"},
    ExpertRow{"router", "router"},
    ExpertRow{"router.layer", "router"},
    ExpertRow{"e_score_correction_bias", "router.selection"},
    ExpertRow{"expert_bias", "router.selection"},
    ExpertRow{"gate.e_score_correction_bias", "router.selection"},
    ExpertRow{"moe_statics.e_score_correction_bias", "router.selection"},
    ExpertRow{"gate.moe_statics.e_score_correction_bias", "router.selection"},
    ExpertRow{"experts.#.gate_proj", "experts.#.gate"},
    ExpertRow{"experts.#.up_proj", "experts.#.up"},
    ExpertRow{"experts.#.down_proj", "experts.#.down"},
    ExpertRow{"experts.#.w1", "experts.#.gate"},
    ExpertRow{"experts.#.w3", "experts.#.up"},
    ExpertRow{"experts.#.w2", "experts.#.down"},
    ExpertRow{"experts.gate_up_proj", "gate_up", Form::packed},
    ExpertRow{"experts.gate_up_proj_bias", "experts.gate_up.bias"},
    ExpertRow{"experts.gate_up_proj_blocks", "experts.gate_up"},
    ExpertRow{"experts.down_proj_bias", "experts.down.bias"},
    ExpertRow{"experts.down_proj_blocks", "experts.down"},
    ExpertRow{"experts.gate_proj", "experts.gate"},
    ExpertRow{"experts.up_proj", "experts.up"},
    ExpertRow{"experts.down_proj", "down", Form::stack},
    ExpertRow{"input_linear", "", Form::packed},
    ExpertRow{"output_linear", "experts.down"},
    ExpertRow{"switch_mlp.gate_proj", "experts.gate"},
    ExpertRow{"switch_mlp.up_proj", "experts.up"},
    ExpertRow{"switch_mlp.down_proj", "experts.down"},
    ExpertRow{"switch_mlp.fc1", "experts.up"},
    ExpertRow{"switch_mlp.fc2", "experts.down"},
    ExpertRow{"fc1_latent_proj", "latent_in"},
    ExpertRow{"fc2_latent_proj", "latent_out"},
    ExpertRow{"shared_expert.gate_proj", "shared.gate"},
    ExpertRow{"shared_expert.up_proj", "shared.up"},
    ExpertRow{"shared_expert.down_proj", "shared.down"},
    ExpertRow{"shared_experts.gate_proj", "shared.gate"},
    ExpertRow{"shared_experts.up_proj", "shared.up"},
    ExpertRow{"shared_experts.down_proj", "shared.down"},
    ExpertRow{"shared_expert_gate", "shared.weigh"},
};

// Beside a dense part, which has those names.
constexpr std::array kExpertHfLayer = {
    ExpertRow{"router.proj", "router"},
    ExpertRow{"router.scale", "router.input_scale"},
    ExpertRow{"router.per_expert_scale", "router.expert_scale"},
    ExpertRow{"experts.gate_up_proj", "", Form::packed},
    ExpertRow{"experts.down_proj", "experts.down"},
    ExpertRow{"experts.#.gate_proj", "experts.#.gate"},
    ExpertRow{"experts.#.up_proj", "experts.#.up"},
    ExpertRow{"experts.#.down_proj", "experts.#.down"},
    ExpertRow{"experts.switch_glu.gate_proj", "experts.gate"},
    ExpertRow{"experts.switch_glu.up_proj", "experts.up"},
    ExpertRow{"experts.switch_glu.down_proj", "experts.down"},
    ExpertRow{"post_feedforward_layernorm_1", "dense_post_norm"},
    ExpertRow{"pre_feedforward_layernorm_2", "mixture_norm"},
    ExpertRow{"post_feedforward_layernorm_2", "mixture_post_norm"},
    ExpertRow{"shared_mlp.input_linear", "", Form::packed_shared},
    ExpertRow{"shared_mlp.output_linear", "shared.down"},
};

constexpr std::array kExpertGguf = {
    ExpertRow{"ffn_gate_inp", "router"},
    ExpertRow{"ffn_gate_inp.scale", "router.input_scale"},
    ExpertRow{"ffn_down_exps.scale", "router.expert_scale"},
    ExpertRow{"post_ffw_norm_1", "dense_post_norm"},
    ExpertRow{"pre_ffw_norm_2", "mixture_norm"},
    ExpertRow{"post_ffw_norm_2", "mixture_post_norm"},
    ExpertRow{"exp_probs_b", "router.selection"},
    ExpertRow{"ffn_latent_down", "latent_in"},
    ExpertRow{"ffn_latent_up", "latent_out"},
    ExpertRow{"ffn_gate_exps", "experts.gate"},
    ExpertRow{"ffn_up_exps", "experts.up"},
    ExpertRow{"ffn_down_exps", "experts.down"},
    ExpertRow{"ffn_gate_up_exps", "", Form::packed},
    ExpertRow{"ffn_gate.#", "experts.#.gate"},
    ExpertRow{"ffn_up.#", "experts.#.up"},
    ExpertRow{"ffn_down.#", "experts.#.down"},
    ExpertRow{"ffn_gate_shexp", "shared.gate"},
    ExpertRow{"ffn_up_shexp", "shared.up"},
    ExpertRow{"ffn_down_shexp", "shared.down"},
    ExpertRow{"ffn_gate_inp_shexp", "shared.weigh"},
};

constexpr std::array<std::string_view, 3> kProjections = {
    "gate_proj",
    "up_proj",
    "down_proj"};
constexpr std::array<std::string_view, 3> kNumbered = {"w1", "w3", "w2"};
constexpr std::array<std::string_view, 3> kLinears = {
    "input_linear.weight",
    "",
    "output_linear.weight"};
constexpr std::string_view kGateCorrection = "gate.e_score_correction_bias";

/// What several families share.
constexpr HfMixtureNames kApart{
    .part = "mlp.",
    .router = "gate",
    .expert = kProjections,
};
constexpr HfMixtureNames kCorrected{
    .part = "mlp.",
    .router = "gate",
    .selection = kGateCorrection,
    .expert = kProjections,
    .shared = "shared_experts.",
};
constexpr HfMixtureNames kNumberedApart{
    .part = "block_sparse_moe.",
    .router = "gate",
    .expert = kNumbered,
};
constexpr HfMixtureNames kQwenShared{
    .part = "mlp.",
    .router = "gate",
    .expert = kProjections,
    .shared = "shared_expert.",
    .weigh = "shared_expert_gate",
};

constexpr HfMixtureNames of(std::string_view family, HfMixtureNames names) {
  names.family = family;
  return names;
}

constexpr std::array kHfFamilies = {
    HfMixtureNames{
        .family = "deepseek_v2",
        .part = "mlp.",
        .router = "gate",
        .expert = kProjections,
        .shared = "shared_experts.",
    },
    of("deepseek_v3", kCorrected),
    of("dots1", kCorrected),
    HfMixtureNames{
        .family = "ernie4_5_moe",
        .part = "mlp.",
        .router = "gate",
        .selection = "moe_statics.e_score_correction_bias",
        .expert = kProjections,
        .shared = "shared_experts.",
        .selection_row = true,
    },
    HfMixtureNames{
        .family = "gemma4_text",
        .part = "",
        .router = "",
        .expert = {"experts.gate_up_proj", "", "experts.down_proj"},
        .stack = HfMixtureNames::kPacked},
    of("glm4_moe", kCorrected),
    HfMixtureNames{
        .family = "gpt_oss",
        .part = "mlp.",
        .router = "router",
        .expert = kProjections,
        .stack = "experts.",
    },
    HfMixtureNames{
        .family = "granitemoe",
        .part = "block_sparse_moe.",
        .router = "router.layer",
        .expert = kLinears,
        .stack = HfMixtureNames::kPacked,
    },
    HfMixtureNames{
        .family = "granitemoehybrid",
        .part = "block_sparse_moe.",
        .router = "router.layer",
        .expert = kLinears,
        .stack = HfMixtureNames::kPacked,
        .shared_outside = true,
    },
    HfMixtureNames{
        .family = "lfm2_moe",
        .part = "feed_forward.",
        .router = "gate",
        .selection = "expert_bias",
        .expert = kNumbered,
    },
    HfMixtureNames{
        .family = "minimax_m2",
        .part = "block_sparse_moe.",
        .router = "gate",
        .selection = "e_score_correction_bias",
        .expert = kNumbered,
    },
    of("mixtral", kNumberedApart),
    HfMixtureNames{
        .family = "nemotron_h",
        .part = "mixer.",
        .router = "gate",
        .selection = kGateCorrection,
        .expert = kProjections,
        .shared = "shared_experts.",
        .latent = {"fc1_latent_proj", "fc2_latent_proj"},
    },
    of("olmoe", kApart),
    of("phimoe", kNumberedApart),
    of("qwen2_moe", kQwenShared),
    of("qwen3_5_moe_text", kQwenShared),
    of("qwen3_moe", kApart),
    of("qwen3_next", kQwenShared),
};

constexpr std::array<std::string_view, 4> kParts = {
    "mixer.",
    "mlp.",
    "block_sparse_moe.",
    "feed_forward."};

constexpr std::string_view kSelection = "router.selection";

/// The number in the place of "#", -1 when there is no "#"; nullopt when the
/// pattern doesn't fit.
std::optional<int> match(std::string_view pattern, std::string_view name) {
  const std::size_t hash = pattern.find('#');
  if (hash == std::string_view::npos) {
    return pattern == name ? std::optional(-1) : std::nullopt;
  }
  const std::string_view end = pattern.substr(hash + 1);
  if (name.size() <= hash + end.size() ||
      name.substr(0, hash) != pattern.substr(0, hash) || !name.ends_with(end)) {
    return std::nullopt;
  }
  const std::string_view digits =
      name.substr(hash, name.size() - hash - end.size());
  int number = 0;
  const auto [stop, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool plain = digits.size() == 1 || digits[0] != '0';
  if (error != std::errc() || stop != digits.data() + digits.size() ||
      number < 0 || !plain) {
    return std::nullopt;
  }
  return number;
}

std::string in_place(std::string_view target, int number) {
  std::string out(target);
  const std::size_t hash = out.find('#');
  return hash == std::string::npos
             ? out
             : out.replace(hash, 1, std::to_string(number));
}

/// Rows of each expert's gate and up: [expert, gate then up, in].
std::vector<NamedRows> split_packed(const MixtureSpec& m) {
  std::vector<NamedRows> out;
  const std::int64_t hidden = m.expert_hidden;
  for (int e = 0; e < m.experts; ++e) {
    const std::int64_t begin = 2 * hidden * e;
    out.push_back({fmt::format("experts.{}.gate", e), begin, hidden});
    out.push_back({fmt::format("experts.{}.up", e), begin + hidden, hidden});
  }
  return out;
}

std::vector<NamedRows> split_shared(const MixtureSpec& m) {
  return {
      {"shared.gate", 0, m.shared_hidden},
      {"shared.up", m.shared_hidden, m.shared_hidden}};
}

template <std::size_t N>
std::optional<std::vector<NamedRows>> find_in(
    const std::array<ExpertRow, N>& rows,
    std::string_view name,
    const MixtureSpec& mixture,
    bool transposed) {
  for (const ExpertRow& row : rows) {
    const std::optional<int> number = match(row.pattern, name);
    if (!number || *number >= mixture.experts) {
      continue;
    }
    const bool stack = row.form == Form::packed || row.form == Form::stack;
    if (stack && transposed && !row.target.empty()) {
      const std::string name = fmt::format("experts.transposed.{}", row.target);
      return std::vector<NamedRows>{{name, 0, 0}};
    }
    switch (row.form) {
      case Form::packed:
        return split_packed(mixture);
      case Form::stack:
        return std::vector<NamedRows>{
            {fmt::format("experts.{}", row.target), 0, 0}};
      case Form::packed_shared:
        return split_shared(mixture);
      case Form::whole:
        return std::vector<NamedRows>{{in_place(row.target, *number), 0, 0}};
    }
  }
  return std::nullopt;
}

std::optional<std::vector<NamedRows>> find_hf(
    std::string_view rest,
    const MixtureSpec& mixture,
    bool beside_dense,
    bool transposed) {
  for (std::string_view part : kParts) {
    if (rest.starts_with(part) && !beside_dense) {
      return find_in(kExpertHf, rest.substr(part.size()), mixture, transposed);
    }
  }
  return find_in(kExpertHfLayer, rest, mixture, false);
}

}  // namespace

std::optional<std::vector<NamedRows>> map_mixture_name(
    std::string_view rest,
    NameStyle style,
    const LayerSpec& layer,
    std::string_view family,
    bool& bias) {
  if (!layer.feed_forward || !layer.feed_forward->mixture) {
    return std::nullopt;
  }
  const MixtureSpec& mixture = *layer.feed_forward->mixture;
  const Family* row = find_family(family);
  const bool transposed = row && row->mixture && row->mixture->interleaved;
  const bool beside_dense = layer.feed_forward->mixture_beside_dense;
  auto out = style == NameStyle::gguf
                 ? find_in(kExpertGguf, rest, mixture, false)
                 : find_hf(rest, mixture, beside_dense, transposed);
  if (!out) {
    return std::nullopt;
  }
  for (NamedRows& part : *out) {
    if (part.name == kSelection) {
      bias = false;
    }
    part.name = "feed_forward." + part.name;
  }
  return out;
}

const HfMixtureNames* hf_mixture_names(std::string_view family) {
  const auto found = std::find_if(
      kHfFamilies.begin(),
      kHfFamilies.end(),
      [&](const HfMixtureNames& names) { return names.family == family; });
  return found == kHfFamilies.end() ? nullptr : &*found;
}

std::string_view gguf_mixture_name(std::string_view ours) {
  const auto found = std::find_if(
      kExpertGguf.begin(),
      kExpertGguf.end(),
      [&](const ExpertRow& row) {
        return row.form == Form::whole && row.target == ours;
      });
  return found == kExpertGguf.end() ? "" : found->pattern;
}

}  // namespace roofline
