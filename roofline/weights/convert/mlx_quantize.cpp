#include "roofline/weights/convert/mlx_quantize.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/language_config.h"
#include "roofline/weights/name_tensors.h"
#include "roofline/weights/save_arrays.h"

namespace roofline {

namespace mx = mlx::core;

namespace {

constexpr std::string_view kWeight = ".weight";

struct Mode {
  std::string_view name;
  int bits;        ///< when left out
  int group_size;  ///< when left out
};
constexpr std::array<Mode, 4> kModes = {{
    {"affine", 4, 64},
    {"mxfp4", 4, 32},
    {"nvfp4", 4, 16},
    {"mxfp8", 8, 32},
}};

struct Recipe {
  std::string_view name;
  int low_bits;
  int high_bits;
};
constexpr std::array<Recipe, 4> kRecipes = {{
    {"mixed_2_6", 2, 6},
    {"mixed_3_4", 3, 4},
    {"mixed_3_6", 3, 6},
    {"mixed_4_6", 4, 6},
}};

/// Modules that mlx-lm keeps at 8 bits in groups of 64: routers, whose choice
/// is discrete, and matrices of small values.
struct EightBitRow {
  std::string_view model_type;
  std::string_view module_end;
};
constexpr std::array<EightBitRow, 20> kEightBit = {{
    {"gemma4", "router.proj"},
    {"gemma4_text", "router.proj"},
    {"gpt_oss", "mlp.router"},
    {"granite", "self_attn.o_proj"},
    {"granite", "mlp.down_proj"},
    {"granite", "lm_head"},
    {"granitemoe", "block_sparse_moe.router.layer"},
    {"granitemoe", "self_attn.o_proj"},
    {"granitemoe", "mlp.down_proj"},
    {"granitemoe", "lm_head"},
    {"granitemoehybrid", "block_sparse_moe.router.layer"},
    {"lfm2_moe", "feed_forward.gate"},
    {"minimax", "block_sparse_moe.gate"},
    {"qwen3_5_moe", "mlp.gate"},
    {"qwen3_5_moe", "shared_expert_gate"},
    {"qwen3_5_moe_text", "mlp.gate"},
    {"qwen3_5_moe_text", "shared_expert_gate"},
    {"qwen3_moe", "mlp.gate"},
    {"qwen3_next", "mlp.gate"},
    {"qwen3_next", "shared_expert_gate"},
}};

/// Routers that mlx-lm holds as plain arrays, which nothing quantizes.
constexpr std::array<EightBitRow, 6> kPlain = {{
    {"deepseek_v2", "mlp.gate"},
    {"deepseek_v3", "mlp.gate"},
    {"dots1", "mlp.gate"},
    {"glm4_moe", "mlp.gate"},
    {"kimi_k2", "mlp.gate"},
    {"nemotron_h", "mixer.gate"},
}};

template <std::size_t N>
bool listed(
    const std::array<EightBitRow, N>& rows,
    std::string_view model_type,
    std::string_view module) {
  return std::any_of(rows.begin(), rows.end(), [&](const EightBitRow& row) {
    return row.model_type == model_type && module.ends_with(row.module_end);
  });
}

template <std::size_t N>
bool one_of(int value, const std::array<int, N>& values) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

/// The layer's number in "model.layers.12.mlp.down_proj"; 0 where there is
/// none.
int layer_of(std::string_view module) {
  constexpr std::string_view kLayers = "layers.";
  const std::size_t at = module.find(kLayers);
  int layer = 0;
  if (at != std::string_view::npos) {
    module.remove_prefix(at + kLayers.size());
    std::from_chars(module.data(), module.data() + module.size(), layer);
  }
  return layer;
}

int layers_in(const nlohmann::json& config) {
  return static_cast<int>(
      whole_number(language_config(config), "num_hidden_layers"));
}

}  // namespace

nlohmann::json json_of(const MlxForm& form) {
  return {
      {"group_size", form.group_size},
      {"bits", form.bits},
      {"mode", form.mode}};
}

MlxForm parse_mlx_form(
    std::string_view mode,
    std::optional<int> bits,
    std::optional<int> group_size) {
  std::vector<std::string> names;
  for (const Mode& known : kModes) {
    names.emplace_back(known.name);
    if (known.name != mode) {
      continue;
    }
    const MlxForm form{
        bits.value_or(known.bits),
        group_size.value_or(known.group_size),
        std::string(mode)};
    const bool affine = one_of(form.bits, std::array{2, 3, 4, 5, 6, 8}) &&
                        one_of(form.group_size, std::array{32, 64, 128});
    const bool fixed =
        form.bits == known.bits && form.group_size == known.group_size;
    if (mode == "affine" ? affine : fixed) {
      return form;
    }
    fail<UserError>(
        fmt::format(
            "{} can't have {} bits in groups of {}",
            mode,
            form.bits,
            form.group_size),
        mode == "affine"
            ? "It has 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128"
            : fmt::format(
                  "It has {} bits in groups of {}",
                  known.bits,
                  known.group_size),
        "Leave --q-bits and --q-group-size out for the usual form");
  }
  fail<UserError>(
      fmt::format("--q-mode: there is no mode \"{}\"", mode),
      did_you_mean(mode, names),
      fmt::format("There are {}", fmt::join(names, ", ")));
}

std::vector<std::string> mlx_recipes() {
  std::vector<std::string> out;
  for (const Recipe& recipe : kRecipes) {
    out.emplace_back(recipe.name);
  }
  return out;
}

MlxQuantizer::MlxQuantizer(
    const MlxForm& form,
    std::string_view recipe,
    const nlohmann::json& config)
    : form_(form),
      model_type_(config.value("model_type", std::string())),
      layers_(layers_in(config)) {
  if (recipe.empty()) {
    return;
  }
  for (const Recipe& known : kRecipes) {
    if (known.name == recipe) {
      low_bits_ = known.low_bits;
      high_bits_ = known.high_bits;
    }
  }
  if (low_bits_ == 0) {
    fail<UserError>(
        fmt::format("--quant-predicate: there is no recipe \"{}\"", recipe),
        did_you_mean(recipe, mlx_recipes()),
        fmt::format("There are {}", fmt::join(mlx_recipes(), ", ")));
  }
  if (form.mode != "affine") {
    fail<UserError>(
        fmt::format(
            "--quant-predicate {} doesn't go with {}",
            recipe,
            form.mode),
        "Its bits are those of affine codes",
        "Leave out --q-mode");
  }
}

std::optional<MlxChoice> MlxQuantizer::choose_by_recipe(
    std::string_view module) const {
  const int layer = layer_of(module);
  const int eighth = layers_ / 8;
  const bool more =
      layer < eighth || layer >= 7 * layers_ / 8 || (layer - eighth) % 3 == 2;
  const auto has = [&](std::string_view part) {
    return module.find(part) != std::string_view::npos;
  };
  const bool high =
      has("lm_head") || (more && (has("down_proj") || has("v_proj") ||
                                  has("v_a_proj") || has("v_b_proj")));
  MlxForm form = form_;
  form.bits = high ? high_bits_ : low_bits_;
  return MlxChoice{form, true};
}

std::optional<MlxChoice> MlxQuantizer::choose(const RowTensor& tensor) const {
  // Small floats are packed by 32, whatever their group is.
  const bool small = form_.mode != "affine";
  const int unit = small ? std::max(32, form_.group_size) : form_.group_size;
  if (tensor.shape.size() < 2 || !tensor.name.ends_with(kWeight) ||
      tensor.cols() % unit != 0) {
    return std::nullopt;
  }
  const std::string module(without_weight(tensor.name));
  if (listed(kPlain, model_type_, module)) {
    return std::nullopt;
  }
  if (low_bits_ != 0) {
    return choose_by_recipe(module);
  }
  static const MlxForm kEight{8, 64, "affine"};
  if (listed(kEightBit, model_type_, module) &&
      tensor.cols() % kEight.group_size == 0) {
    return MlxChoice{kEight, true};
  }
  return MlxChoice{form_, false};
}

nlohmann::json MlxQuantizer::entry(
    const std::vector<RowTensor>& tensors) const {
  nlohmann::json out = json_of(form_);
  for (const RowTensor& tensor : tensors) {
    const auto choice = choose(tensor);
    if (choice && choice->own_entry) {
      out[std::string(without_weight(tensor.name))] = json_of(choice->form);
    }
  }
  return out;
}

std::vector<PlannedTensor> plan_packed(
    const RowTensor& tensor,
    const MlxForm& form,
    mx::Dtype dtype) {
  const std::string module(without_weight(tensor.name));
  std::vector<std::int64_t> codes = tensor.shape;
  codes.back() = tensor.cols() * form.bits / 32;
  std::vector<std::int64_t> groups = tensor.shape;
  groups.back() = tensor.cols() / form.group_size;
  std::vector<PlannedTensor> out = {
      {tensor.name, "U32", codes},
      {module + ".scales",
       form.has_biases() ? dtype_name(dtype) : "U8",
       groups}};
  if (form.has_biases()) {
    out.push_back({module + ".biases", dtype_name(dtype), groups});
  }
  return out;
}

}  // namespace roofline
