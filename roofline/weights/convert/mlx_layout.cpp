#include "roofline/weights/convert/mlx_layout.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mlx/ops.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"

namespace roofline {

namespace mx = mlx::core;

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
};

struct Layout {
  std::string_view model_type;
  unsigned rules = kSameNames;
};

constexpr std::array kLayouts = {
    Layout{"apertus"},
    Layout{"cohere"},
    Layout{"cohere2"},
    Layout{"dots1", kStackExperts},
    Layout{"ernie4_5"},
    Layout{"exaone4"},
    Layout{"gemma"},
    Layout{"gemma2"},
    Layout{"gemma3", kLanguageModel},
    Layout{"gemma3_text"},
    Layout{"glm"},
    Layout{"glm4"},
    Layout{"glm4_moe", kStackExperts | kDropPrediction},
    Layout{"gpt2", kTurnedLinears | kModelPrefix},
    Layout{"granite"},
    Layout{"granitemoe", kSplitExpertInput},
    Layout{"helium"},
    Layout{"hunyuan_v1_dense"},
    Layout{"lfm2", kTurnConvolutions},
    Layout{"llama"},
    Layout{"mamba2", kTurnConvolutions},
    Layout{"minimax", kStackExperts},
    Layout{"ministral3"},
    Layout{"mistral"},
    Layout{"mixtral", kStackExperts},
    Layout{"nemotron"},
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
    Layout{"qwen3_moe", kStackExperts},
    Layout{
        "qwen3_next",
        kStackExperts | kTurnConvolutions | kNormPlusOne | kDropPrediction},
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

bool ends_with(std::string_view text, std::string_view end) {
  return text.ends_with(end);
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

const Layout& layout_of(const nlohmann::json& config) {
  const std::string type = config.value("model_type", std::string());
  for (const Layout& layout : kLayouts) {
    if (layout.model_type == type) {
      return layout;
    }
  }
  const std::vector<std::string> known = mlx_layout_families();
  fail<UnsupportedError>(
      fmt::format("Can't write \"{}\" in MLX layout", type),
      fmt::format("The layouts known are {}", fmt::join(known, ", ")),
      did_you_mean(type, known));
}

/// A layer past the model's own, or under "mtp.".
bool is_prediction(std::string_view name, const nlohmann::json& config) {
  if (contains(name, "mtp.")) {
    return true;
  }
  const int layers = config.value("num_hidden_layers", 0);
  return name.starts_with(fmt::format("model.layers.{}.", layers));
}

bool is_dropped(
    const RowTensor& tensor,
    unsigned rules,
    const nlohmann::json& config,
    bool tied) {
  const std::string_view name = tensor.name;
  if (contains(name, "rotary_emb.inv_freq") ||
      contains(name, "vision_tower.") || contains(name, "vision_model.") ||
      contains(name, "multi_modal_projector.")) {
    return true;
  }
  if (tied && ends_with(name, "lm_head.weight")) {
    return true;
  }
  if ((rules & kTurnedLinears) != 0 &&
      (ends_with(name, ".attn.bias") || ends_with(name, "masked_bias"))) {
    return true;
  }
  return (rules & kDropPrediction) != 0 && is_prediction(name, config);
}

/// "….experts.12.w1.weight" in its parts; nullopt for other names.
struct ExpertName {
  std::string before;  ///< up to "experts."
  std::size_t expert = 0;
  std::string projection;
};

std::optional<ExpertName> expert_name(const std::string& name) {
  constexpr std::string_view kExperts = ".experts.";
  constexpr std::string_view kWeight = ".weight";
  const std::size_t at = name.find(kExperts);
  if (at == std::string::npos || !ends_with(name, kWeight)) {
    return std::nullopt;
  }
  const std::size_t number = at + kExperts.size();
  const std::size_t dot = name.find('.', number);
  if (dot == std::string::npos || dot == number || dot - number > 6 ||
      !std::all_of(
          name.begin() + static_cast<std::ptrdiff_t>(number),
          name.begin() + static_cast<std::ptrdiff_t>(dot),
          [](char c) { return c >= '0' && c <= '9'; })) {
    return std::nullopt;
  }
  std::string projection =
      name.substr(dot + 1, name.size() - kWeight.size() - dot - 1);
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3>
      kOldNames = {{
          {"w1", "gate_proj"},
          {"w2", "down_proj"},
          {"w3", "up_proj"},
      }};
  for (const auto& [old, modern] : kOldNames) {
    projection = projection == old ? std::string(modern) : projection;
  }
  return ExpertName{
      name.substr(0, at + 1),
      std::stoul(name.substr(number, dot - number)),
      projection};
}

[[noreturn]] void fail_experts(
    const std::string& name,
    const std::string& why) {
  fail<CheckpointError>(
      fmt::format("The experts of {} can't be stacked", name),
      why,
      "Check that all shards of the checkpoint are there");
}

/// Tensors of one projection, by expert, become one.
std::vector<RowTensor> stack_experts(
    std::vector<RowTensor> tensors,
    std::string_view model_type) {
  std::vector<RowTensor> out;
  std::map<std::string, std::map<std::size_t, RowTensor>> stacks;
  for (RowTensor& tensor : tensors) {
    const auto name = expert_name(tensor.name);
    if (!name) {
      out.push_back(std::move(tensor));
      continue;
    }
    const std::string_view folder =
        model_type == "dots1" ? "experts." : "switch_mlp.";
    stacks[fmt::format("{}{}{}.weight", name->before, folder, name->projection)]
        .emplace(name->expert, std::move(tensor));
  }
  for (auto& [name, experts] : stacks) {
    RowTensor stacked = experts.begin()->second;
    stacked.name = name;
    stacked.pieces.clear();
    std::vector<std::function<void()>> releases;
    for (auto& [expert, tensor] : experts) {
      if (expert != static_cast<std::size_t>(stacked.pieces.size()) ||
          tensor.shape != stacked.shape || tensor.dtype != stacked.dtype) {
        fail_experts(
            name,
            fmt::format(
                "Expert {} is missing or unlike the first",
                stacked.pieces.size()));
      }
      releases.push_back(tensor.release);
      stacked.pieces.push_back(tensor.part(0, tensor.rows()));
    }
    stacked.release = [releases] {
      for (const auto& release : releases) {
        if (release) {
          release();
        }
      }
    };
    stacked.shape.insert(
        stacked.shape.begin(),
        static_cast<std::int64_t>(experts.size()));
    out.push_back(std::move(stacked));
  }
  return out;
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

/// [experts, 2·hidden, in] → gate and up, each [experts, hidden, in].
std::vector<RowTensor> split_expert_input(const RowTensor& tensor) {
  if (contains(tensor.name, "output_linear.weight")) {
    RowTensor down = tensor;
    down.name = replaced(tensor.name, "output_linear", "switch_mlp.down_proj");
    return {down};
  }
  if (!contains(tensor.name, "input_linear.weight") ||
      tensor.shape.size() != 3) {
    return {tensor};
  }
  const std::int64_t experts = tensor.shape[0];
  const std::int64_t hidden = tensor.shape[1] / 2;
  std::vector<RowTensor> out;
  for (const bool up : {false, true}) {
    RowTensor half = tensor;
    half.name = replaced(
        tensor.name,
        "input_linear",
        up ? "switch_mlp.up_proj" : "switch_mlp.gate_proj");
    half.shape[1] = hidden;
    half.pieces.clear();
    for (std::int64_t i = 0; i < experts; ++i) {
      half.pieces.push_back(
          tensor.part((2 * i + (up ? 1 : 0)) * hidden, hidden));
    }
    out.push_back(std::move(half));
  }
  return out;
}

/// The last two axes change places.
RowTensor turned(const RowTensor& tensor) {
  const std::size_t axes = tensor.shape.size();
  std::vector<std::int64_t> shape = tensor.shape;
  std::swap(shape[axes - 1], shape[axes - 2]);
  RowTensor out = computed_rows(
      tensor.name,
      shape,
      tensor.dtype,
      [tensor](mx::Stream stream) {
        const mx::array flat = tensor.read(0, tensor.rows(), stream);
        const mx::Shape full(tensor.shape.begin(), tensor.shape.end());
        return mx::contiguous(
            mx::swapaxes(mx::reshape(flat, full, stream), -1, -2, stream),
            false,
            stream);
      });
  out.release = tensor.release;
  return out;
}

bool is_turned_linear(std::string_view name) {
  return ends_with(name, "c_attn.weight") || ends_with(name, "c_proj.weight") ||
         ends_with(name, "c_fc.weight");
}

bool is_shifted_norm(std::string_view name) {
  constexpr std::array<std::string_view, 5> kNorms = {
      ".input_layernorm.weight",
      ".post_attention_layernorm.weight",
      "model.norm.weight",
      ".q_norm.weight",
      ".k_norm.weight"};
  return std::any_of(kNorms.begin(), kNorms.end(), [&](auto end) {
    return ends_with(name, end);
  });
}

RowTensor plus_one(const RowTensor& tensor) {
  return computed_rows(
      tensor.name,
      tensor.shape,
      tensor.dtype,
      [tensor](mx::Stream stream) {
        const mx::array w = tensor.read(0, 1, stream);
        return mx::add(w, mx::array(1.0f, tensor.dtype), stream);
      });
}

bool is_unturned_convolution(const RowTensor& tensor) {
  return tensor.shape.size() == 3 && tensor.shape.back() != 1 &&
         (contains(tensor.name, "conv1d.weight") ||
          contains(tensor.name, "conv.weight"));
}

/// Weights that mlx-lm or Roofline wrote have these names already.
bool is_mlx_layout(const std::vector<RowTensor>& tensors, unsigned rules) {
  return std::any_of(
      tensors.begin(),
      tensors.end(),
      [&](const RowTensor& tensor) {
        if ((rules & (kStackExperts | kSplitExpertInput)) != 0 &&
            contains(tensor.name, ".switch_mlp.")) {
          return true;
        }
        if ((rules & kTurnConvolutions) != 0 && tensor.shape.size() == 3 &&
            tensor.shape.back() == 1 && contains(tensor.name, "conv")) {
          return true;
        }
        return (rules & kModelPrefix) != 0 && tensor.name.starts_with("model.");
      });
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
  if ((rules & kStackExperts) != 0) {
    tensors = stack_experts(std::move(tensors), layout.model_type);
  }
  std::vector<RowTensor> out;
  for (RowTensor& tensor : tensors) {
    if ((rules & kSplitExpertInput) != 0) {
      for (RowTensor& part : split_expert_input(tensor)) {
        out.push_back(std::move(part));
      }
      continue;
    }
    if (((rules & kTurnedLinears) != 0 && tensor.shape.size() == 2 &&
         is_turned_linear(tensor.name)) ||
        ((rules & kTurnConvolutions) != 0 && is_unturned_convolution(tensor))) {
      tensor = turned(tensor);
    } else if (
        (rules & kNormPlusOne) != 0 && tensor.shape.size() == 1 &&
        is_shifted_norm(tensor.name)) {
      tensor = plus_one(tensor);
    }
    if ((rules & kModelPrefix) != 0) {
      tensor.name = "model." + replaced(tensor.name, "transformer.", "");
    }
    if ((rules & kLanguageModel) != 0) {
      tensor.name = language_model_name(tensor.name);
    }
    out.push_back(std::move(tensor));
  }
  return out;
}

std::vector<std::string> mlx_layout_families() {
  std::vector<std::string> out;
  for (const Layout& layout : kLayouts) {
    out.emplace_back(layout.model_type);
  }
  return out;
}

}  // namespace roofline
