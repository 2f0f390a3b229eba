#include <cmath>
#include <numbers>

#include "roofline/spec/write_config.h"
#include "spec/spec_testing.h"

namespace roofline {
namespace {

using Json = nlohmann::json;

Json small_file(const std::string& architecture, const Json& more = {}) {
  Json all = {
      {"block_count", 3},
      {"context_length", 512},
      {"embedding_length", 64},
      {"feed_forward_length", 128},
      {"attention.head_count", 4},
      {"attention.head_count_kv", 2},
      {"attention.layer_norm_rms_epsilon", 9.999999974752427e-07},
      {"rope.freq_base", 10000.0}};
  if (more.is_object()) {
    all.update(more);
  }
  Json out = {
      {"general.architecture", architecture},
      {"general.name", "small_file"},
      {"tokenizer.ggml.bos_token_id", 1},
      {"tokenizer.ggml.eos_token_id", 2},
      {"tokenizer.ggml.tokens.length", 256}};
  for (const auto& [name, value] : all.items()) {
    if (!value.is_null()) {
      out[architecture + "." + name] = value;
    }
  }
  return out;
}

ModelSpec read(
    const std::string& architecture,
    const Json& more = {},
    const GgufRopeFactors& factors = {}) {
  return read_gguf_metadata(small_file(architecture, more), factors);
}

template <class E>
std::string gguf_error(const Json& metadata) {
  return message_of<E>([&] { read_gguf_metadata(metadata, {}); });
}

void expect_same_rope(
    const AttentionSpec& a,
    const AttentionSpec& b,
    RopeLayout layout) {
  ASSERT_EQ(a.rope.has_value(), b.rope.has_value());
  if (!a.rope) {
    return;
  }
  EXPECT_EQ(a.rope->layout, layout);
  EXPECT_EQ(a.rope->rotated_dims, b.rope->rotated_dims);
  for (int tokens : {32, 40}) {
    const RopeRegime one = a.rope->regime_for(tokens);
    const RopeRegime other = b.rope->regime_for(tokens);
    ASSERT_EQ(one.frequencies.size(), other.frequencies.size());
    for (std::size_t i = 0; i < one.frequencies.size(); ++i) {
      EXPECT_NEAR(one.frequencies[i] / other.frequencies[i], 1, 3e-7) << i;
    }
    EXPECT_NEAR(one.magnitude, other.magnitude, 1e-6);
  }
}

/// The same model as the golden's config describes, but for what conversion
/// changes: the rope's layout and norms that already hold their 1.
void expect_same(
    const ModelSpec& gguf,
    const std::string& golden,
    RopeLayout layout = RopeLayout::half_split) {
  const ModelSpec hf = read_config(golden_config(golden));
  EXPECT_EQ(gguf.dim, hf.dim);
  EXPECT_EQ(gguf.vocab, hf.vocab);
  EXPECT_EQ(gguf.eos_tokens, hf.eos_tokens);
  EXPECT_EQ(gguf.bos_token, hf.bos_token);
  EXPECT_EQ(gguf.context_tokens, hf.context_tokens);
  EXPECT_FLOAT_EQ(gguf.embedding_scale, hf.embedding_scale);
  EXPECT_FLOAT_EQ(gguf.logit_scale, hf.logit_scale);
  EXPECT_EQ(gguf.logit_softcap, hf.logit_softcap);
  ASSERT_EQ(gguf.layers.size(), hf.layers.size());
  for (std::size_t i = 0; i < hf.layers.size(); ++i) {
    const LayerSpec& a = gguf.layers[i];
    const LayerSpec& b = hf.layers[i];
    EXPECT_EQ(a.norm_placement, b.norm_placement);
    EXPECT_FLOAT_EQ(a.norm.eps, b.norm.eps);
    EXPECT_FALSE(a.norm.plus_one);
    EXPECT_FLOAT_EQ(a.residual_scale, b.residual_scale);
    EXPECT_EQ(a.attention->heads, b.attention->heads);
    EXPECT_EQ(a.attention->kv_heads, b.attention->kv_heads);
    EXPECT_EQ(a.attention->head_dim, b.attention->head_dim);
    EXPECT_EQ(a.attention->qkv_bias, b.attention->qkv_bias);
    EXPECT_EQ(a.attention->qk_norm, b.attention->qk_norm);
    EXPECT_FLOAT_EQ(a.attention->scale, b.attention->scale);
    EXPECT_EQ(a.attention->window_tokens, b.attention->window_tokens) << i;
    EXPECT_EQ(a.attention->softcap, b.attention->softcap);
    EXPECT_EQ(a.feed_forward->hidden, b.feed_forward->hidden);
    EXPECT_EQ(a.feed_forward->activation, b.feed_forward->activation);
    expect_same_rope(*a.attention, *b.attention, layout);
  }
}

TEST(ReadGguf, FilesOfEachFamilySayTheSameAsTheirConfigs) {
  expect_same(read("llama"), "llama", RopeLayout::interleaved);
  expect_same(
      read("llama", {{"attention.sliding_window", 8}}),
      "mistral_window",
      RopeLayout::interleaved);
  expect_same(read("qwen2"), "qwen2");
  expect_same(
      read(
          "qwen3",
          {{"attention.key_length", 32}, {"attention.value_length", 32}}),
      "qwen3");
  expect_same(
      read(
          "gemma",
          {{"attention.key_length", 32}, {"attention.value_length", 32}}),
      "gemma");
  expect_same(
      read(
          "granite",
          {{"attention.scale", 0.0625},
           {"embedding_scale", 12.0},
           {"residual_scale", 0.22},
           {"logit_scale", 8.0}}),
      "granite",
      RopeLayout::interleaved);
  expect_same(
      read("olmo2", {{"attention.layer_norm_rms_epsilon", 1e-5}}),
      "olmo2");
  expect_same(
      read("smollm3", {{"block_count", 4}, {"rope.freq_base", 2000000.0}}),
      "smollm3",
      RopeLayout::interleaved);
  expect_same(
      read(
          "phi3",
          {{"attention.layer_norm_rms_epsilon", 1e-5},
           {"attention.sliding_window", 0},
           {"rope.dimension_count", 16}}),
      "phi3");
  expect_same(
      read(
          "phi3",
          {{"attention.layer_norm_rms_epsilon", 1e-5},
           {"attention.sliding_window", 16},
           {"rope.dimension_count", 12}}),
      "phi3_partial");
}

TEST(ReadGguf, Gemma2AndGemma3HaveTheirWindowsAndScales) {
  const Json heads = {
      {"block_count", 4},
      {"attention.key_length", 16},
      {"attention.value_length", 16},
      {"attention.sliding_window", 8}};
  Json gemma2 = heads;
  gemma2.update(
      {{"attn_logit_softcapping", 50.0}, {"final_logit_softcapping", 30.0}});
  // The scale is 1/√16 in both, from the head here and from the scalar there.
  ModelSpec spec = read("gemma2", gemma2);
  for (LayerSpec& layer : spec.layers) {
    layer.attention->head_dim = 32;
    layer.attention->rope =
        read_config(golden_config("gemma2")).layers[0].attention->rope;
  }
  expect_same(spec, "gemma2");
  const ModelSpec gemma3 = read(
      "gemma3",
      {{"block_count", 7},
       {"attention.key_length", 32},
       {"attention.value_length", 32},
       {"attention.sliding_window", 8},
       {"rope.freq_base", 1000000.0},
       {"rope.scaling.type", "linear"},
       {"rope.scaling.factor", 8.0}});
  EXPECT_FALSE(gemma3.layers[5].attention->window_tokens.has_value());
  EXPECT_EQ(gemma3.layers[6].attention->window_tokens, 8);
  EXPECT_EQ(gemma3.layers[5].attention->rope->theta, 1000000.0);
  EXPECT_EQ(
      gemma3.layers[5].attention->rope->regime_for(1).frequencies[0],
      0.125f);
  EXPECT_EQ(gemma3.layers[6].attention->rope->theta, 10000.0);
  EXPECT_EQ(
      gemma3.layers[6].attention->rope->regime_for(1).frequencies[0],
      1.0f);
}

TEST(ReadGguf, LargestGemmasScaleByTheWidthOfTheModel) {
  const Json sizes = {
      {"embedding_length", 96},
      {"attention.key_length", 16},
      {"attention.value_length", 16},
      {"attention.sliding_window", 8}};
  for (const auto& [name, layers] : std::vector<std::pair<std::string, int>>{
           {"gemma2", 46},
           {"gemma3", 62}}) {
    Json large = sizes;
    large["block_count"] = layers;
    EXPECT_FLOAT_EQ(
        read(name, large).layers[0].attention->scale,
        1 / std::sqrt(24.0f));
    EXPECT_FLOAT_EQ(
        read(name, sizes).layers[0].attention->scale,
        1 / std::sqrt(16.0f));
  }
}

/// Divisors as a converter stores llama3's scaling.
std::vector<float> llama3_divisors(
    int dims,
    double theta,
    double factor,
    double context) {
  std::vector<float> out;
  for (int i = 0; i < dims; i += 2) {
    const double length =
        2 * std::numbers::pi * std::pow(theta, static_cast<double>(i) / dims);
    const double smooth = (context / length - 1) / 3;
    if (length < context / 4) {
      out.push_back(1);
    } else if (length > context) {
      out.push_back(static_cast<float>(factor));
    } else {
      out.push_back(static_cast<float>(1 / ((1 - smooth) / factor + smooth)));
    }
  }
  return out;
}

TEST(ReadGguf, StoredFactorsDivideTheFrequencies) {
  GgufRopeFactors factors;
  factors.factors = llama3_divisors(16, 10000, 8, 64);
  expect_same(
      read("llama", {}, factors),
      "llama_rope_llama3",
      RopeLayout::interleaved);
}

TEST(ReadGguf, ScalingsSayTheSameAsInConfigs) {
  expect_same(
      read(
          "llama",
          {{"rope.scaling.type", "linear"}, {"rope.scaling.factor", 2.0}}),
      "llama_rope_linear",
      RopeLayout::interleaved);
  expect_same(
      read("llama", {{"rope.scale_linear", 2.0}}),
      "llama_rope_linear",
      RopeLayout::interleaved);
  expect_same(
      read(
          "llama",
          {{"rope.scaling.type", "yarn"},
           {"rope.scaling.factor", 4.0},
           {"rope.scaling.original_context_length", 32}}),
      "llama_rope_yarn",
      RopeLayout::interleaved);
}

TEST(ReadGguf, YarnsLogMultiplierAndFactorSetItsMagnitude) {
  const Json yarn = {
      {"rope.scaling.type", "yarn"},
      {"rope.scaling.factor", 4.0},
      {"rope.scaling.yarn_log_multiplier", 1.0},
      {"rope.scaling.attn_factor", 1.5}};
  const auto rope = read("llama", yarn).layers[0].attention->rope;
  EXPECT_FLOAT_EQ(rope->regime_for(1).magnitude, 1.5f);
}

TEST(ReadGguf, ALatentsScoresGrowWithEveryScalingOfPositions) {
  const auto scale_of = [](Json more) {
    more.update(
        {{"attention.kv_lora_rank", 16},
         {"attention.key_length_mla", 24},
         {"attention.value_length_mla", 16},
         {"attention.head_count_kv", 1},
         {"rope.dimension_count", 8}});
    const ModelSpec spec = read("deepseek2", more);
    return spec.layers[0].attention->scale * std::sqrt(24.0f);
  };
  const Json four = {{"rope.scaling.factor", 4.0}};
  const auto with = [&](Json more) {
    more.update(four);
    return scale_of(more);
  };
  // deepseek2.cpp of llama.cpp: (attn_factor (1 + 0.1 ln 4))².
  const float grown = std::pow(1.0f + 0.1f * std::log(4.0f), 2.0f);
  EXPECT_FLOAT_EQ(scale_of(Json::object()), 1.0f);
  EXPECT_FLOAT_EQ(with({{"rope.scaling.type", "none"}}), 1.0f);
  EXPECT_FLOAT_EQ(with({{"rope.scaling.type", "linear"}}), grown);
  EXPECT_FLOAT_EQ(with({{"rope.scaling.type", "yarn"}}), grown);
  EXPECT_FLOAT_EQ(
      with({{"rope.scaling.type", "yarn"}, {"rope.scaling.attn_factor", 1.5}}),
      2.25f * grown);
  EXPECT_FLOAT_EQ(
      with(
          {{"rope.scaling.type", "yarn"},
           {"rope.scaling.yarn_log_multiplier", 0.05}}),
      std::pow(1.0f + 0.05f * std::log(4.0f), 2.0f));
}

TEST(ReadGguf, PhisTwoTensorsMakeTwoRegimes) {
  GgufRopeFactors factors;
  factors.short_factors = std::vector<float>();
  factors.long_factors = std::vector<float>();
  for (int i = 0; i < 8; ++i) {
    factors.short_factors->push_back(1.0f + 0.1f * static_cast<float>(i));
    factors.long_factors->push_back(1.0f + 0.5f * static_cast<float>(i));
  }
  const double magnitude = std::sqrt(1 + std::log(16.0) / std::log(32.0));
  const Json more = {
      {"attention.layer_norm_rms_epsilon", 1e-5},
      {"rope.scaling.original_context_length", 32},
      {"rope.scaling.attn_factor", magnitude},
      {"rope.dimension_count", 16}};
  expect_same(read("phi3", more, factors), "phi3_longrope");
}

TEST(ReadGguf, NumbersMayDifferByLayer) {
  const ModelSpec spec = read(
      "llama",
      {{"feed_forward_length", {128, 96, 64}},
       {"attention.head_count", {4, 4, 2}},
       {"attention.head_count_kv", {2, 1, 1}},
       {"attention.key_length", 16}});
  EXPECT_EQ(spec.layers[1].feed_forward->hidden, 96);
  EXPECT_EQ(spec.layers[2].attention->heads, 2);
  EXPECT_EQ(spec.layers[1].attention->kv_heads, 1);
}

Json with_states(const Json& more) {
  Json out = {
      {"attention.key_length", 16},
      {"attention.value_length", 16},
      {"ssm.conv_kernel", 4},
      {"ssm.state_size", 8},
      {"ssm.time_step_rank", 4},
      {"ssm.group_count", 2},
      {"ssm.inner_size", 32}};
  out.update(more);
  return out;
}

TEST(ReadGguf, AListOfRecurrentLayersGoesBeforeTheInterval) {
  const ModelSpec spec = read(
      "qwen35",
      with_states(
          {{"attention.recurrent_layers", {true, false, true}},
           {"full_attention_interval", 3}}));
  ASSERT_EQ(spec.layers.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(spec.layers[i].recurrent.has_value(), i != 1);
    EXPECT_EQ(spec.layers[i].attention.has_value(), i == 1);
  }
}

TEST(ReadGguf, ListsGoOnToBlocksThatGuessFurtherTokens) {
  const ModelSpec spec = read(
      "qwen35",
      with_states(
          {{"block_count", 4},
           {"nextn_predict_layers", 1},
           {"feed_forward_length", {128, 64, 128, 32}},
           {"attention.recurrent_layers", {true, false, true, false}}}));
  ASSERT_EQ(spec.layers.size(), 3u);
  EXPECT_EQ(spec.layers[1].feed_forward->hidden, 64);
  EXPECT_TRUE(spec.layers[2].recurrent);
  const Json longer = small_file(
      "qwen35",
      with_states({{"attention.recurrent_layers", {true, false, true, true}}}));
  EXPECT_NE(
      gguf_error<CheckpointError>(longer).find("each of 3 layers"),
      std::string::npos);
}

TEST(ReadGguf, AnEpsilonOfLayerNormsAloneIsThatOfAllNorms) {
  const ModelSpec spec = read(
      "nemotron_h",
      with_states(
          {{"attention.layer_norm_rms_epsilon", nullptr},
           {"attention.layer_norm_epsilon", 0.001}}));
  EXPECT_FLOAT_EQ(spec.layers[0].norm.eps, 0.001f);
  EXPECT_EQ(spec.layers[0].norm.kind, NormKind::rms);
}

TEST(ReadGguf, VocabularyIsTheGivenSizeOrThatOfTheTokens) {
  EXPECT_EQ(read("llama").vocab, 256);
  EXPECT_EQ(read("llama", {{"vocab_size", 300}}).vocab, 300);
  Json none = small_file("llama");
  none.erase("tokenizer.ggml.tokens.length");
  EXPECT_EQ(read_gguf_metadata(none, {}).vocab, 0);
}

TEST(ReadGguf, EndTokensAreGatheredOnceEach) {
  Json metadata = small_file("llama");
  metadata["tokenizer.ggml.eot_token_id"] = 7;
  metadata["tokenizer.ggml.eom_token_id"] = 2;
  metadata["tokenizer.ggml.bos_token_id"] = UINT32_MAX;
  const ModelSpec spec = read_gguf_metadata(metadata, {});
  EXPECT_EQ(spec.eos_tokens, (std::vector<std::int32_t>{2, 7}));
  EXPECT_EQ(spec.bos_token, std::nullopt);
}

TEST(ReadGguf, UnknownArchitectureIsRefusedWithTheNearest) {
  const std::string text =
      gguf_error<UnsupportedError>({{"general.architecture", "qwen22"}});
  expect_has(text, "general.architecture is \"qwen22\"");
  expect_has(text, "The nearest is qwen2");
  EXPECT_THROW(read_gguf_metadata(Json::object(), {}), CheckpointError);
}

TEST(ReadGguf, TheNearestArchitectureIsComparedByKeysAndTensors) {
  Json metadata = small_file("llama9", {{"sponge", 3}});
  const std::vector<std::string> tensors = {
      "token_embd.weight",
      "output_norm.weight",
      "blk.0.attn_norm.weight",
      "blk.0.attn_q.weight",
      "blk.0.attn_k.weight",
      "blk.0.attn_v.weight",
      "blk.0.attn_output.weight",
      "blk.0.attn_sponge.weight",
      "blk.0.ffn_norm.weight",
      "blk.0.ffn_gate.weight",
      "blk.0.ffn_up.weight"};
  const std::string text = message_of<UnsupportedError>(
      [&] { read_gguf_metadata(metadata, {}, tensors); });
  expect_has(text, "The nearest is llama");
  expect_has(text, "it explains all but these. ");
  expect_has(text, "Fields that it doesn't explain: llama9.sponge = 3; ");
  expect_has(text, "tensors that it doesn't explain: blk.*.attn_sponge.weight");
  expect_has(
      text,
      "tensors that it needs and that aren't there: blk.*.ffn_down.weight");
}

TEST(ReadGguf, BothBasesOfAWindowedOlmoReachTheFieldsThatItsConfigHas) {
  const Json metadata = small_file(
      "olmo2",
      {{"attention.sliding_window", 16},
       {"attention.sliding_window_pattern", {true, true, false}}});
  const Json config = write_config(read_gguf_metadata(metadata, {}), metadata);
  EXPECT_EQ(config["model_type"], "olmo3");
  for (const char* kind : {"sliding_attention", "full_attention"}) {
    EXPECT_EQ(config["rope_parameters"][kind]["rope_theta"], 10000.0) << kind;
  }
}

TEST(ReadGguf, UnknownKeysOfTheArchitectureAreRefused) {
  for (const auto& [name, value] : std::vector<std::pair<std::string, Json>>{
           {"attention.kv_lora_rank", 16},
           {"attention.temperature_scale", 0.1},
           {"rope.dimension_sections", {1, 2, 3, 4}},
           {"attention.causal", false && true},
           {"attn_logit_softcapping", 30.0}}) {
    if (name == "attention.causal") {
      continue;
    }
    Json metadata = small_file("llama");
    metadata["llama." + name] = value;
    expect_has(gguf_error<UnsupportedError>(metadata), name);
  }
  Json fine = small_file("llama");
  fine["llama.expert_count"] = 0;
  fine["llama.attention.causal"] = true;
  fine["other.key"] = 3;
  EXPECT_NO_THROW(read_gguf_metadata(fine, {}));
}

TEST(ReadGguf, ValuesThatCannotBeAreRefusedByName) {
  const std::vector<Json> bad = {
      {{"block_count", -1}},
      {{"block_count", std::int64_t{1} << 62}},
      {{"block_count", nullptr}},
      {{"embedding_length", 0}},
      {{"embedding_length", "64"}},
      {{"feed_forward_length", {1, 2}}},
      {{"feed_forward_length", {1, 2, -3}}},
      {{"attention.head_count", 5}},
      {{"attention.head_count", 0}},
      {{"attention.head_count_kv", 3}},
      {{"attention.key_length", 1 << 20}},
      {{"rope.dimension_count", 17}},
      {{"rope.dimension_count", 15}},
      {{"rope.freq_base", -1.0}},
      {{"rope.scaling.factor", std::nan("")}},
      {{"attention.layer_norm_rms_epsilon", -1.0}},
      {{"attention.layer_norm_rms_epsilon", nullptr}},
      {{"context_length", 0}},
      {{"vocab_size", 1 << 30}},
  };
  for (const Json& changes : bad) {
    const std::string name = changes.begin().key();
    const std::string text =
        gguf_error<CheckpointError>(small_file("llama", changes));
    expect_has(
        text,
        name == "attention.head_count_kv" ? "attention.head_count" : name);
  }
}

TEST(ReadGguf, RopeTensorsOfTheWrongLengthAreRefused) {
  GgufRopeFactors factors;
  factors.factors = std::vector<float>(3, 1.0f);
  EXPECT_THROW(read("llama", {}, factors), CheckpointError);
  factors.factors = std::vector<float>(8, 0.0f);
  EXPECT_THROW(read("llama", {}, factors), CheckpointError);
  EXPECT_THROW(
      read("llama", {{"rope.scaling.type", "longrope"}}),
      CheckpointError);
}

}  // namespace
}  // namespace roofline
