// Names of the tensors of a mixture of experts, within a layer, in Hugging
// Face's, MLX's and GGUF's files: experts one by one or stacked, gate and up
// apart or packed.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"
#include "roofline/spec/tensor_names.h"

namespace roofline {

/// In names of ours: all or one of a layer's experts, and stacks of experts
/// that lie [in, out].
inline constexpr std::string_view kExpertsPart = ".experts.";
inline constexpr std::string_view kTurnedExpertsPart = ".experts.transposed.";

/// rest: what stands behind "layers.N." or "blk.N.", without ".weight" and
/// without ".bias", whose presence `bias` tells (the caller adds it again;
/// set to false where it was part of the name). nullopt when it is no name of a
/// mixture. family: its row says how stacked experts lie.
std::optional<std::vector<NamedRows>> map_mixture_name(
    std::string_view rest,
    NameStyle style,
    const LayerSpec& layer,
    std::string_view family,
    bool& bias);

/// What Hugging Face's folders of a family call a mixture's tensors.
struct HfMixtureNames {
  /// Of stacks that hold gate and up of each expert in one.
  static constexpr std::string_view kPacked = "packed";

  std::string_view family = {};
  std::string_view part = {};       ///< "mlp."
  std::string_view router = {};     ///< behind the part
  std::string_view selection = {};  ///< neither a weight nor a bias there
  /// Of an expert's gate, up and down; of stacks that are packed, the whole
  /// names of the first and of the last.
  std::array<std::string_view, 3> expert = {};
  std::string_view shared = {};
  std::string_view weigh = {};
  /// "": experts stand apart; kPacked; else what stands before the names of
  /// MLX's three stacks.
  std::string_view stack = {};
  /// Into the experts' own dims and out of them.
  std::array<std::string_view, 2> latent = {};
  bool selection_row = false;   ///< it is [1, experts]
  bool shared_outside = false;  ///< shared experts don't stand in the part
};

/// nullptr for a family whose files aren't written.
const HfMixtureNames* hf_mixture_names(std::string_view family);

/// GGUF's name for ours behind "layers.N.feed_forward."; "" where it has none.
std::string_view gguf_mixture_name(std::string_view ours);

}  // namespace roofline
