#include "roofline/spec/rope.h"

#include <cmath>

#include "roofline/spec/families.h"
#include "spec/spec_testing.h"

namespace roofline {
namespace {

using Json = nlohmann::json;

/// A small llama with these rope_parameters and other changes.
RopeSpec rope_of(Json parameters, Json changes = Json::object()) {
  Json config = golden_config("llama");
  config["rope_parameters"] = std::move(parameters);
  config.update(changes);
  return *read_config(config).layers[0].attention->rope;
}

/// Numbers are those of the reference implementation, which rounds powers to
/// float32 a little differently: two units in the last place.
void expect_frequencies(
    const RopeRegime& regime,
    const std::vector<float>& wanted,
    float magnitude = 1.0f) {
  ASSERT_EQ(regime.frequencies.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_NEAR(regime.frequencies[i] / wanted[i], 1.0, 2.4e-7) << i;
  }
  EXPECT_NEAR(regime.magnitude, magnitude, 1e-6);
}

TEST(Rope, UnscaledFrequenciesFallGeometrically) {
  expect_frequencies(
      rope_of(
          {{"rope_type", "default"}, {"rope_theta", 500000.0}},
          {{"head_dim", 20}})
          .regime_for(1),
      {1.f,
       0.269217312f,
       0.0724779591f,
       0.0195123218f,
       0.0052530556f,
       0.00141421345f,
       0.000380730664f,
       0.00010249934f,
       2.75945895e-05f,
       7.42894463e-06f});
}

TEST(Rope, LinearScalingDividesAllFrequencies) {
  expect_frequencies(
      rope_of({{"rope_type", "linear"}, {"factor", 3.0}}).regime_for(1),
      {0.333333343f,
       0.105409257f,
       0.0333333351f,
       0.0105409259f,
       0.00333333318f,
       0.00105409266f,
       0.000333333359f,
       0.000105409265f});
}

TEST(Rope, Llama3KeepsShortStretchesLongAndBlendsBetween) {
  const Json scaling = {
      {"rope_type", "llama3"},
      {"rope_theta", 10000.0},
      {"factor", 8.0},
      {"low_freq_factor", 1.0},
      {"high_freq_factor", 4.0},
      {"original_max_position_embeddings", 64}};
  expect_frequencies(
      rope_of(scaling).regime_for(1),
      {1.f,
       0.244384587f,
       0.0130422562f,
       0.00395284733f,
       0.00124999997f,
       0.000395284733f,
       0.000125000006f,
       3.95284733e-05f});
}

TEST(Rope, Llama3OfLlama32HasTheReferenceFrequencies) {
  const Json scaling = {
      {"rope_type", "llama3"},
      {"rope_theta", 500000.0},
      {"factor", 32.0},
      {"low_freq_factor", 1.0},
      {"high_freq_factor", 4.0},
      {"original_max_position_embeddings", 8192}};
  expect_frequencies(
      rope_of(scaling, {{"head_dim", 24}, {"max_position_embeddings", 131072}})
          .regime_for(1),
      {1.f,
       0.335031629f,
       0.112246193f,
       0.0376060307f,
       0.0125992084f,
       0.00422113482f,
       0.000429556705f,
       1.48064501e-05f,
       4.96062694e-06f,
       1.66196742e-06f,
       5.5681187e-07f,
       1.86549485e-07f});
}

TEST(Rope, YarnLeavesShortWavelengthsUnchanged) {
  expect_frequencies(
      rope_of({{"rope_type", "yarn"},
               {"factor", 4.0},
               {"original_max_position_embeddings", 32}})
          .regime_for(1),
      {1.f,
       0.197642356f,
       0.0250000004f,
       0.00790569466f,
       0.00249999994f,
       0.000790569466f,
       0.000250000012f,
       7.90569466e-05f},
      1.13862944f);
}

TEST(Rope, YarnReadsMscalesBetasAndTruncation) {
  const Json scaling = {
      {"rope_type", "yarn"},
      {"rope_theta", 50000.0},
      {"factor", 8.0},
      {"original_max_position_embeddings", 64},
      {"beta_fast", 4.0},
      {"beta_slow", 0.5},
      {"mscale", 1.5},
      {"mscale_all_dim", 0.75},
      {"truncate", false}};
  expect_frequencies(
      rope_of(scaling).regime_for(1),
      {1.f,
       0.213141367f,
       0.0170602798f,
       0.00216170424f,
       0.000559017004f,
       0.000144561869f,
       3.73837211e-05f,
       9.66743482e-06f},
      1.13491675f);
}

TEST(Rope, YarnTakesAGivenAttentionFactorAndTheModelsContext) {
  expect_frequencies(
      rope_of(
          {{"rope_type", "yarn"}, {"factor", 8.0}, {"attention_factor", 1.25}})
          .regime_for(1),
      {1.f,
       0.247052938f,
       0.0562500022f,
       0.01087033f,
       0.00124999997f,
       0.000395284733f,
       0.000125000006f,
       3.95284733e-05f},
      1.25f);
}

TEST(Rope, DynamicGrowsTheBaseOnlyPastTheContext) {
  const RopeSpec rope = rope_of(
      {{"rope_type", "dynamic"}, {"factor", 4.0}},
      {{"max_position_embeddings", 32}});
  const std::vector<float> short_ones = {
      1.f,
      0.316227764f,
      0.100000001f,
      0.0316227786f,
      0.00999999978f,
      0.00316227786f,
      0.00100000005f,
      0.000316227786f};
  expect_frequencies(rope.regime_for(1), short_ones);
  expect_frequencies(rope.regime_for(32), short_ones);
  const RopeRegime grown = rope.regime_for(48);
  EXPECT_EQ(grown.max_tokens, 48);
  expect_frequencies(
      grown,
      {1.f,
       0.270296127f,
       0.0730599985f,
       0.0197478328f,
       0.00533776311f,
       0.00144277664f,
       0.000389976951f,
       0.000105409265f});
}

Json longrope_config() {
  Json config = golden_config("phi3_partial");
  config["original_max_position_embeddings"] = 32;
  config["rope_parameters"] = {
      {"rope_type", "longrope"},
      {"partial_rotary_factor", 0.75},
      {"short_factor", {1.0, 1.1, 1.2, 1.3, 1.4, 1.5}},
      {"long_factor", {1.0, 1.5, 2.0, 2.5, 3.0, 3.5}}};
  return config;
}

TEST(Rope, LongropeChangesItsFactorsPastTheOriginalContext) {
  const RopeSpec rope =
      *read_config(longrope_config()).layers[0].attention->rope;
  EXPECT_EQ(rope.rotated_dims, 12);
  const std::vector<float> brief = {
      1.f,
      0.195857689f,
      0.0386799015f,
      0.0076923077f,
      0.00153888157f,
      0.000309439318f};
  expect_frequencies(rope.regime_for(32), brief, 1.34164079f);
  expect_frequencies(
      rope.regime_for(33),
      {1.f,
       0.14362897f,
       0.023207942f,
       0.00400000019f,
       0.000718144758f,
       0.000132616842f},
      1.34164079f);
}

TEST(Rope, PhiReadsItsOldNamesOfLongrope) {
  const Json config = longrope_config();
  const auto wanted =
      read_config(config).layers[0].attention->rope->regime_for(33);
  for (const char* name : {"su", "yarn"}) {
    Json old = config;
    old["rope_scaling"] = old["rope_parameters"];
    old.erase("rope_parameters");
    old["rope_scaling"].erase("rope_type");
    old["rope_scaling"]["type"] = name;
    const auto regime =
        read_config(old).layers[0].attention->rope->regime_for(33);
    EXPECT_EQ(regime.frequencies, wanted.frequencies) << name;
    EXPECT_EQ(regime.magnitude, wanted.magnitude) << name;
  }
}

TEST(Rope, LongropeWithoutStretchHasNoMagnitude) {
  Json config = longrope_config();
  config["max_position_embeddings"] = 32;
  const RopeSpec rope = *read_config(config).layers[0].attention->rope;
  EXPECT_EQ(rope.regime_for(1).magnitude, 1.0f);
}

TEST(Rope, OldAndNewStylesOfEveryScalingGiveTheSame) {
  for (const std::string& name : golden_names()) {
    Json config = golden_config(name);
    const Json rope = config.value("rope_parameters", Json::object());
    if (!rope.contains("rope_type")) {
      continue;
    }
    const ModelSpec wanted = read_config(config);
    config.erase("rope_parameters");
    const Family* family = find_family(config["model_type"].get<std::string>());
    config[std::string(family->rope_theta_field)] = rope.at("rope_theta");
    config["rope_scaling"] = rope;
    config["rope_scaling"].erase("rope_theta");
    config["rope_scaling"]["type"] = rope.at("rope_type");
    config["rope_scaling"].erase("rope_type");
    const ModelSpec spec = read_config(config);
    for (std::size_t i = 0; i < spec.layers.size(); ++i) {
      ASSERT_EQ(
          spec.layers[i].attention.has_value(),
          wanted.layers[i].attention.has_value());
      if (!spec.layers[i].attention) {
        continue;
      }
      const auto& a = spec.layers[i].attention->rope;
      const auto& b = wanted.layers[i].attention->rope;
      ASSERT_EQ(a.has_value(), b.has_value()) << name;
      for (int tokens : {1, 40, 600}) {
        EXPECT_TRUE(
            !a || a->regime_for(tokens).frequencies ==
                      b->regime_for(tokens).frequencies)
            << name << " at " << tokens;
      }
    }
  }
}

TEST(Rope, ParametersPerLayerTypeReachTheirLayers) {
  Json config = golden_config("qwen2_window");
  config["rope_parameters"] = {
      {"full_attention", {{"rope_theta", 10000.0}}},
      {"sliding_attention",
       {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 10000.0}}}};
  const ModelSpec spec = read_config(config);
  EXPECT_EQ(spec.layers[0].attention->rope->regime_for(1).frequencies[0], 1.0f);
  EXPECT_EQ(spec.layers[1].attention->rope->regime_for(1).frequencies[0], 0.5f);
}

TEST(Rope, OnlyGlobalLayersOfGemma3AreScaled) {
  const ModelSpec spec = read_config(golden_config("gemma3_old_style"));
  const auto& local = *spec.layers[0].attention->rope;
  const auto& global = *spec.layers[2].attention->rope;
  EXPECT_EQ(local.theta, 5000.0);
  EXPECT_EQ(local.regime_for(1).frequencies[0], 1.0f);
  EXPECT_EQ(global.theta, 200000.0);
  EXPECT_EQ(global.regime_for(1).frequencies[0], 0.125f);
}

TEST(Rope, UnknownKindIsRefusedWithTheNearest) {
  const std::string text = message_of<UnsupportedError>([] {
    rope_of({{"rope_type", "lama3"}});
  });
  expect_has(text, "rope_type is \"lama3\"");
  expect_has(text, "Did you mean llama3");
}

TEST(Rope, UnknownFieldOfAScalingIsRefused) {
  expect_has(
      message_of<UnsupportedError>([] {
        rope_of({{"rope_type", "linear"}, {"factor", 2.0}, {"mscale", 1.5}});
      }),
      "rope_parameters.mscale is 1.5");
}

TEST(Rope, PartialRotationOfAFamilyThatRotatesWholeHeadsIsRefused) {
  expect_has(
      message_of<UnsupportedError>([] {
        rope_of({{"rope_type", "default"}, {"partial_rotary_factor", 0.5}});
      }),
      "partial_rotary_factor is 0.5");
}

TEST(Rope, StylesThatDisagreeAreRefused) {
  Json config = golden_config("llama_rope_linear");
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 3.0}};
  expect_has(config_error<CheckpointError>(config), "factor is 3.0");
}

TEST(Rope, ValuesThatCannotBeAreRefused) {
  const std::vector<Json> bad = {
      {{"rope_type", "linear"}},
      {{"rope_type", "linear"}, {"factor", 0.0}},
      {{"rope_type", "linear"}, {"factor", "two"}},
      {{"rope_type", "default"}, {"factor", 2.0}},
      {{"rope_type", "default"}, {"rope_theta", -1.0}},
      {{"rope_type", "default"}, {"rope_theta", 1e30}},
      {{"rope_type", "default"}, {"rope_theta", std::nan("")}},
      {{"rope_type", 3}},
      {{"rope_type", "llama3"}, {"factor", 8.0}},
      {{"rope_type", "llama3"},
       {"factor", 8.0},
       {"low_freq_factor", 4.0},
       {"high_freq_factor", 4.0}},
      {{"rope_type", "longrope"}, {"short_factor", {1, 2}}},
      {{"rope_type", "longrope"},
       {"short_factor", Json::array({1, 1, 1, 1, 1, 1, 1, 1})},
       {"long_factor", Json::array({1, 1, 1, 1, 1, 1, 1, 0})}},
      {{"rope_type", "yarn"}, {"original_max_position_embeddings", 0}},
  };
  for (const Json& parameters : bad) {
    EXPECT_THROW(rope_of(parameters), CheckpointError) << parameters.dump();
  }
}

}  // namespace
}  // namespace roofline
