#include "roofline/weights/convert/mlx_layout.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/language_config.h"
#include "roofline/weights/convert/expert_rows.h"
#include "roofline/weights/convert/mlx_values.h"

namespace roofline {

namespace {

/// What is done to a family's weights, beyond dropping rotary buffers and a
/// tied head. Bits.
enum Rule : unsigned {
  kSameNames = 0,
  kStackExperts = 1,      ///< experts.E.X → switch_mlp.X, [experts, out, in]
  kTurnConvolutions = 2,  ///< [channels, 1, width] → [channels, width, 1]
  kNormPlusOne = 4,       ///< norm weights are stored as 1 + w
  kSplitExpertInput = 8,  ///< input_linear holds gate and up of all experts
  kTurnedLinears = 16,    ///< c_attn, c_proj and c_fc are [in, out]
  kModelPrefix = 32,      ///< names begin with "model."
  kDropPrediction = 64,   ///< layers that predict further tokens
  kLanguageModel = 128,   ///< names begin with "language_model."
  kSplitLatent = 256,     ///< kv_b_proj → embed_q and unembed_out, by head
  kNeoxNames = 512,       ///< gpt_neox.layers → model.h
  kInnerModel = 1024,     ///< names begin with "model.language_model."
  kFoldFactors = 2048,    ///< the config's multipliers go into the weights
  kDropSharedKv = 4096,   ///< layers that read others' keys have none
  kTurnedExperts = 8192,  ///< experts are [in, out], gate and up in turns
  kLetterNames = 16384,   ///< w1, w2, w3 → gate_proj, down_proj, up_proj
  kFusedDense = 32768,    ///< shared_mlp.input_linear, where no experts are
};

struct Layout {
  std::string_view model_type;
  unsigned rules = kSameNames;
  ExpertNames experts = {};
};

constexpr unsigned kQwen3Next =
    kStackExperts | kTurnConvolutions | kNormPlusOne | kDropPrediction;

constexpr std::array kLayouts = {
    Layout{"apertus"},
    Layout{"arcee"},
    Layout{"bitnet"},
    Layout{"cohere"},
    Layout{"cohere2"},
    Layout{"deepseek_v2", kStackExperts},
    Layout{"deepseek_v3", kStackExperts | kSplitLatent | kDropPrediction},
    Layout{"dots1", kStackExperts, {.folder = "experts."}},
    Layout{"ernie4_5"},
    Layout{"ernie4_5_moe", kStackExperts | kDropPrediction},
    Layout{"exaone4"},
    Layout{"falcon_h1", kFoldFactors | kTurnConvolutions},
    Layout{"gemma"},
    Layout{"gemma2"},
    Layout{"gemma3", kLanguageModel},
    Layout{"gemma3_text"},
    Layout{"gemma3n", kInnerModel},
    Layout{"gemma3n_text", kInnerModel},
    Layout{
        "gemma4",
        kStackExperts | kLanguageModel | kDropSharedKv,
        {.folder = "experts.switch_glu."}},
    Layout{
        "gemma4_text",
        kStackExperts | kDropSharedKv,
        {.folder = "experts.switch_glu."}},
    Layout{"glm"},
    Layout{"glm4"},
    Layout{"glm4_moe", kStackExperts | kDropPrediction},
    Layout{"gpt2", kTurnedLinears | kModelPrefix},
    Layout{"gpt_neox", kNeoxNames},
    Layout{"gpt_oss", kTurnedExperts},
    Layout{"granite"},
    Layout{"granitemoe", kSplitExpertInput},
    Layout{
        "granitemoehybrid",
        kSplitExpertInput | kFusedDense | kTurnConvolutions},
    Layout{"helium"},
    Layout{"hunyuan_v1_dense"},
    Layout{"kimi_k2", kStackExperts | kSplitLatent | kDropPrediction},
    Layout{"lfm2", kTurnConvolutions},
    Layout{"lfm2_moe", kStackExperts | kTurnConvolutions | kLetterNames},
    Layout{"llama"},
    Layout{"mamba2", kTurnConvolutions},
    Layout{"minimax", kStackExperts},
    Layout{"minimax_m2", kStackExperts},
    Layout{"ministral"},
    Layout{"ministral3"},
    Layout{"mistral"},
    Layout{"mistral3", kLanguageModel},
    Layout{"mixtral", kStackExperts},
    Layout{"nemotron"},
    Layout{
        "nemotron_h",
        kStackExperts | kTurnConvolutions | kDropPrediction,
        {.numbered = true}},
    Layout{"olmo"},
    Layout{"olmo2"},
    Layout{"olmo3"},
    Layout{"olmoe", kStackExperts},
    Layout{"phi"},
    Layout{"phi3"},
    Layout{"phimoe", kStackExperts},
    Layout{"qwen2"},
    Layout{"qwen2_moe", kStackExperts},
    Layout{"qwen3"},
    Layout{"qwen3_5", kQwen3Next | kLanguageModel},
    Layout{"qwen3_5_moe", kQwen3Next | kLanguageModel},
    Layout{"qwen3_5_moe_text", kQwen3Next | kLanguageModel},
    Layout{"qwen3_5_text", kQwen3Next | kLanguageModel},
    Layout{"qwen3_moe", kStackExperts},
    Layout{"qwen3_next", kQwen3Next},
    Layout{"seed_oss"},
    Layout{"smollm3"},
    Layout{"stablelm"},
    Layout{"starcoder2"},
};

static_assert(std::is_sorted(
    kLayouts.begin(),
    kLayouts.end(),
    [](const Layout& a, const Layout& b) {
      return a.model_type < b.model_type;
    }));

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

const Layout* find_layout(std::string_view type) {
  for (const Layout& layout : kLayouts) {
    if (layout.model_type == type) {
      return &layout;
    }
  }
  return nullptr;
}

const Layout& layout_of(const nlohmann::json& config) {
  const std::string type = config.value("model_type", std::string());
  const Layout* layout = find_layout(type);
  if (layout == nullptr) {
    const std::vector<std::string> known = mlx_layout_families();
    fail<UnsupportedError>(
        fmt::format("Can't write \"{}\" in MLX layout", type),
        fmt::format("The layouts known are {}", fmt::join(known, ", ")),
        did_you_mean(type, known));
  }
  return *layout;
}

/// The number in "….layers.12.…"; nullopt where there is none.
std::optional<int> layer_in(std::string_view name) {
  constexpr std::string_view kLayers = "layers.";
  const std::size_t at = name.find(kLayers);
  int layer = 0;
  if (at == std::string_view::npos) {
    return std::nullopt;
  }
  name.remove_prefix(at + kLayers.size());
  const auto [stop, error] =
      std::from_chars(name.data(), name.data() + name.size(), layer);
  return error == std::errc() ? std::optional(layer) : std::nullopt;
}

/// A layer past the model's own, or under "mtp.".
bool is_prediction(std::string_view name, const nlohmann::json& config) {
  if (contains(name, "mtp.")) {
    return true;
  }
  const std::int64_t layers =
      whole_number(language_config(config), "num_hidden_layers");
  return layers > 0 && layer_in(name).value_or(-1) >= layers;
}

bool is_kv(std::string_view name) {
  return contains(name, ".self_attn.k_proj") ||
         contains(name, ".self_attn.v_proj") ||
         contains(name, ".self_attn.k_norm");
}

/// Keys or values of a layer that takes another's.
bool is_shared_kv(std::string_view name, const nlohmann::json& config) {
  const nlohmann::json& text = language_config(config);
  const std::int64_t own = whole_number(text, "num_hidden_layers") -
                           whole_number(text, "num_kv_shared_layers");
  return is_kv(name) && layer_in(name).value_or(-1) >= own;
}

bool is_dropped(
    const RowTensor& tensor,
    unsigned rules,
    const nlohmann::json& config,
    bool tied) {
  const std::string_view name = tensor.name;
  constexpr std::array<std::string_view, 9> kOthers = {
      "rotary_emb.inv_freq",
      "vision_tower.",
      "vision_model.",
      "vision_embedder.",
      "multi_modal_projector.",
      "audio_tower.",
      "embed_audio.",
      "embed_vision.",
      "model.visual."};
  if (std::any_of(kOthers.begin(), kOthers.end(), [&](auto part) {
        return contains(name, part);
      })) {
    return true;
  }
  if (tied && name.ends_with("lm_head.weight")) {
    return true;
  }
  const bool masks = (rules & (kTurnedLinears | kNeoxNames)) != 0;
  if (masks &&
      (name.ends_with(".attn.bias") || name.ends_with(".attention.bias") ||
       name.ends_with("masked_bias"))) {
    return true;
  }
  if ((rules & kDropSharedKv) != 0 && is_shared_kv(name, config)) {
    return true;
  }
  return (rules & kDropPrediction) != 0 && is_prediction(name, config);
}

std::string replaced(
    std::string text,
    std::string_view from,
    std::string_view to) {
  const std::size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// Of the three ways in which the language part of a multimodal checkpoint has
/// been named, MLX's.
std::string language_model_name(const std::string& name) {
  constexpr std::string_view kNew = "model.language_model.";
  if (name.starts_with(kNew)) {
    return "language_model.model." + name.substr(kNew.size());
  }
  return name.starts_with("language_model.") ? name : "language_model." + name;
}

std::string inner_model_name(const std::string& name) {
  constexpr std::string_view kPlain = "model.";
  constexpr std::string_view kInner = "model.language_model.";
  return name.starts_with(kInner) || !name.starts_with(kPlain)
             ? name
             : std::string(kInner) + name.substr(kPlain.size());
}

std::string neox_name(const std::string& name) {
  if (name == "lm_head.weight") {
    return "model.embed_out.weight";
  }
  if (name.starts_with("gpt_neox.layers.")) {
    return replaced(name, "gpt_neox.layers.", "model.h.");
  }
  return name.starts_with("gpt_neox.") ? replaced(name, "gpt_neox.", "model.")
                                       : "model." + name;
}

std::string letters_spelt_out(std::string name) {
  for (const auto& [letter, word] :
       {std::pair{".w1.weight", ".gate_proj.weight"},
        std::pair{".w2.weight", ".down_proj.weight"},
        std::pair{".w3.weight", ".up_proj.weight"}}) {
    name = replaced(std::move(name), letter, word);
  }
  return name;
}

/// Names that transformers gives a family's modules since version 5, and those
/// before, which are MLX's.
struct NewName {
  std::string_view model_type, now, before;
};
constexpr std::array kNewNames = {
    NewName{"granitemoe", ".router.weight", ".router.layer.weight"},
    NewName{"granitemoehybrid", ".router.weight", ".router.layer.weight"},
    NewName{"minimax_m2", ".mlp.", ".block_sparse_moe."},
    NewName{"mixtral", ".mlp.", ".block_sparse_moe."},
    NewName{"nemotron_h", "model.embeddings.", "backbone.embeddings."},
    NewName{"nemotron_h", "model.layers.", "backbone.layers."},
    NewName{"nemotron_h", "model.norm_f.", "backbone.norm_f."},
    NewName{"phimoe", ".mlp.router.", ".block_sparse_moe.gate."},
    NewName{"phimoe", ".mlp.", ".block_sparse_moe."},
};

std::string with_older_names(std::string name, std::string_view model_type) {
  for (const NewName& each : kNewNames) {
    if (each.model_type == model_type) {
      name = replaced(std::move(name), each.now, each.before);
    }
  }
  return name;
}

std::string renamed(std::string name, unsigned rules) {
  if ((rules & kModelPrefix) != 0) {
    name = "model." + replaced(name, "transformer.", "");
  }
  if ((rules & kLanguageModel) != 0) {
    name = language_model_name(name);
  }
  if ((rules & kInnerModel) != 0) {
    name = inner_model_name(name);
  }
  if ((rules & kNeoxNames) != 0) {
    name = neox_name(name);
  }
  if ((rules & kLetterNames) != 0) {
    name = letters_spelt_out(std::move(name));
  }
  return name;
}

/// What one tensor becomes, names aside.
std::vector<RowTensor> taken_apart(
    const RowTensor& tensor,
    const Layout& layout,
    const nlohmann::json& config) {
  const unsigned rules = layout.rules;
  if ((rules & kStackExperts) != 0 && contains(tensor.name, ".experts.")) {
    return split_stacked_experts(tensor, layout.experts);
  }
  if ((rules & kTurnedExperts) != 0 && contains(tensor.name, ".experts.")) {
    return tensor.name.ends_with("_blocks") ? split_expert_blocks(tensor)
                                            : split_turned_experts(tensor);
  }
  const bool dense = (rules & kFusedDense) != 0 &&
                     whole_number(config, "num_local_experts") == 0;
  if (dense && contains(tensor.name, ".shared_mlp.")) {
    return split_input_linear(tensor, "shared_mlp.", "mlp.");
  }
  if ((rules & kSplitExpertInput) != 0 && contains(tensor.name, ".experts.")) {
    return split_stacked_experts(tensor, layout.experts);
  }
  if ((rules & kSplitExpertInput) != 0 && tensor.shape.size() == 3 &&
      contains(tensor.name, "put_linear.weight")) {
    return split_input_linear(tensor, "", "switch_mlp.");
  }
  if ((rules & kSplitLatent) != 0 &&
      tensor.name.ends_with("kv_b_proj.weight")) {
    return split_latent(tensor, config);
  }
  return {tensor};
}

/// The tensor with the values that MLX's layout has.
RowTensor revalued(
    RowTensor tensor,
    unsigned rules,
    const nlohmann::json& config) {
  if (((rules & kTurnedLinears) != 0 && is_turned_linear(tensor)) ||
      ((rules & kTurnConvolutions) != 0 && is_unturned_convolution(tensor))) {
    return turned(tensor);
  }
  if ((rules & kNormPlusOne) != 0 && is_shifted_norm(tensor)) {
    return plus_one(tensor);
  }
  return (rules & kFoldFactors) != 0 ? with_factors(tensor, config) : tensor;
}

/// Weights that mlx-lm or Roofline wrote have these names already.
bool is_mlx_layout(const std::vector<RowTensor>& tensors, unsigned rules) {
  return std::any_of(
      tensors.begin(),
      tensors.end(),
      [&](const RowTensor& tensor) {
        const std::string_view name = tensor.name;
        if ((rules & (kStackExperts | kSplitExpertInput)) != 0 &&
            contains(name, ".switch_mlp.")) {
          return true;
        }
        if ((rules & kTurnConvolutions) != 0 && tensor.shape.size() == 3 &&
            tensor.shape.back() == 1 && contains(name, "conv")) {
          return true;
        }
        if ((rules & kTurnedExperts) != 0 &&
            contains(name, ".experts.gate_proj.")) {
          return true;
        }
        return (rules & (kModelPrefix | kNeoxNames)) != 0 &&
               name.starts_with("model.");
      });
}

/// By a convolution's shape readers tell whether norms hold their one.
void require_convolution(
    const std::vector<RowTensor>& tensors,
    unsigned rules) {
  if ((rules & kNormPlusOne) == 0 ||
      std::any_of(tensors.begin(), tensors.end(), is_unturned_convolution)) {
    return;
  }
  fail<UnsupportedError>(
      "MLX's layout can't say what this model's norms hold",
      "Readers tell it by a convolution, and no layer has one",
      "Keep this checkpoint in the layout that it has");
}

/// mlx-lm asks for keys and values of layers that take another's, and doesn't
/// use them: those of the layer before stand there.
void fill_shared_kv(
    std::vector<RowTensor>& tensors,
    const nlohmann::json& config) {
  const nlohmann::json& text = language_config(config);
  const std::int64_t layers = whole_number(text, "num_hidden_layers");
  const std::int64_t own = layers - whole_number(text, "num_kv_shared_layers");
  std::set<std::string, std::less<>> names;
  std::vector<RowTensor> last;
  const std::string infix = fmt::format("layers.{}.", own - 1);
  for (const RowTensor& tensor : tensors) {
    names.insert(tensor.name);
    if (contains(tensor.name, infix) && is_kv(tensor.name)) {
      last.push_back(tensor);
    }
  }
  for (std::int64_t layer = own; layer < layers; ++layer) {
    for (RowTensor copy : last) {
      copy.name = replaced(copy.name, infix, fmt::format("layers.{}.", layer));
      if (!names.contains(copy.name)) {
        tensors.push_back(std::move(copy));
      }
    }
  }
}

/// mlx-lm has a head of its own in this family, tied or not.
void untie_neox(std::vector<RowTensor>& tensors) {
  const auto ends = [](std::string_view end) {
    return [end](const RowTensor& t) { return t.name.ends_with(end); };
  };
  const auto embed =
      std::find_if(tensors.begin(), tensors.end(), ends("embed_in.weight"));
  if (embed != tensors.end() &&
      std::none_of(tensors.begin(), tensors.end(), ends("embed_out.weight"))) {
    RowTensor head = *embed;
    head.name = "model.embed_out.weight";
    tensors.push_back(std::move(head));
  }
}

}  // namespace

std::vector<RowTensor> to_mlx_layout(
    std::vector<RowTensor> tensors,
    const nlohmann::json& config,
    bool tied) {
  const Layout& layout = layout_of(config);
  const unsigned rules = layout.rules;
  std::erase_if(tensors, [&](const RowTensor& tensor) {
    return is_dropped(tensor, rules, config, tied);
  });
  if (is_mlx_layout(tensors, rules)) {
    return tensors;
  }
  require_convolution(tensors, rules);
  if ((rules & kStackExperts) != 0) {
    tensors = stack_experts(std::move(tensors), layout.experts);
  }
  std::vector<RowTensor> out;
  for (const RowTensor& tensor : tensors) {
    for (RowTensor& part : taken_apart(tensor, layout, config)) {
      out.push_back(revalued(std::move(part), rules, config));
      out.back().name =
          renamed(with_older_names(out.back().name, layout.model_type), rules);
    }
  }
  if ((rules & kNeoxNames) != 0) {
    untie_neox(out);
  }
  if ((rules & kInnerModel) != 0) {
    fill_shared_kv(out, config);
  }
  return out;
}

bool mlx_layout_adds_ones(
    const std::vector<RowTensor>& tensors,
    const nlohmann::json& config) {
  return (layout_of(config).rules & kNormPlusOne) != 0 &&
         std::any_of(tensors.begin(), tensors.end(), is_unturned_convolution);
}

std::vector<std::string> mlx_layout_families() {
  std::vector<std::string> out;
  for (const Layout& layout : kLayouts) {
    out.emplace_back(layout.model_type);
  }
  return out;
}

bool mlx_layout_keeps_rows(std::string_view model_type) {
  const Layout* layout = find_layout(model_type);
  return layout != nullptr &&
         (layout->rules & (kSplitLatent | kFoldFactors | kTurnedExperts)) == 0;
}

}  // namespace roofline
