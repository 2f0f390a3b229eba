#include "roofline/spec/config_family.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace roofline {

namespace {

/// Architectures whose files two families share, told apart by a window.
struct SharedFiles {
  std::string_view gguf;
  std::string_view with_window, without;
};
constexpr std::array<SharedFiles, 2> kShared = {{
    {"llama", "mistral", "llama"},
    {"olmo2", "olmo3", "olmo2"},
}};

bool has_sigmoid_scores(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.feed_forward && layer.feed_forward->mixture &&
               layer.feed_forward->mixture->score == ExpertScore::sigmoid;
      });
}

}  // namespace

const Family* config_family(const ModelSpec& spec) {
  const bool windowed = std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.attention && layer.attention->window_tokens;
      });
  const bool experts = std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.feed_forward && layer.feed_forward->mixture;
      });
  if (spec.family == "llama" && experts) {
    return find_family("mixtral");
  }
  if (spec.family == "deepseek2") {
    return find_family(
        has_sigmoid_scores(spec) ? "deepseek_v3" : "deepseek_v2");
  }
  for (const SharedFiles& shared : kShared) {
    if (shared.gguf == spec.family) {
      return find_family(windowed ? shared.with_window : shared.without);
    }
  }
  return find_gguf_family(spec.family);
}

}  // namespace roofline
