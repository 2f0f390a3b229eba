#include "roofline/weights/convert/mlx_layout.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/language_config.h"
#include "roofline/weights/convert/expert_rows.h"
#include "roofline/weights/convert/mlx_layouts.h"
#include "roofline/weights/convert/mlx_values.h"

namespace roofline {

namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
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
    const MlxLayout& layout,
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
  const MlxLayout& layout = mlx_layout_of(config);
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
  return (mlx_layout_of(config).rules & kNormPlusOne) != 0 &&
         std::any_of(tensors.begin(), tensors.end(), is_unturned_convolution);
}

}  // namespace roofline
