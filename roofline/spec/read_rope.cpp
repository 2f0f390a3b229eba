#include "roofline/spec/read_rope.h"

#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/rope.h"
#include "roofline/spec/unknown_fields.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

constexpr NumberRange kTheta{1.001, 1e15};
constexpr NumberRange kFactor{1e-6, 1e6};
constexpr NumberRange kBetaRange{0.0, 1e6};
constexpr std::string_view kParameters = "config.json: rope_parameters.";
constexpr std::string_view kScaling = "config.json: rope_scaling.";
constexpr std::string_view kFull = "full_attention";
constexpr std::string_view kSliding = "sliding_attention";

const std::vector<std::pair<std::string, RopeScaling>> kKinds = {
    {"default", RopeScaling::none},
    {"linear", RopeScaling::linear},
    {"dynamic", RopeScaling::dynamic},
    {"llama3", RopeScaling::llama3},
    {"yarn", RopeScaling::yarn},
    {"longrope", RopeScaling::longrope},
    {"proportional", RopeScaling::proportional},
};

/// What stands beside the description of the scaling.
struct Beside {
  const Family& family;
  int head_dim = 0;
  std::int64_t context_tokens = 0;
  double theta = 0;
  std::optional<double> partial;
  std::optional<std::int64_t> original_context;
};

RopeScaling kind_named(
    const std::string& label,
    const std::string& name,
    const Family& family) {
  if (family.longrope_original_context && (name == "su" || name == "yarn")) {
    return RopeScaling::longrope;
  }
  std::vector<std::string> names;
  for (const auto& [known, kind] : kKinds) {
    if (known == name) {
      return kind;
    }
    names.push_back(known);
  }
  fail<UnsupportedError>(
      fmt::format("{} is {}", label, shown(name)),
      fmt::format("The kinds of scaling known are {}", fmt::join(names, ", ")),
      did_you_mean(name, names));
}

/// Sets recipe.pairs where the whole head counts as rotated.
int rotated_dims(Fields& fields, const Beside& beside, RopeRecipe& recipe) {
  std::optional<double> partial =
      fields.number("partial_rotary_factor", {0.0, 1.0});
  partial = partial ? partial : beside.partial;
  const double share = partial.value_or(beside.family.partial_rotary_share);
  if (share != 1.0 && !beside.family.partial_rotary) {
    fail<UnsupportedError>(
        fmt::format("{} is {}", fields.label("partial_rotary_factor"), share),
        fmt::format(
            "Models of family {} rotate whole heads",
            beside.family.name),
        "");
  }
  if (recipe.scaling == RopeScaling::proportional && beside.head_dim % 2 == 0) {
    recipe.pairs = static_cast<int>(beside.head_dim * share / 2);
    recipe.factor = fields.number("factor", kFactor).value_or(1.0);
    return beside.head_dim;
  }
  const int dims = static_cast<int>(beside.head_dim * share);
  if (dims < 2 || (dims == beside.head_dim && dims % 2 != 0)) {
    fail<CheckpointError>(
        fmt::format(
            "{} of {} dims of a head would be rotated",
            dims,
            beside.head_dim),
        "Dims rotate in pairs",
        "Check head_dim and partial_rotary_factor");
  }
  return dims;
}

double original_context(Fields& fields, const Beside& beside) {
  const IntRange range{2, kMaxContext};
  const std::optional<std::int64_t> inner =
      fields.integer("original_max_position_embeddings", range);
  if (beside.family.longrope_original_context) {
    return static_cast<double>(beside.original_context.value_or(
        *beside.family.longrope_original_context));
  }
  const std::int64_t outer =
      beside.original_context.value_or(beside.context_tokens);
  return static_cast<double>(inner.value_or(outer));
}

void read_llama3(Fields& fields, RopeRecipe& recipe) {
  recipe.factor = fields.needed_number("factor", kFactor);
  recipe.low_frequency_factor =
      fields.needed_number("low_freq_factor", kFactor);
  recipe.high_frequency_factor =
      fields.needed_number("high_freq_factor", kFactor);
  if (recipe.high_frequency_factor <= recipe.low_frequency_factor) {
    fields.refuse(
        "high_freq_factor",
        fmt::format(
            "It must be above low_freq_factor, {}",
            recipe.low_frequency_factor));
  }
}

void read_yarn(Fields& fields, RopeRecipe& recipe) {
  recipe.factor = fields.needed_number("factor", kFactor);
  recipe.attention_factor = fields.number("attention_factor", kFactor);
  recipe.mscale = fields.number("mscale", kBetaRange);
  recipe.mscale_all_dims = fields.number("mscale_all_dim", kBetaRange);
  // The reference takes zero for absent.
  const double fast = fields.number("beta_fast", kBetaRange).value_or(0.0);
  const double slow = fields.number("beta_slow", kBetaRange).value_or(0.0);
  recipe.beta_fast = fast == 0.0 ? 32.0 : fast;
  recipe.beta_slow = slow == 0.0 ? 1.0 : slow;
  recipe.truncate = fields.flag("truncate").value_or(true);
}

std::vector<float> read_factors(
    Fields& fields,
    std::string_view name,
    int dims) {
  const auto wanted = static_cast<std::size_t>((dims + 1) / 2);
  const auto numbers = fields.numbers(name, kFactor, kMaxHeadDim);
  if (!numbers || numbers->size() != wanted) {
    fields.refuse(
        name,
        fmt::format("There must be one number for each of {} pairs", wanted));
  }
  return {numbers->begin(), numbers->end()};
}

void read_longrope(Fields& fields, const Beside& beside, RopeRecipe& recipe) {
  const double ratio =
      static_cast<double>(beside.context_tokens) / recipe.original_context;
  recipe.factor = fields.number("factor", kFactor).value_or(ratio);
  recipe.attention_factor = fields.number("attention_factor", kFactor);
  recipe.short_factors = read_factors(fields, "short_factor", recipe.dims);
  recipe.long_factors = read_factors(fields, "long_factor", recipe.dims);
  if (beside.family.longrope_magnitudes) {
    recipe.short_magnitude = fields.needed_number("short_mscale", kFactor);
    recipe.long_magnitude = fields.needed_number("long_mscale", kFactor);
    recipe.long_factors = recipe.short_factors;
  }
}

void read_dynamic(Fields& fields, const Beside& beside, RopeRecipe& recipe) {
  recipe.factor = fields.needed_number("factor", kFactor);
  recipe.original_context = static_cast<double>(beside.context_tokens);
  if (recipe.dims <= 2 || recipe.dims % 2 != 0) {
    fields.refuse("rope_type", "It needs an even number of dims above 2");
  }
  // The reference scales from max_position_embeddings on, whatever this says.
  fields.integer("original_max_position_embeddings", {2, kMaxContext});
}

/// "dynamic" with an alpha stretches the base for all lengths alike; what
/// stands beside it says nothing then.
bool read_ntk_alpha(Fields& fields, const Beside& beside, RopeRecipe& recipe) {
  if (!beside.family.ntk_alpha || recipe.scaling != RopeScaling::dynamic) {
    return false;
  }
  const double alpha = fields.number("alpha", kBetaRange).value_or(0.0);
  if (alpha == 0.0) {
    return false;
  }
  if (recipe.dims <= 2) {
    fields.refuse("alpha", "It needs heads of more than 2 dims");
  }
  for (std::string_view name :
       {"factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "original_max_position_embeddings"}) {
    fields.find(name);
  }
  refuse_unknown_fields(fields, "rope scaling dynamic");
  const double dims = recipe.dims;
  recipe.theta *= std::pow(alpha, dims / (dims - 2.0));
  recipe.scaling = RopeScaling::none;
  return true;
}

/// Fields that say nothing in this kind of scaling.
void read_neutral(Fields& fields, RopeScaling scaling) {
  fields.find("finetuned");
  // Text stands at the same place on all axes of an image's positions.
  fields.find("mrope_section");
  fields.find("mrope_interleaved");
  // A copy of the one outside.
  fields.find("max_position_embeddings");
  if (scaling != RopeScaling::none && scaling != RopeScaling::linear) {
    return;
  }
  fields.find("original_max_position_embeddings");
  if (scaling == RopeScaling::none) {
    const auto factor = fields.number("factor", kFactor);
    if (factor && *factor != 1.0) {
      fields.refuse("factor", "There is no rope_type that would use it");
    }
  }
}

RopeSpec read_rope(const Json& object, std::string prefix, Beside beside) {
  Fields fields(object, std::move(prefix));
  const auto old_name = fields.text("type");
  const std::string kind =
      fields.text("rope_type").value_or(old_name.value_or("default"));
  RopeRecipe recipe;
  recipe.scaling = kind_named(fields.label("rope_type"), kind, beside.family);
  if (old_name && kind_named(fields.label("type"), *old_name, beside.family) !=
                      recipe.scaling) {
    fields.refuse("type", fmt::format("rope_type beside it is {}", kind));
  }
  recipe.theta = fields.number("rope_theta", kTheta).value_or(beside.theta);
  recipe.layout = beside.family.rope_layout;
  recipe.dims = rotated_dims(fields, beside, recipe);
  if (read_ntk_alpha(fields, beside, recipe)) {
    return make_rope(recipe);
  }
  switch (recipe.scaling) {
    case RopeScaling::none:
    case RopeScaling::proportional:
      break;
    case RopeScaling::linear:
      recipe.factor = fields.needed_number("factor", kFactor);
      break;
    case RopeScaling::dynamic:
      read_dynamic(fields, beside, recipe);
      break;
    case RopeScaling::llama3:
      recipe.original_context = original_context(fields, beside);
      read_llama3(fields, recipe);
      break;
    case RopeScaling::yarn:
      recipe.original_context = original_context(fields, beside);
      read_yarn(fields, recipe);
      break;
    case RopeScaling::longrope:
      recipe.original_context = original_context(fields, beside);
      read_longrope(fields, beside, recipe);
      break;
  }
  read_neutral(fields, recipe.scaling);
  if (beside.family.query_temperature) {
    fields.find("llama_4_scaling_beta");  // read with the layers' ropes
  }
  refuse_unknown_fields(fields, "rope scaling " + kind);
  return make_rope(recipe);
}

/// The object at a field, or an empty one. Throws if it is something else.
Json object_at(Fields& fields, std::string_view name) {
  const Json* value = fields.find(name);
  if (!value) {
    return Json::object();
  }
  if (!value->is_object()) {
    fields.refuse(name, "It must be an object");
  }
  return *value;
}

/// Newer values under older ones of the same meaning; they must not disagree.
void merge(Json& into, const Json& from) {
  for (const auto& [name, value] : from.items()) {
    if (value.is_null()) {
      continue;
    }
    const auto found = into.find(name);
    if (found != into.end() && !found->is_null() && *found != value) {
      fail<CheckpointError>(
          fmt::format(
              "config.json: {} is {} in rope_scaling and {} in rope_parameters",
              name,
              shown(value),
              shown(*found)),
          "Both describe the same scaling",
          "Remove one of them");
    }
    into[name] = value;
  }
}

bool has_any(const Json& object, std::string_view a, std::string_view b) {
  return object.contains(a) || object.contains(b);
}

LayerRopes read_both(
    const Json& parameters,
    const Json& scaling,
    const Beside& full,
    const Beside& sliding) {
  Fields fields(parameters, std::string(kParameters));
  Json global = object_at(fields, kFull);
  const Json local = object_at(fields, kSliding);
  refuse_unknown_fields(fields, "rope per layer type");
  merge(global, scaling);
  return {
      read_rope(global, fields.label("full_attention."), full),
      read_rope(local, fields.label("sliding_attention."), sliding),
      std::nullopt};
}

std::optional<QueryTemperature> read_temperature(
    const Json& parameters,
    const Beside& beside) {
  Fields fields(parameters, std::string(kParameters));
  const auto beta = fields.number("llama_4_scaling_beta", kBetaRange);
  if (!beside.family.query_temperature || !beta) {
    return std::nullopt;
  }
  const auto tokens =
      static_cast<std::int64_t>(original_context(fields, beside));
  return QueryTemperature{static_cast<float>(*beta), tokens};
}

}  // namespace

LayerRopes read_ropes(
    Fields& config,
    const Family& family,
    HeadDims head_dims,
    std::int64_t context_tokens) {
  const Json scaling = object_at(config, "rope_scaling");
  Json parameters = object_at(config, "rope_parameters");
  if (scaling.empty() && parameters.empty() &&
      !family.rope_parameters.empty()) {
    parameters = Json::parse(family.rope_parameters);
  }
  Beside beside{family, head_dims.full, context_tokens, 0.0, {}, {}};
  beside.theta = config.number(family.rope_theta_field, kTheta)
                     .value_or(family.rope_theta);
  beside.partial = config.number(family.partial_rotary_field, {0.0, 1.0});
  if (!beside.partial &&
      config.object().contains(family.partial_rotary_field)) {
    beside.partial = 1.0;  // null isn't the family's default
  }
  if (family.rotary_dim_field) {
    const int head_dim = head_dims.full;
    const auto dims = config.integer("rotary_dim", {1, head_dim});
    const auto share = static_cast<double>(dims.value_or(head_dim)) / head_dim;
    beside.partial = beside.partial ? beside.partial : share;
  }
  beside.original_context =
      config.integer("original_max_position_embeddings", {2, kMaxContext});
  if (family.local_rope_theta) {
    Beside local = beside;
    local.head_dim = head_dims.sliding;
    local.theta = config.number("rope_local_base_freq", kTheta)
                      .value_or(*family.local_rope_theta);
    return read_both(parameters, scaling, beside, local);
  }
  if (has_any(parameters, kFull, kSliding)) {
    beside.partial.reset();  // each kind of layer says its own
    Beside local = beside;
    local.head_dim = head_dims.sliding;
    return read_both(parameters, scaling, beside, local);
  }
  merge(parameters, scaling);
  const std::string prefix(scaling.empty() ? kParameters : kScaling);
  const RopeSpec rope = read_rope(parameters, prefix, beside);
  return {rope, rope, read_temperature(parameters, beside)};
}

}  // namespace roofline
