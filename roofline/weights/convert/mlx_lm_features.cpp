#include "roofline/weights/convert/mlx_lm_features.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>
#include <string>

#include "roofline/spec/families.h"
#include "roofline/spec/language_config.h"

namespace roofline {

using nlohmann::json;

namespace {

using F = MlxFeature;
constexpr auto kCount = static_cast<std::size_t>(F::count_);

struct FeatureWords {
  F feature;
  std::string_view words;
};
constexpr std::array<FeatureWords, kCount> kWords = {{
    {F::windows, "attention windows"},
    {F::windows_everywhere, "windows in every layer"},
    {F::windows_nowhere, "layers that all see everything"},
    {F::uneven_windows,
     "windows in other layers than all but every so many-th"},
    {F::bases_of_windows, "positions of windowed layers unlike the others'"},
    {F::unscaled_rope, "positions without a scaling"},
    {F::linear_rope, "linear rope scaling"},
    {F::dynamic_rope, "dynamic rope scaling"},
    {F::llama3_rope, "llama3 rope scaling"},
    {F::yarn_rope, "yarn rope scaling"},
    {F::long_rope, "longrope's factors for short texts"},
    {F::stretched_base, "a stretched rope base"},
    {F::yarn_magnitude,
     "another factor on yarn's queries and keys than its own"},
    {F::yarn_whole, "yarn that isn't truncated"},
    {F::partial_rotation, "partial rotation"},
    {F::other_rotation,
     "other share of dims that rotates than the family's own"},
    {F::layers_without_rope, "layers without positions"},
    {F::growing_queries, "queries that grow with their position"},
    {F::half_split_latent, "latent positions in two halves"},
    {F::qkv_bias, "biases of queries, keys and values"},
    {F::no_qkv_bias, "queries, keys and values without biases"},
    {F::output_bias, "a bias of what attention gives"},
    {F::no_output_bias, "attention whose output has no bias"},
    {F::dense_bias, "biases of feed-forward parts"},
    {F::no_dense_bias, "feed-forward parts without biases"},
    {F::head_bias, "a bias of the head"},
    {F::no_head_bias, "a head without a bias"},
    {F::tied_head, "a head that is the embedding"},
    {F::own_head, "a head that isn't the embedding"},
    {F::activation, "another activation than its own"},
    {F::qk_norm, "norms of queries and keys"},
    {F::no_qk_norm, "queries and keys without norms"},
    {F::qk_norm_by_head, "norms of each head's own"},
    {F::wide_heads, "heads of another width than dim / heads"},
    {F::score_scale, "another factor on scores than 1/sqrt(head dim)"},
    {F::score_cap, "a softcap of scores"},
    {F::no_score_cap, "scores without a softcap"},
    {F::logit_cap, "a softcap of logits"},
    {F::no_logit_cap, "logits without a softcap"},
    {F::clip, "a bound of queries, keys and values"},
    {F::swiglu_limit, "another swiglu_limit than 7"},
    {F::factor_on_keys, "a factor on keys"},
    {F::parallel_parts, "parallel parts"},
    {F::serial_parts, "parts in turn"},
    {F::odd_hidden, "feed-forward parts of another width than 4 times dim"},
    {F::wide_shared_kv, "wider feed-forward parts in layers that share keys"},
    {F::keys_as_values, "values that are the keys"},
    {F::low_rank_queries, "queries of low rank"},
    {F::direct_queries, "queries straight from x"},
    {F::dense_first, "dense layers before those with experts"},
    {F::dense_elsewhere, "dense layers among those with experts"},
    {F::dense_only, "layers that all have no experts"},
    {F::raw_weights, "experts' weights that aren't normalised"},
    {F::sum_of_weights, "experts' weights that are normalised"},
    {F::expert_groups, "groups of experts"},
    {F::shared_experts, "shared experts"},
    {F::no_shared_experts, "mixtures without shared experts"},
    {F::sparsemixer, "the sparsemixer"},
    {F::selection_bias, "a bias on the choice of experts"},
    {F::latent_experts, "experts of a narrower width"},
    {F::conv_bias, "a bias of a convolution"},
    {F::no_conv_bias, "a convolution without a bias"},
    {F::input_bias, "a bias of a recurrence's input"},
    {F::recurrence_bias, "biases of a recurrence"},
    {F::norm_by_group, "norms by group in a recurrence"},
    {F::no_recurrent_norm, "a recurrence without a norm"},
    {F::norm_before_gate, "a norm before the gate in a recurrence"},
    {F::step_bounds, "bounds of a recurrence's steps"},
    {F::uneven_recurrence,
     "other recurrent layers than all but every so many-th"},
    {F::recurrence_only, "no layers with attention"},
    {F::attention_only, "no recurrent layers"},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kCount; ++i) {
    if (kWords[i].feature != static_cast<F>(i)) {
      return false;
    }
  }
  return true;
}
static_assert(in_order(), "a row for each feature, in the enum's order");

class Finder {
 public:
  Finder(const ModelSpec& spec, const json& config)
      : spec_(spec), config_(config), family_(find_family(type())) {}

  std::vector<F> find() {
    find_head();
    find_windows();
    find_mixtures();
    find_order();
    for (const LayerSpec& layer : spec_.layers) {
      if (layer.attention) {
        find_attention(layer, *layer.attention);
      }
      if (layer.feed_forward) {
        find_feed_forward(*layer.feed_forward);
      }
      if (layer.recurrent) {
        find_recurrence(*layer.recurrent);
      }
    }
    std::vector<F> out;
    for (std::size_t i = 0; i < kCount; ++i) {
      if (found_[i]) {
        out.push_back(static_cast<F>(i));
      }
    }
    return out;
  }

 private:
  const json& text() const { return language_config(config_); }
  std::string type() const { return language_family(config_); }

  void add(F feature, bool there = true) {
    if (there) {
      found_.set(static_cast<std::size_t>(feature));
    }
  }
  void add_either(bool first, F one, F other) { add(first ? one : other); }

  void find_head() {
    add_either(spec_.tied_embeddings, F::tied_head, F::own_head);
    add_either(spec_.head_bias, F::head_bias, F::no_head_bias);
    add_either(spec_.logit_softcap.has_value(), F::logit_cap, F::no_logit_cap);
  }

  bool windowed(const AttentionSpec& attention) const {
    return attention.window_tokens.has_value();
  }

  /// There is a p so that all layers but every p-th are of the kind.
  static bool is_periodic(const std::vector<bool>& kind) {
    const auto last = std::find(kind.begin(), kind.end(), false);
    const auto period = static_cast<std::size_t>(last - kind.begin()) + 1;
    for (std::size_t i = 0; i < kind.size(); ++i) {
      if (kind[i] != ((i + 1) % period != 0)) {
        return false;
      }
    }
    return last != kind.end();
  }

  void find_windows() {
    std::vector<bool> has;
    bool within = false;
    for (const LayerSpec& layer : spec_.layers) {
      if (layer.attention) {
        has.push_back(windowed(*layer.attention));
        within = within || (has.back() && *layer.attention->window_tokens <
                                              spec_.context_tokens);
      }
    }
    if (has.empty()) {
      return;
    }
    const auto count = std::count(has.begin(), has.end(), true);
    const bool all = count == static_cast<std::ptrdiff_t>(has.size());
    const bool knows =
        family_ != nullptr && family_->window != WindowRule::none;
    add(F::windows, within);
    const bool listed = family_ != nullptr && family_->layer_types;
    add(F::windows_everywhere, all && (within || listed));
    add(F::windows_nowhere, count == 0 && knows);
    add(F::uneven_windows,
        count > 0 && !is_periodic(has) && (within || listed));
  }

  void find_order() {
    std::vector<bool> recurrent;
    for (const LayerSpec& layer : spec_.layers) {
      if (layer.recurrent || layer.attention) {
        recurrent.push_back(layer.recurrent && !layer.attention);
      }
    }
    const auto count = std::count(recurrent.begin(), recurrent.end(), true);
    if (family_ == nullptr || !family_->recurrent) {
      return;
    }
    add(F::attention_only, count == 0 && !spec_.layers[0].recurrent);
    add(F::recurrence_only, count == std::ptrdiff_t(recurrent.size()));
    add(F::uneven_recurrence, !is_periodic(recurrent));
  }

  void find_rope(const AttentionSpec& attention) {
    const RopeSpec& rope = *attention.rope;
    const std::string& kind = rope.scaling;
    const int dims =
        attention.latent ? attention.latent->rope_dim : attention.head_dim;
    add(F::half_split_latent,
        attention.latent && rope.layout == RopeLayout::half_split);
    add(F::partial_rotation,
        rope.rotated_dims < dims && !kind.starts_with("proportional"));
    const double usual = family_ == nullptr ? 1 : family_->partial_rotary_share;
    add(F::other_rotation,
        family_ != nullptr && family_->partial_rotary &&
            rope.rotated_dims != static_cast<int>(dims * usual));
    add(F::unscaled_rope, kind.empty());
    add(F::linear_rope, kind.starts_with("linear"));
    add(F::dynamic_rope, kind.starts_with("dynamic"));
    add(F::llama3_rope, kind.starts_with("llama3"));
    add(F::long_rope, kind.starts_with("longrope"));
    add(F::stretched_base,
        family_ != nullptr && family_->ntk_alpha &&
            text().value("rope_scaling", json()).is_object());
    if (kind.starts_with("yarn")) {
      add(F::yarn_rope);
      find_yarn(rope);
    }
    const RopeSpec* other = rope_of_others(attention.window_tokens.has_value());
    add(F::bases_of_windows,
        other != nullptr &&
            (other->theta != rope.theta || other->scaling != rope.scaling));
  }

  const RopeSpec* rope_of_others(bool window) const {
    for (const LayerSpec& layer : spec_.layers) {
      if (layer.attention && layer.attention->rope &&
          layer.attention->window_tokens.has_value() != window) {
        return &*layer.attention->rope;
      }
    }
    return nullptr;
  }

  static double mscale(double factor, double by) {
    return factor <= 1 ? 1.0 : 0.1 * by * std::log(factor) + 1.0;
  }

  void find_yarn(const RopeSpec& rope) {
    json scaling = text().value("rope_scaling", json::object());
    scaling = scaling.is_object() ? scaling : json::object();
    const auto number = [&](const char* name, double absent) {
      const json value = scaling.value(name, json());
      return value.is_number() ? value.get<double>() : absent;
    };
    const double factor = number("factor", 1);
    const double theirs = mscale(factor, number("mscale", 1)) /
                          mscale(factor, number("mscale_all_dim", 0));
    add(F::yarn_magnitude,
        std::abs(rope.regimes[0].magnitude - theirs) > 1e-4 * theirs);
    add(F::yarn_whole, scaling.value("truncate", json(true)) == json(false));
  }

  void find_attention(const LayerSpec& layer, const AttentionSpec& a) {
    if (a.rope) {
      find_rope(a);
    } else {
      add(F::layers_without_rope);
    }
    add(F::growing_queries, a.query_temperature.has_value());
    add_either(a.qkv_bias, F::qkv_bias, F::no_qkv_bias);
    add_either(a.output_bias, F::output_bias, F::no_output_bias);
    add_either(a.qk_norm != QkNorm::none, F::qk_norm, F::no_qk_norm);
    add(F::qk_norm_by_head, a.qk_norm == QkNorm::per_head_own);
    add_either(a.softcap.has_value(), F::score_cap, F::no_score_cap);
    add(F::clip, a.clip.has_value());
    add(F::factor_on_keys, a.key_scale != 1.0f);
    add(F::keys_as_values, a.values_are_keys);
    if (a.latent) {
      add_either(
          a.latent->q_rank.has_value(),
          F::low_rank_queries,
          F::direct_queries);
    } else {
      add(F::wide_heads, a.heads * a.head_dim != spec_.dim);
      const float usual = 1.0f / std::sqrt(static_cast<float>(a.head_dim));
      add(F::score_scale, std::abs(a.scale / usual - 1) > 1e-4f);
    }
    const bool parallel =
        layer.norm_placement == NormPlacement::parallel ||
        layer.norm_placement == NormPlacement::parallel_own_norms;
    if (family_ != nullptr && family_->parallel_rule) {
      add_either(parallel, F::parallel_parts, F::serial_parts);
    }
  }

  void find_feed_forward(const FeedForwardSpec& f) {
    if (f.hidden != 0) {
      add_either(f.bias, F::dense_bias, F::no_dense_bias);
      add(F::odd_hidden, !f.gated && f.hidden != 4 * spec_.dim);
      add(F::wide_shared_kv,
          f.hidden == 2 * spec_.layers[0].feed_forward->hidden);
    }
    add(F::activation,
        family_ != nullptr && f.activation != family_->activation);
    add(F::swiglu_limit, f.clamped_glu && f.clamped_glu->limit != 7.0f);
    if (!f.mixture) {
      return;
    }
    const MixtureSpec& m = *f.mixture;
    add_either(m.renormalise, F::sum_of_weights, F::raw_weights);
    add_either(m.shared_hidden > 0, F::shared_experts, F::no_shared_experts);
    add(F::expert_groups, m.groups > 1);
    add(F::sparsemixer, m.score == ExpertScore::sparsemixer);
    add(F::selection_bias, m.selection_bias);
    add(F::latent_experts, m.latent_dim.has_value());
  }

  void find_mixtures() {
    bool mixed = false;
    bool dense = false;
    bool after = false;
    for (const LayerSpec& layer : spec_.layers) {
      if (!layer.feed_forward) {
        continue;
      }
      const bool own = layer.feed_forward->mixture.has_value();
      after = after || (mixed && !own);
      dense = dense || !own;
      mixed = mixed || own;
    }
    const bool knows = family_ != nullptr && family_->mixture;
    add(F::dense_only, knows && !mixed);
    add(F::dense_first, mixed && dense && !after);
    add(F::dense_elsewhere, after);
  }

  void find_recurrence(const RecurrentSpec& r) {
    add_either(r.conv_bias, F::conv_bias, F::no_conv_bias);
    add(F::input_bias, r.input_bias);
    add(F::recurrence_bias, r.input_bias || r.output_bias);
    if (r.kind != RecurrentKind::mamba2) {
      return;
    }
    add(F::norm_by_group,
        r.output_norm && r.output_norm_by_group && r.key_heads > 1);
    add(F::no_recurrent_norm, !r.output_norm);
    add(F::norm_before_gate, r.output_norm && !r.gate_before_norm);
    add(F::step_bounds, r.step_min > 0 || std::isfinite(r.step_max));
  }

  const ModelSpec& spec_;
  const json& config_;
  const Family* family_;
  std::bitset<kCount> found_;
};

}  // namespace

std::string language_family(const json& config) {
  const json& text = language_config(config);
  const auto type = text.find("model_type");
  return type != text.end() && type->is_string() ? type->get<std::string>()
                                                 : std::string();
}

std::vector<MlxFeature> mlx_features(
    const ModelSpec& spec,
    const json& config) {
  return Finder(spec, config).find();
}

std::string_view words_of(MlxFeature feature) {
  return kWords.at(static_cast<std::size_t>(feature)).words;
}

}  // namespace roofline
