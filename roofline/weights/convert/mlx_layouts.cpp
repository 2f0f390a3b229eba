#include "roofline/weights/convert/mlx_layouts.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"

namespace roofline {

namespace {

constexpr unsigned kQwen3Next =
    kStackExperts | kTurnConvolutions | kNormPlusOne | kDropPrediction;

constexpr std::array kLayouts = {
    MlxLayout{"apertus"},
    MlxLayout{"arcee"},
    MlxLayout{"bitnet"},
    MlxLayout{"cohere"},
    MlxLayout{"cohere2"},
    MlxLayout{"deepseek_v2", kStackExperts},
    MlxLayout{"deepseek_v3", kStackExperts | kSplitLatent | kDropPrediction},
    MlxLayout{"dots1", kStackExperts, {.folder = "experts."}},
    MlxLayout{"ernie4_5"},
    MlxLayout{"ernie4_5_moe", kStackExperts | kDropPrediction},
    MlxLayout{"exaone4"},
    MlxLayout{"falcon_h1", kFoldFactors | kTurnConvolutions},
    MlxLayout{"gemma"},
    MlxLayout{"gemma2"},
    MlxLayout{"gemma3", kLanguageModel},
    MlxLayout{"gemma3_text"},
    MlxLayout{"gemma3n", kInnerModel},
    MlxLayout{"gemma3n_text", kInnerModel},
    MlxLayout{
        "gemma4",
        kStackExperts | kLanguageModel | kDropSharedKv,
        {.folder = "experts.switch_glu."}},
    MlxLayout{
        "gemma4_text",
        kStackExperts | kDropSharedKv,
        {.folder = "experts.switch_glu."}},
    MlxLayout{"glm"},
    MlxLayout{"glm4"},
    MlxLayout{"glm4_moe", kStackExperts | kDropPrediction},
    MlxLayout{"gpt2", kTurnedLinears | kModelPrefix},
    MlxLayout{"gpt_neox", kNeoxNames},
    MlxLayout{"gpt_oss", kTurnedExperts},
    MlxLayout{"granite"},
    MlxLayout{"granitemoe", kSplitExpertInput},
    MlxLayout{
        "granitemoehybrid",
        kSplitExpertInput | kFusedDense | kTurnConvolutions},
    MlxLayout{"helium"},
    MlxLayout{"hunyuan_v1_dense"},
    MlxLayout{"kimi_k2", kStackExperts | kSplitLatent | kDropPrediction},
    MlxLayout{"lfm2", kTurnConvolutions},
    MlxLayout{"lfm2_moe", kStackExperts | kTurnConvolutions | kLetterNames},
    MlxLayout{"llama"},
    MlxLayout{"mamba2", kTurnConvolutions},
    MlxLayout{"minimax", kStackExperts},
    MlxLayout{"minimax_m2", kStackExperts},
    MlxLayout{"ministral"},
    MlxLayout{"ministral3"},
    MlxLayout{"mistral"},
    MlxLayout{"mistral3", kLanguageModel},
    MlxLayout{"mixtral", kStackExperts},
    MlxLayout{"nemotron"},
    MlxLayout{
        "nemotron_h",
        kStackExperts | kTurnConvolutions | kDropPrediction,
        {.numbered = true}},
    MlxLayout{"olmo"},
    MlxLayout{"olmo2"},
    MlxLayout{"olmo3"},
    MlxLayout{"olmoe", kStackExperts},
    MlxLayout{"phi"},
    MlxLayout{"phi3"},
    MlxLayout{"phimoe", kStackExperts},
    MlxLayout{"qwen2"},
    MlxLayout{"qwen2_moe", kStackExperts},
    MlxLayout{"qwen3"},
    MlxLayout{"qwen3_5", kQwen3Next | kLanguageModel},
    MlxLayout{"qwen3_5_moe", kQwen3Next | kLanguageModel},
    MlxLayout{"qwen3_5_moe_text", kQwen3Next | kLanguageModel},
    MlxLayout{"qwen3_5_text", kQwen3Next | kLanguageModel},
    MlxLayout{"qwen3_moe", kStackExperts},
    MlxLayout{"qwen3_next", kQwen3Next},
    MlxLayout{"seed_oss"},
    MlxLayout{"smollm3"},
    MlxLayout{"stablelm"},
    MlxLayout{"starcoder2"},
};

static_assert(std::is_sorted(
    kLayouts.begin(),
    kLayouts.end(),
    [](const MlxLayout& a, const MlxLayout& b) {
      return a.model_type < b.model_type;
    }));

std::vector<std::string> known_types() {
  std::vector<std::string> out;
  for (const MlxLayout& layout : kLayouts) {
    out.emplace_back(layout.model_type);
  }
  return out;
}

}  // namespace

const MlxLayout* find_mlx_layout(std::string_view type) {
  for (const MlxLayout& layout : kLayouts) {
    if (layout.model_type == type) {
      return &layout;
    }
  }
  return nullptr;
}

const MlxLayout& mlx_layout_of(const nlohmann::json& config) {
  const std::string type = config.value("model_type", std::string());
  const MlxLayout* layout = find_mlx_layout(type);
  if (layout == nullptr) {
    const std::vector<std::string> known = known_types();
    fail<UnsupportedError>(
        fmt::format("Can't write \"{}\" in MLX layout", type),
        fmt::format("The layouts known are {}", fmt::join(known, ", ")),
        did_you_mean(type, known));
  }
  return *layout;
}

bool mlx_layout_keeps_rows(std::string_view model_type) {
  const MlxLayout* layout = find_mlx_layout(model_type);
  return layout != nullptr &&
         (layout->rules & (kSplitLatent | kFoldFactors | kTurnedExperts)) == 0;
}

}  // namespace roofline
