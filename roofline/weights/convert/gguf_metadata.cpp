#include "roofline/weights/convert/gguf_metadata.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "roofline/spec/rope.h"
#include "roofline/weights/convert/gguf_extras_metadata.h"
#include "roofline/weights/convert/gguf_mixture.h"
#include "roofline/weights/convert/gguf_recurrent.h"

namespace roofline {

namespace {

using nlohmann::json;

/// Where a rope is said for each kind of layer: of those that see all.
constexpr const char* kFull = "full_attention";

/// What files have for a pair that doesn't turn.
constexpr float kNeverTurns = 1e30f;

/// nullptr for a model without attention.
const AttentionSpec* first_attention(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention) {
      return &*layer.attention;
    }
  }
  return nullptr;
}

/// The first with a window, or the first without one.
const AttentionSpec* attention_where(const ModelSpec& spec, bool window) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention &&
        layer.attention->window_tokens.has_value() == window) {
      return &*layer.attention;
    }
  }
  return nullptr;
}

class MetadataMaker {
 public:
  MetadataMaker(
      const ModelSpec& spec,
      const json& config,
      const Family& family,
      const GgufArchitecture& architecture)
      : spec_(spec),
        config_(config),
        family_(family),
        architecture_(architecture) {}

  GgufModel make() {
    add_general();
    add_sizes();
    for (const auto& part :
         {gguf_mixture_metadata(spec_, architecture_),
          gguf_recurrent_metadata(spec_, architecture_),
          gguf_extras_metadata(spec_, family_)}) {
      for (const auto& [name, value] : part) {
        add(name, value);
      }
    }
    add_xielu();
    add_norm();
    add_attention();
    add_rope();
    add_scales();
    return std::move(model_);
  }

 private:
  void add(const std::string& name, GgufValue value) {
    model_.metadata.emplace_back(
        std::string(architecture_.name) + "." + name,
        std::move(value));
  }
  void add_size(const std::string& name, std::int64_t value) {
    add(name, static_cast<std::uint32_t>(value));
  }

  void add_general() {
    model_.metadata.emplace_back(
        "general.architecture",
        std::string(architecture_.name));
    model_.metadata.emplace_back("general.type", std::string("model"));
  }

  /// One number where all layers have it, else a list.
  template <class F>
  void add_per_layer(const std::string& name, F value_of) {
    std::vector<std::int32_t> values;
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      values.push_back(value_of(i));
    }
    const bool same = std::all_of(values.begin(), values.end(), [&](int v) {
      return v == values.front();
    });
    if (same) {
      add_size(name, values.front());
    } else {
      add(name, values);
    }
  }

  void add_sizes() {
    add_size("vocab_size", spec_.vocab);
    add_size("context_length", spec_.context_tokens);
    add_size("embedding_length", spec_.dim);
    add_size("block_count", static_cast<std::int64_t>(spec_.layers.size()));
    add_per_layer("feed_forward_length", [&](std::size_t i) {
      if (!spec_.layers[i].feed_forward) {
        return 0;
      }
      const FeedForwardSpec& own = *spec_.layers[i].feed_forward;
      // Layers of experts have a number of their own beside this one.
      const FeedForwardSpec& dense =
          architecture_.dense_first ? *spec_.layers[0].feed_forward : own;
      return dense.hidden > 0 || !own.mixture ? dense.hidden
                                              : own.mixture->expert_hidden;
    });
  }

  /// Of each layer's activation, under keys without the architecture.
  void add_xielu() {
    const auto add_numbers = [&](const char* name, float Xielu::*member) {
      std::vector<float> numbers;
      for (const LayerSpec& layer : spec_.layers) {
        numbers.push_back((*layer.feed_forward->xielu).*member);
      }
      model_.metadata.emplace_back(fmt::format("xielu.{}", name), numbers);
    };
    if (family_.activation != Activation::xielu) {
      return;
    }
    add_numbers("alpha_p", &Xielu::alpha_p);
    add_numbers("alpha_n", &Xielu::alpha_n);
    add_numbers("beta", &Xielu::beta);
    add_numbers("eps", &Xielu::eps);
  }

  void add_norm() {
    const bool rms =
        spec_.layers[0].norm.kind == NormKind::rms || architecture_.rms_epsilon;
    add(rms ? "attention.layer_norm_rms_epsilon"
            : "attention.layer_norm_epsilon",
        spec_.layers[0].norm.eps);
    if (architecture_.both_epsilons) {
      add("attention.layer_norm_epsilon", spec_.layers[0].norm.eps);
    }
    if (family_.parallel_rule) {
      add("use_parallel_residual",
          spec_.layers[0].norm_placement == family_.parallel_rule->parallel);
    }
  }

  void add_attention() {
    const AttentionSpec* one = first_attention(spec_);
    if (one == nullptr) {
      add_size("attention.head_count", 0);
      return;
    }
    const AttentionSpec& first = *one;
    add_per_layer("attention.head_count", [&](std::size_t i) {
      const auto& own = spec_.layers[i].attention;
      return own ? own->heads : first.heads;
    });
    add_per_layer("attention.head_count_kv", [&](std::size_t i) {
      const auto& own = spec_.layers[i].attention;
      // Where no list tells the recurrent layers, this does.
      const bool zero = !own && !architecture_.recurrent_list;
      return zero                          ? 0
             : (own ? *own : first).latent ? 1
                                           : (own ? *own : first).kv_heads;
    });
    add_lengths(first);
    if (first.clip) {
      add("attention.clamp_kqv", *first.clip);
    }
    if (first.query_temperature) {
      add("attention.temperature_scale", first.query_temperature->beta);
    }
    const AttentionSpec* windowed = attention_where(spec_, true);
    const auto window = windowed ? windowed->window_tokens : std::nullopt;
    if (window && family_.gguf_window == WindowRule::none) {
      refuse_gguf(fmt::format(
          "It has windows, and files of {} have none",
          architecture_.name));
    }
    add_window_list();
    // gemma2's readers take a window where the key is missing.
    if (window || family_.gguf_window_tokens) {
      add_size("attention.sliding_window", window.value_or(0));
    }
    if (family_.attention_softcap_field) {
      add("attn_logit_softcapping", first.softcap.value_or(0.0f));
    }
    if (family_.multipliers) {
      add("attention.scale", first.scale);
    }
  }

  /// Where it isn't the pattern that readers take without one.
  void add_window_list() {
    std::vector<bool> windowed;
    bool usual = true;
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      const auto& attention = spec_.layers[i].attention;
      windowed.push_back(attention && attention->window_tokens);
      const auto every = static_cast<std::size_t>(family_.window_pattern);
      usual = usual && every != 0 && windowed.back() == ((i + 1) % every != 0);
    }
    const bool any =
        std::find(windowed.begin(), windowed.end(), true) != windowed.end();
    if (architecture_.needs_window_list ||
        (architecture_.window_list && any && !usual)) {
      add("attention.sliding_window_pattern", windowed);
    }
  }

  void add_lengths(const std::string& suffix, int head_dim) {
    add_size("attention.key_length" + suffix, head_dim);
    add_size("attention.value_length" + suffix, head_dim);
  }

  void add_lengths(const AttentionSpec& first) {
    if (!first.latent) {
      const AttentionSpec* windowed = attention_where(spec_, true);
      const AttentionSpec* full = attention_where(spec_, false);
      add_lengths("", (full ? full : windowed)->head_dim);
      if (family_.full_head_dim) {
        add_lengths("_swa", (windowed ? windowed : full)->head_dim);
      }
      return;
    }
    // Every head reads the latent and what rotates, as one key-value head.
    const LatentSpec& latent = *first.latent;
    if (latent.q_rank) {
      add_size("attention.q_lora_rank", *latent.q_rank);
    }
    add_size("attention.kv_lora_rank", latent.kv_rank);
    add_size("attention.key_length", latent.kv_rank + latent.rope_dim);
    add_size("attention.value_length", latent.kv_rank);
    add_size("attention.key_length_mla", latent.nope_dim + latent.rope_dim);
    add_size(
        "attention.value_length_mla",
        first.value_dim.value_or(first.head_dim));
  }

  void add_rope() {
    const RopeSpec* full = rope_where(spec_, false);
    const RopeSpec* sliding = rope_where(spec_, true);
    const RopeSpec* rope = full != nullptr ? full : sliding;
    if (rope == nullptr) {
      if (spec_.learned_positions || family_.rope == RopeRule::none) {
        return;
      }
      if (!family_.multipliers) {
        refuse_gguf("It has no positions");
      }
      add("rope.scaling.finetuned", false);  // how granite's files say so
      return;
    }
    add_size("rope.dimension_count", rope->rotated_dims);
    add("rope.freq_base", static_cast<float>(rope->theta));
    const bool own_base = family_.local_rope_theta || family_.full_head_dim;
    if (own_base && sliding != nullptr && full != nullptr) {
      add("rope.freq_base_swa", static_cast<float>(sliding->theta));
    }
    if (family_.full_head_dim) {
      add_size(
          "rope.dimension_count_swa",
          (sliding != nullptr ? sliding : full)->rotated_dims);
    }
    if (architecture_.rope_sections) {
      // Pairs for each axis of images' positions, which are equal in a text.
      const int pairs = rope->rotated_dims / 2;
      const int first = (pairs + 2) / 3;
      const int second = (pairs - first + 1) / 2;
      add("rope.dimension_sections",
          std::vector<std::int32_t>{first, second, pairs - first - second, 0});
    }
    add_scaling(*rope);
  }

  void add_scaling(const RopeSpec& rope) {
    if (rope.dynamic || rope.regimes.empty() || rope.regimes.size() > 2) {
      refuse_gguf("GGUF has no dynamic rope scaling");
    }
    if (rope.regimes.size() == 2) {
      add_longrope(rope);
      return;
    }
    std::vector<float> by = rope_divisors(rope, 0);
    const auto [low, high] = std::minmax_element(by.begin(), by.end());
    const bool same = *high - *low <= 1e-5f * *high;
    if (is_yarn()) {
      add_yarn(rope);
    } else if (!same || architecture_.needs_rope_factors) {
      if (!architecture_.rope_factors) {
        refuse_gguf(fmt::format(
            "llama.cpp reads no rope_freqs for {}",
            architecture_.name));
      }
      for (float& divisor : by) {
        divisor = std::min(divisor, kNeverTurns);
      }
      model_.factors.emplace_back("rope_freqs.weight", by);
    } else if (std::abs(*low - 1) > 1e-5f) {
      add("rope.scaling.type", std::string("linear"));
      add("rope.scaling.factor", *low);
    }
  }

  void add_longrope(const RopeSpec& rope) {
    if (!architecture_.longrope) {
      refuse_gguf(fmt::format(
          "llama.cpp reads no longrope for {}",
          architecture_.name));
    }
    if (rope.regimes[0].magnitude != rope.regimes[1].magnitude) {
      refuse_gguf("Its two rope regimes differ in magnitude");
    }
    add("rope.scaling.type", std::string("longrope"));
    model_.factors.emplace_back(
        "rope_factors_short.weight",
        rope_divisors(rope, 0));
    model_.factors.emplace_back(
        "rope_factors_long.weight",
        rope_divisors(rope, 1));
    add_size(
        "rope.scaling.original_context_length",
        rope.regimes[0].max_tokens);
    add("rope.scaling.attn_factor", rope.regimes[0].magnitude);
  }

  const json& scaling() const {
    static const json none = json::object();
    for (const char* name : {"rope_scaling", "rope_parameters"}) {
      const auto found = config_.find(name);
      if (found != config_.end() && found->is_object()) {
        return found->contains(kFull) ? found->at(kFull) : *found;
      }
    }
    return none;
  }

  bool is_yarn() const {
    const std::string old = scaling().value("type", std::string());
    return scaling().value("rope_type", old) == "yarn";
  }

  void add_yarn(const RopeSpec& rope) {
    const json& yarn = scaling();
    const auto number = [&](const char* name, double other) {
      const auto found = yarn.find(name);
      return static_cast<float>(
          found != yarn.end() && found->is_number() ? found->get<double>()
                                                    : other);
    };
    add("rope.scaling.type", std::string("yarn"));
    const float factor = number("factor", 1);
    add("rope.scaling.factor", factor);
    add_magnitude(rope, factor, number("mscale_all_dim", 0));
    add_size(
        "rope.scaling.original_context_length",
        static_cast<std::int64_t>(number(
            "original_max_position_embeddings",
            static_cast<double>(spec_.context_tokens))));
    for (const auto& [ours, theirs] :
         {std::pair{"beta_fast", "yarn_beta_fast"},
          std::pair{"beta_slow", "yarn_beta_slow"}}) {
      // null and 0 stand for the usual number, as a key that isn't there.
      if (const float turns = number(ours, 0); turns > 0) {
        add(fmt::format("rope.scaling.{}", theirs), turns);
      }
    }
  }

  /// Readers scale by 1 + 0.1·ln(factor) themselves, and a latent's scores by
  /// the square of what mscale_all_dim says.
  void add_magnitude(const RopeSpec& rope, float factor, float all_dims) {
    if (family_.latent && all_dims != 0) {
      add("rope.scaling.yarn_log_multiplier", 0.1f * all_dims);
      return;
    }
    const double usual = factor <= 1 ? 1.0 : 0.1 * std::log(factor) + 1.0;
    const double own = rope.regimes[0].magnitude / usual;
    if (std::abs(own - 1) > 1e-5) {
      add("rope.scaling.attn_factor", static_cast<float>(own));
    }
  }

  void add_scales() {
    if (family_.multipliers) {
      add("embedding_scale", spec_.embedding_scale);
      add("residual_scale", spec_.layers[0].residual_scale);
      // The file has the divisor.
      add("logit_scale", 1 / spec_.logit_scale);
    }
    if (family_.logit_scale) {
      add("logit_scale", spec_.logit_scale);
    }
    if (family_.logit_softcap_field && spec_.logit_softcap) {
      add("final_logit_softcapping", *spec_.logit_softcap);
    }
  }

  const ModelSpec& spec_;
  const json& config_;
  const Family& family_;
  const GgufArchitecture& architecture_;
  GgufModel model_;
};

}  // namespace

GgufModel describe_gguf_metadata(
    const ModelSpec& spec,
    const json& config,
    const Family& family,
    const GgufArchitecture& architecture) {
  return MetadataMaker(spec, config, family, architecture).make();
}

}  // namespace roofline
