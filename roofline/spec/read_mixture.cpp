#include "roofline/spec/read_mixture.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/mixture_rule.h"
#include "roofline/spec/read_recurrent.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

constexpr IntRange kExperts{0, 1 << 16};
constexpr IntRange kLayers{0, kMaxLayers};
// Rows of all experts of a layer together.
constexpr std::int64_t kMaxExpertRows = std::int64_t{1} << 24;

int needed_or(
    Fields& config,
    std::string_view name,
    IntRange range,
    int other) {
  if (other == 0) {
    return static_cast<int>(config.needed_integer(name, range));
  }
  return static_cast<int>(config.integer(name, range).value_or(other));
}

/// The value of a field that can have two names; both must agree.
int read_named(
    Fields& config,
    const std::array<std::string_view, 2>& names,
    IntRange range,
    int other) {
  if (names[1].empty()) {
    return needed_or(config, names[0], range, other);
  }
  const auto second = config.integer(names[1], range);
  const auto first = config.integer(names[0], range);
  if (first && second && *first != *second) {
    config.refuse(names[1], fmt::format("It must be that of {}", names[0]));
  }
  if (second) {
    return static_cast<int>(*second);
  }
  return needed_or(config, names[0], range, other);
}

/// alternatives: "a|b".
bool is_one_of(std::string_view text, std::string_view alternatives) {
  while (!alternatives.empty()) {
    const std::size_t bar =
        std::min(alternatives.find('|'), alternatives.size());
    if (alternatives.substr(0, bar) == text) {
      return true;
    }
    alternatives.remove_prefix(std::min(bar + 1, alternatives.size()));
  }
  return false;
}

void check_fixed(Fields& config, const MixtureRule& rule) {
  for (const FixedField& field : rule.fixed) {
    if (field.name.empty()) {
      continue;
    }
    const Json* value = config.find(field.name);
    if (!value) {
      continue;
    }
    const std::string text =
        value->is_string() ? value->get<std::string>() : value->dump();
    if (!is_one_of(text, field.value)) {
      fail<UnsupportedError>(
          fmt::format("{} is {}", config.label(field.name), shown(*value)),
          fmt::format("Known is {} only", field.value),
          "");
    }
  }
}

void read_groups(Fields& config, const MixtureRule& rule, MixtureSpec& m) {
  if (rule.groups == 0) {
    return;
  }
  const int groups = static_cast<int>(
      config.integer("n_group", {1, 1 << 16}).value_or(rule.groups));
  const int top = static_cast<int>(
      config.integer("topk_group", {1, 1 << 16}).value_or(rule.top_groups));
  if (rule.groups_by_method) {
    const std::string method = config.text("topk_method").value_or("greedy");
    if (method != "greedy" && method != "group_limited_greedy") {
      fail<UnsupportedError>(
          fmt::format("{} is {}", config.label("topk_method"), shown(method)),
          "Known are greedy and group_limited_greedy",
          "");
    }
    if (method == "greedy") {
      return;
    }
  }
  m.groups = groups;
  m.top_groups = top;
  m.group_score = rule.group_score;
}

int read_shared(Fields& config, const MixtureRule& rule, int expert_hidden) {
  if (rule.shared == SharedExpert::none) {
    return 0;
  }
  if (rule.shared == SharedExpert::sized) {
    return static_cast<int>(config.integer(rule.shared_field, kNoneOrDims)
                                .value_or(rule.shared_size));
  }
  const std::int64_t count =
      config.integer(rule.shared_field, {0, 64}).value_or(rule.shared_size);
  if (count * expert_hidden > kMaxDim) {
    config.refuse(rule.shared_field, "Times an expert's width it is too much");
  }
  return static_cast<int>(count * expert_hidden);
}

MixtureSpec read_mixture(Fields& config, const MixtureRule& rule) {
  MixtureSpec m;
  m.experts = read_named(config, rule.experts_fields, kExperts, rule.experts);
  m.top_k = read_named(config, rule.top_k_fields, kExperts, rule.top_k);
  m.expert_hidden = needed_or(config, rule.hidden_field, kDims, rule.hidden);
  m.score = rule.score;
  m.renormalise = rule.renormalise;
  if (rule.renormalise_field) {
    m.renormalise = config.flag("norm_topk_prob").value_or(rule.renormalise);
  }
  if (rule.renormalise_field_ignored) {
    config.find("norm_topk_prob");
  }
  m.least_sum = rule.least_sum;
  if (!rule.least_sum_field.empty()) {
    m.least_sum =
        static_cast<float>(config.number(rule.least_sum_field, {0.0, 1e6})
                               .value_or(rule.least_sum));
  }
  if (rule.scale) {
    m.scale =
        static_cast<float>(config.number("routed_scaling_factor", {-1e6, 1e6})
                               .value_or(*rule.scale));
  }
  if (rule.score == ExpertScore::sparsemixer) {
    m.jitter = static_cast<float>(
        config.number("router_jitter_noise", {0.0, 1.0}).value_or(m.jitter));
  }
  m.selection_bias = rule.selection_bias;
  if (!rule.selection_bias_field.empty()) {
    m.selection_bias = config.flag(rule.selection_bias_field).value_or(true);
  }
  m.router_norm = rule.router_norm;
  m.expert_scale = rule.expert_scale;
  m.router_bias = rule.router_bias;
  m.expert_bias = rule.expert_bias;
  read_groups(config, rule, m);
  m.shared_hidden = read_shared(config, rule, m.expert_hidden);
  m.shared_gate = rule.shared_gate && m.shared_hidden > 0;
  if (!rule.latent_field.empty()) {
    const auto dims = config.integer(rule.latent_field, kDims);
    m.latent_dim = dims ? std::optional(static_cast<int>(*dims)) : std::nullopt;
  }
  check_fixed(config, rule);
  return m;
}

std::vector<bool> stepped_layers(Fields& config, std::size_t layers) {
  const auto step =
      config.integer("decoder_sparse_step", {1, kMaxLayers}).value_or(1);
  const auto dense = config.integers("mlp_only_layers", kLayers, kMaxLayers)
                         .value_or(std::vector<std::int64_t>());
  std::vector<bool> out;
  for (std::size_t i = 0; i < layers; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    out.push_back(
        (at + 1) % step == 0 &&
        std::find(dense.begin(), dense.end(), at) == dense.end());
  }
  return out;
}

std::vector<bool> layers_between(
    Fields& config,
    const MixtureRule& rule,
    std::size_t layers) {
  const auto first = config.integer("moe_layer_start_index", kLayers)
                         .value_or(rule.first_layer);
  const auto last =
      config.integer("moe_layer_end_index", {-1, kMaxLayers}).value_or(-1);
  const auto interval =
      config.integer("moe_layer_interval", {1, kMaxLayers}).value_or(1);
  std::vector<bool> out;
  for (std::size_t i = 0; i < layers; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    out.push_back(
        (at + 1) % interval == 0 && at >= first && (last == -1 || at <= last));
  }
  return out;
}

std::vector<bool> layers_with_experts(
    Fields& config,
    const Family& family,
    std::size_t layers) {
  const MixtureRule& rule = *family.mixture;
  switch (rule.layers) {
    case ExpertLayers::listed:
      return listed_mixtures(config, *family.recurrent, layers);
    case ExpertLayers::all:
      break;
    case ExpertLayers::stepped:
      return stepped_layers(config, layers);
    case ExpertLayers::between:
      return layers_between(config, rule, layers);
    case ExpertLayers::past_first: {
      const auto first = config.integer(rule.first_layer_field, kLayers)
                             .value_or(rule.first_layer);
      std::vector<bool> out(layers, true);
      std::fill_n(
          out.begin(),
          std::min(layers, static_cast<std::size_t>(first)),
          false);
      return out;
    }
  }
  return std::vector<bool>(layers, true);
}

}  // namespace

void check_mixture(Fields& config, const MixtureSpec& m) {
  const std::string numbers = fmt::format(
      "{} of {} experts in the best {} of {} groups",
      m.top_k,
      m.experts,
      m.top_groups,
      m.groups);
  const auto refuse = [&](std::string_view why) {
    fail<CheckpointError>(
        fmt::format("{}{} can't be", config.label(""), numbers),
        why,
        "Check the sizes of the mixture of experts");
  };
  if (m.top_k < 1 || m.top_k > m.experts) {
    refuse("At least one expert and at most all are chosen");
  }
  if (m.groups > m.experts || m.experts % m.groups != 0 ||
      m.top_groups > m.groups) {
    refuse("Groups must divide the experts evenly");
  }
  const int in_group = m.experts / m.groups;
  if (m.groups > 1 && m.top_k > m.top_groups * in_group) {
    refuse("The chosen groups hold fewer experts");
  }
  if (m.groups > 1 && m.group_score == GroupScore::sum_of_best_2 &&
      in_group < 2) {
    refuse("A group is judged by its two best experts");
  }
  if (m.score == ExpertScore::sparsemixer && m.top_k != 2) {
    refuse("The sparsemixer chooses two");
  }
  if (std::int64_t{m.experts} * m.expert_hidden > kMaxExpertRows) {
    refuse("Their rows together are too many");
  }
}

void set_mixture(
    FeedForwardSpec& feed_forward,
    const MixtureRule& rule,
    const MixtureSpec& mixture) {
  feed_forward.mixture = mixture;
  feed_forward.mixture_beside_dense = rule.beside_dense;
  if (!rule.beside_dense) {
    feed_forward.hidden = 0;
  }
}

void read_mixtures(Fields& config, const Family& family, ModelSpec& spec) {
  if (!family.mixture) {
    return;
  }
  const MixtureRule& rule = *family.mixture;
  if (!rule.enabled_by.empty() &&
      !config.flag(rule.enabled_by).value_or(false)) {
    // Numbers of experts that aren't there say nothing.
    for (std::string_view name :
         {rule.experts_fields[0], rule.top_k_fields[0], rule.hidden_field}) {
      config.find(name);
    }
    return;
  }
  const MixtureSpec mixture = read_mixture(config, rule);
  // Numbers of experts that no layer has say nothing.
  const std::vector<bool> with =
      layers_with_experts(config, family, spec.layers.size());
  const bool any = std::find(with.begin(), with.end(), true) != with.end();
  if (mixture.experts == 0 || !any) {
    return;
  }
  check_mixture(config, mixture);
  for (std::size_t i = 0; i < with.size(); ++i) {
    if (with[i]) {
      set_mixture(*spec.layers[i].feed_forward, rule, mixture);
    }
  }
}

}  // namespace roofline
