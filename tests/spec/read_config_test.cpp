#include "roofline/spec/read_config.h"

#include <cmath>
#include <limits>

#include "spec/spec_testing.h"

namespace roofline {
namespace {

using Json = nlohmann::json;

std::vector<bool> windowed(const ModelSpec& spec) {
  std::vector<bool> out;
  for (const LayerSpec& layer : spec.layers) {
    out.push_back(layer.attention->window_tokens.has_value());
  }
  return out;
}

Json without(Json config, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    config.erase(name);
  }
  return config;
}

Json with(Json config, const Json& changes) {
  config.update(changes);
  return config;
}

TEST(ReadConfig, LlamaWithoutHeadsOfKeysHasAsManyAsQueries) {
  const ModelSpec spec = read_config(
      without(golden_config("llama"), {"num_key_value_heads", "head_dim"}));
  EXPECT_EQ(spec.layers[0].attention->kv_heads, 4);
  EXPECT_EQ(spec.layers[0].attention->head_dim, 16);
}

TEST(ReadConfig, GivenHeadDimWins) {
  const ModelSpec spec = read_config(golden_config("llama_bias_tied"));
  EXPECT_EQ(spec.layers[0].attention->head_dim, 32);
  EXPECT_FLOAT_EQ(spec.layers[0].attention->scale, 1 / std::sqrt(32.0f));
}

TEST(ReadConfig, BiasFlagsReachTheirMatrices) {
  const ModelSpec llama = read_config(golden_config("llama_bias_tied"));
  EXPECT_TRUE(llama.layers[0].attention->qkv_bias);
  EXPECT_TRUE(llama.layers[0].attention->output_bias);
  EXPECT_TRUE(llama.layers[0].feed_forward->bias);
  const ModelSpec qwen2 = read_config(golden_config("qwen2"));
  EXPECT_TRUE(qwen2.layers[0].attention->qkv_bias);
  EXPECT_FALSE(qwen2.layers[0].attention->output_bias);
  EXPECT_FALSE(qwen2.layers[0].feed_forward->bias);
}

TEST(ReadConfig, AbsentTyingFollowsTheFamily) {
  for (const auto& [name, tied] : std::vector<std::pair<std::string, bool>>{
           {"llama", false},
           {"mistral_window", false},
           {"qwen2", false},
           {"qwen3", false},
           {"gemma", true},
           {"gemma2", true},
           {"gemma3_text", true},
           {"smollm3", true},
           {"granite", false},
           {"olmo2", false},
           {"phi3", false}}) {
    const Json config = without(golden_config(name), {"tie_word_embeddings"});
    EXPECT_EQ(read_config(config).tied_embeddings, tied) << name;
  }
}

TEST(ReadConfig, AbsentEpsilonFollowsTheFamily) {
  const auto eps = [](const std::string& name) {
    return read_config(without(golden_config(name), {"rms_norm_eps"}))
        .final_norm.eps;
  };
  EXPECT_FLOAT_EQ(eps("llama"), 1e-6f);
  EXPECT_FLOAT_EQ(eps("phi3"), 1e-5f);
  EXPECT_FLOAT_EQ(eps("olmo2"), 1e-5f);
}

TEST(ReadConfig, AbsentThetaFollowsTheFamily) {
  const auto theta = [](const std::string& name) {
    return read_config(without(golden_config(name), {"rope_parameters"}))
        .layers[0]
        .attention->rope->theta;
  };
  EXPECT_EQ(theta("llama"), 10000.0);
  EXPECT_EQ(theta("smollm3"), 2000000.0);
  EXPECT_EQ(theta("gemma3_text"), 10000.0);
}

TEST(ReadConfig, MistralsWindowIsThatOfOldFilesWhenAbsentAndNoneWhenNull) {
  const Json config = golden_config("mistral_window");
  EXPECT_EQ(read_config(config).layers[2].attention->window_tokens, 8);
  EXPECT_EQ(
      read_config(without(config, {"sliding_window"}))
          .layers[0]
          .attention->window_tokens,
      4096);
  EXPECT_EQ(
      read_config(with(config, {{"sliding_window", nullptr}}))
          .layers[0]
          .attention->window_tokens,
      std::nullopt);
}

TEST(ReadConfig, QwensWindowNeedsItsSwitch) {
  Json config = without(golden_config("qwen2_window"), {"layer_types"});
  EXPECT_EQ(windowed(read_config(config)), std::vector({false, true, true}));
  config["max_window_layers"] = 2;
  EXPECT_EQ(windowed(read_config(config)), std::vector({false, false, true}));
  config["use_sliding_window"] = false;
  EXPECT_EQ(windowed(read_config(config)), std::vector({false, false, false}));
  config.erase("use_sliding_window");
  EXPECT_EQ(windowed(read_config(config)), std::vector({false, false, false}));
}

TEST(ReadConfig, Gemma2AlternatesStartingWithAWindow) {
  const Json config = without(
      golden_config("gemma2"),
      {"layer_types", "query_pre_attn_scalar", "final_logit_softcapping"});
  const ModelSpec spec = read_config(config);
  EXPECT_EQ(windowed(spec), std::vector({true, false, true, false}));
  EXPECT_FLOAT_EQ(spec.layers[0].attention->scale, 1 / 16.0f);
  EXPECT_EQ(spec.logit_softcap, 30.0f);
  EXPECT_EQ(spec.layers[1].attention->softcap, 50.0f);
  EXPECT_EQ(
      read_config(with(config, {{"attn_logit_softcapping", nullptr}}))
          .layers[0]
          .attention->softcap,
      std::nullopt);
}

TEST(ReadConfig, EverySixthLayerOfGemma3SeesAll) {
  const ModelSpec spec =
      read_config(without(golden_config("gemma3_text"), {"layer_types"}));
  EXPECT_EQ(
      windowed(spec),
      std::vector({true, true, true, true, true, false, true}));
  EXPECT_EQ(spec.layers[5].attention->rope->theta, 1000000.0);
  EXPECT_EQ(spec.layers[6].attention->rope->theta, 10000.0);
}

TEST(ReadConfig, EveryFourthLayerOfSmollm3HasNoPositions) {
  const Json config = without(
      golden_config("smollm3"),
      {"no_rope_layers", "no_rope_layer_interval"});
  const ModelSpec spec = read_config(config);
  EXPECT_TRUE(spec.layers[2].attention->rope.has_value());
  EXPECT_FALSE(spec.layers[3].attention->rope.has_value());
}

TEST(ReadConfig, GraniteDividesLogits) {
  const ModelSpec spec = read_config(golden_config("granite"));
  EXPECT_FLOAT_EQ(spec.logit_scale, 0.125f);
  EXPECT_FLOAT_EQ(spec.embedding_scale, 12.0f);
  EXPECT_FLOAT_EQ(spec.layers[0].residual_scale, 0.22f);
  EXPECT_FLOAT_EQ(spec.layers[0].attention->scale, 0.0625f);
  const ModelSpec plain =
      read_config(without(golden_config("granite"), {"attention_multiplier"}));
  EXPECT_FLOAT_EQ(plain.layers[0].attention->scale, 1.0f);
}

TEST(ReadConfig, GemmasGeluMeansTheTanhForm) {
  const auto activation = [](const std::string& name, const Json& changes) {
    return read_config(with(golden_config(name), changes))
        .layers[0]
        .feed_forward->activation;
  };
  EXPECT_EQ(
      activation("gemma", {{"hidden_act", "gelu"}}),
      Activation::gelu_tanh);
  EXPECT_EQ(
      activation("gemma2", {{"hidden_activation", "gelu"}}),
      Activation::gelu);
  EXPECT_EQ(activation("llama", {{"hidden_act", "gelu"}}), Activation::gelu);
}

TEST(ReadConfig, UnknownActivationIsRefusedWithTheNearest) {
  const std::string text = config_error<UnsupportedError>(
      with(golden_config("llama"), {{"hidden_act", "sillu"}}));
  expect_has(text, "hidden_act is \"sillu\"");
  expect_has(text, "Did you mean silu");
}

TEST(ReadConfig, UnknownFamilyIsRefusedWithTheNearestAndTheList) {
  const std::string text = config_error<UnsupportedError>(
      with(golden_config("llama"), {{"model_type", "qwen22"}}));
  expect_has(text, "model_type is \"qwen22\"");
  expect_has(text, "The nearest is qwen2");
  expect_has(text, "olmo2, olmo3");
}

TEST(ReadConfig, FieldThatNobodyUnderstandsIsRefused) {
  const std::string text = config_error<UnsupportedError>(
      with(golden_config("llama"), {{"attn_logit_softcapping", 30.0}}));
  expect_has(text, "attn_logit_softcapping is 30.0");
  expect_has(text, "family llama has no such field");
  expect_has(
      config_error<UnsupportedError>(
          with(golden_config("llama"), {{"rms_norm_epsilon", 1e-5}})),
      "Did you mean rms_norm_eps");
}

TEST(ReadConfig, FieldsOfOtherFamiliesAreRefusedWhereTheyWouldMatter) {
  const std::vector<std::pair<std::string, Json>> bad = {
      {"llama", {{"sliding_window", 8}}},
      {"llama", {{"num_local_experts", 4}}},
      {"llama", {{"use_rope", false}}},
      {"llama", {{"rope_interleaved", true}}},
      {"llama",
       {{"layer_types",
         {"full_attention", "full_attention", "linear_attention"}}}},
      {"qwen2", {{"mlp_bias", true}}},
      {"qwen2", {{"use_mrope", true}}},
      {"granite", {{"position_embedding_type", "nope"}}},
      {"gemma3_text", {{"use_bidirectional_attention", true}}},
      {"phi3", {{"full_attn_mod", 2}}},
  };
  for (const auto& [name, changes] : bad) {
    EXPECT_THROW(
        read_config(with(golden_config(name), changes)),
        UnsupportedError)
        << name << " " << changes.dump();
  }
}

TEST(ReadConfig, AFieldThatTheReferenceHasAndNeverUsesPasses) {
  const ModelSpec spec = read_config(
      with(golden_config("gemma3_text"), {{"attn_logit_softcapping", 50.0}}));
  EXPECT_FALSE(spec.layers[0].attention->softcap);
}

TEST(ReadConfig, TheOriginalContextInsideGoesBeforeTheOneBeside) {
  const auto frequencies = [](int inside, int beside) {
    Json config = golden_config("llama");
    config.erase("rope_parameters");
    config["rope_scaling"] = {
        {"rope_type", "yarn"},
        {"factor", 4.0},
        {"original_max_position_embeddings", inside}};
    config["original_max_position_embeddings"] = beside;
    const ModelSpec spec = read_config(config);
    return spec.layers[0].attention->rope->regimes[0].frequencies;
  };
  EXPECT_EQ(frequencies(32, 16), frequencies(32, 32));
  EXPECT_NE(frequencies(32, 16), frequencies(16, 16));
}

TEST(ReadConfig, AFlagThatIsNullIsFalseAndAnAbsentOneAsTheFamilySays) {
  Json config = golden_config("deepseek_v3");
  const auto renormalises = [&] {
    return read_config(config).layers.back().feed_forward->mixture->renormalise;
  };
  config.erase("norm_topk_prob");
  EXPECT_TRUE(renormalises());
  config["norm_topk_prob"] = nullptr;
  EXPECT_FALSE(renormalises());
}

TEST(ReadConfig, AShareOfRotatedDimsThatIsNullIsTheWhole) {
  Json config = golden_config("glm");
  config.erase("rope_parameters");
  const auto rotated = [&] {
    return read_config(config).layers[0].attention->rope->rotated_dims;
  };
  config.erase("partial_rotary_factor");
  const int half = rotated();
  config["partial_rotary_factor"] = nullptr;
  EXPECT_EQ(rotated(), 2 * half);
}

TEST(ReadConfig, SizesOfHeadsAreRoundedDownWhereNoneIsGiven) {
  Json config = without(golden_config("qwen2"), {"head_dim"});
  config["hidden_size"] = config["hidden_size"].get<int>() + 1;
  EXPECT_EQ(
      read_config(config).layers[0].attention->head_dim,
      read_config(without(golden_config("qwen2"), {"head_dim"}))
          .layers[0]
          .attention->head_dim);
}

TEST(ReadConfig, DynamicScalingStartsAtTheContextWhateverTheOriginalOne) {
  Json config = golden_config("llama_rope_dynamic");
  const auto starts_at = [&] {
    return read_config(config).layers[0].attention->rope->dynamic->max_tokens;
  };
  const auto before = starts_at();
  EXPECT_EQ(before, config["max_position_embeddings"]);
  config["rope_parameters"]["original_max_position_embeddings"] = 8;
  EXPECT_EQ(starts_at(), before);
}

TEST(ReadConfig, FieldsWithoutAMeaningPass) {
  const Json harmless = {
      {"torch_dtype", "float16"},
      {"_name_or_path", "here"},
      {"auto_map", {{"AutoModel", "file.Class"}}},
      {"hidden_dropout", 0.1},
      {"resid_pdrop", 0.1},
      {"sliding_window", nullptr},
      {"use_sliding_window", false},
      {"max_window_layers", 28},
      {"num_experts", 0},
      {"rope_scaling", nullptr},
      {"quantization_config", nullptr},
      {"transformers.js_config", {{"dtype", "q4"}}},
      {"pad_token_id", -1},
      {"rope_interleaved", false},
      {"is_llama_config", true},
      {"some_option", false},
      {"some_list", Json::array()}};
  const Json config = golden_config("llama");
  EXPECT_EQ(
      describe(read_config(with(config, harmless))),
      describe(read_config(config)));
}

TEST(ReadConfig, ValuesThatCannotBeAreRefusedByName) {
  const double nan = std::nan("");
  const double infinite = std::numeric_limits<double>::infinity();
  const std::vector<Json> bad = {
      {{"hidden_size", -64}},
      {{"hidden_size", 0}},
      {{"hidden_size", 1e30}},
      {{"hidden_size", 64.5}},
      {{"hidden_size", "64"}},
      {{"hidden_size", nullptr}},
      {{"hidden_size", UINT64_MAX}},
      {{"hidden_size", std::int64_t{1} << 40}},
      {{"num_attention_heads", 0}},
      {{"num_attention_heads", 3}},
      {{"num_key_value_heads", 3}},
      {{"num_key_value_heads", 0}},
      {{"num_key_value_heads", 8}},
      {{"num_hidden_layers", 0}},
      {{"num_hidden_layers", 1000000}},
      {{"num_hidden_layers", {3}}},
      {{"vocab_size", -1}},
      {{"vocab_size", 1 << 30}},
      {{"head_dim", -16}},
      {{"head_dim", 15}},
      {{"head_dim", 1 << 20}},
      {{"intermediate_size", false}},
      {{"max_position_embeddings", 0}},
      {{"rms_norm_eps", -1.0}},
      {{"rms_norm_eps", nan}},
      {{"rms_norm_eps", infinite}},
      {{"attention_bias", "yes"}},
      {{"tie_word_embeddings", 1}},
      {{"hidden_act", 7}},
      {{"rope_theta", infinite}},
      {{"rope_parameters", "linear"}},
      {{"rope_scaling", {1, 2}}},
      {{"eos_token_id", "two"}},
      {{"eos_token_id", {1, "two"}}},
      {{"eos_token_id", {1, 2.5}}},
      {{"bos_token_id", 1e30}},
      {{"model_type", 3}},
  };
  for (const Json& changes : bad) {
    const std::string text =
        config_error<CheckpointError>(with(golden_config("llama"), changes));
    expect_has(
        text,
        changes.begin().key() == "num_key_value_heads" ? "key_value_heads"
                                                       : changes.begin().key());
  }
}

TEST(ReadConfig, ListsOfTheWrongLengthAreRefused) {
  EXPECT_THROW(
      read_config(
          with(golden_config("qwen2"), {{"layer_types", {"full_attention"}}})),
      CheckpointError);
  EXPECT_THROW(
      read_config(with(golden_config("smollm3"), {{"no_rope_layers", {1, 0}}})),
      CheckpointError);
  EXPECT_THROW(
      read_config(
          with(golden_config("smollm3"), {{"no_rope_layers", {1, 1, 1, 0.5}}})),
      CheckpointError);
  EXPECT_THROW(
      read_config(with(golden_config("gemma2"), {{"sliding_window", nullptr}})),
      CheckpointError);
}

TEST(ReadConfig, WhatIsNoObjectIsRefused) {
  for (const Json& value : {Json(), Json(3), Json::array(), Json("llama")}) {
    EXPECT_THROW(read_config(value), CheckpointError);
  }
  EXPECT_THROW(read_config(Json::object()), CheckpointError);
}

TEST(ReadConfig, TokensAreReadAsOneOrAsAList) {
  const ModelSpec one = read_config(golden_config("llama"));
  EXPECT_EQ(one.eos_tokens, std::vector<std::int32_t>{2});
  EXPECT_EQ(one.bos_token, 1);
  const ModelSpec more = read_config(with(
      golden_config("llama"),
      {{"eos_token_id", {1, 106}}, {"bos_token_id", nullptr}}));
  EXPECT_EQ(more.eos_tokens, (std::vector<std::int32_t>{1, 106}));
  EXPECT_EQ(more.bos_token, std::nullopt);
}

TEST(ReadConfig, MlxQuantizationIsRead) {
  const Json quantization = {
      {"group_size", 32},
      {"bits", 8},
      {"mode", "affine"},
      {"model.embed_tokens", {{"group_size", 64}, {"bits", 4}}},
      {"lm_head", false}};
  for (const char* name : {"quantization", "quantization_config"}) {
    const ModelSpec spec =
        read_config(with(golden_config("llama"), {{name, quantization}}));
    ASSERT_TRUE(spec.quantization.has_value());
    EXPECT_EQ(spec.quantization->bits, 8);
    EXPECT_EQ(spec.quantization->group_size, 32);
  }
}

TEST(ReadConfig, MlxModesHaveTheirSizes) {
  const Json config = golden_config("llama");
  const auto read = [&](const Json& quantization) {
    return *read_config(with(config, {{"quantization", quantization}}))
                .quantization;
  };
  EXPECT_EQ(read({{"mode", "nvfp4"}}).group_size, 16);
  EXPECT_EQ(read({{"mode", "mxfp8"}, {"bits", 8}}).bits, 8);
  EXPECT_EQ(read({{"mode", "mxfp4"}, {"group_size", 32}}).scheme, "mxfp4");
  // A mode of its own for one tensor, with that mode's sizes.
  EXPECT_EQ(
      read({{"bits", 4}, {"group_size", 64}, {"lm_head", {{"mode", "mxfp8"}}}})
          .scheme,
      "affine");
  EXPECT_THROW(read({{"mode", "mxfp4"}, {"group_size", 64}}), CheckpointError);
}

TEST(ReadConfig, LayoutsOfOtherProgramsAreRead) {
  const Json config = golden_config("llama");
  const auto read = [&](const Json& quantization) {
    return *read_config(with(config, {{"quantization_config", quantization}}))
                .quantization;
  };
  const auto gptq =
      read({{"quant_method", "gptq"}, {"bits", 3}, {"group_size", -1}});
  EXPECT_EQ(gptq.bits, 3);
  EXPECT_EQ(gptq.group_size, 0);
  EXPECT_EQ(gptq.scheme, "gptq");
  EXPECT_EQ(read({{"quant_method", "awq"}}).group_size, 128);
  EXPECT_EQ(read({{"quant_method", "fp8"}}).bits, 8);
  EXPECT_EQ(read({{"quant_method", "bitnet"}}).bits, 2);
  const Json weights = {{"num_bits", 4}, {"group_size", 32}};
  const auto compressed = read(
      {{"quant_method", "compressed-tensors"},
       {"config_groups", {{"group_0", {{"weights", weights}}}}}});
  EXPECT_EQ(compressed.bits, 4);
  EXPECT_EQ(compressed.group_size, 32);
}

TEST(ReadConfig, OtherQuantizationsAreRefusedByName) {
  const Json config = golden_config("llama");
  for (const char* method : {"bitsandbytes", "quanto", "hqq"}) {
    expect_has(
        config_error<UnsupportedError>(with(
            config,
            {{"quantization_config",
              {{"quant_method", method}, {"bits", 4}}}})),
        method);
  }
  expect_has(
      config_error<UnsupportedError>(with(
          config,
          {{"quantization",
            {{"bits", 4}, {"group_size", 32}, {"mode", "int9"}}}})),
      "int9");
  for (const Json& bad :
       {Json{{"bits", 7}},
        Json{{"bits", 1e30}},
        Json{{"group_size", 0}},
        Json{{"bits", 4}, {"lm_head", 3}},
        Json(4)}) {
    EXPECT_THROW(
        read_config(with(config, {{"quantization", bad}})),
        CheckpointError)
        << bad.dump();
  }
}

TEST(ReadConfig, TextPartOfAMultimodalConfigHasTheFamilysDefaults) {
  const Json config = {
      {"model_type", "gemma3"},
      {"eos_token_id", {1, 106}},
      {"mm_tokens_per_image", 256},
      {"image_token_index", 262144},
      {"text_config",
       {{"hidden_size", 2560},
        {"intermediate_size", 10240},
        {"model_type", "gemma3_text"},
        {"num_hidden_layers", 34},
        {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
        {"sliding_window", 1024}}},
      {"vision_config", {{"hidden_size", 1152}}}};
  const ModelSpec spec = read_config(config);
  EXPECT_EQ(spec.family, "gemma3");
  EXPECT_EQ(spec.vocab, 262208);
  EXPECT_EQ(spec.layers.size(), 34u);
  EXPECT_EQ(spec.layers[0].attention->heads, 8);
  EXPECT_EQ(spec.layers[0].attention->kv_heads, 4);
  EXPECT_EQ(spec.layers[0].attention->head_dim, 256);
  EXPECT_EQ(spec.layers[0].attention->window_tokens, 1024);
  EXPECT_EQ(
      spec.layers[5].attention->rope->regime_for(1).frequencies[0],
      0.125f);
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_EQ(spec.eos_tokens, (std::vector<std::int32_t>{1, 106}));
  EXPECT_THROW(read_config(without(config, {"text_config"})), CheckpointError);
}

TEST(ReadConfig, OuterFieldsOfAMultimodalConfigStandForInnerOnes) {
  Json config = golden_config("gemma3_multimodal");
  const int vocab = read_config(config).vocab;
  config["vocab_size"] = vocab;
  config["text_config"].erase("vocab_size");
  EXPECT_EQ(read_config(config).vocab, vocab);
  config["text_config"]["tie_word_embeddings"] = false;
  EXPECT_FALSE(read_config(config).tied_embeddings);
  config["tie_word_embeddings"] = true;
  EXPECT_TRUE(read_config(config).tied_embeddings);
}

TEST(ReadConfig, FamiliesWithoutSharedKeysIgnoreTheirNumber) {
  for (const char* name : {"gpt2", "gpt_neox"}) {
    Json config = golden_config(name);
    const auto heads = read_config(config).layers[0].attention->heads;
    config["num_key_value_heads"] = 1;
    EXPECT_EQ(read_config(config).layers[0].attention->kv_heads, heads) << name;
  }
}

TEST(ReadConfig, KnownFamiliesAreSortedAndAllReadable) {
  const std::vector<std::string> names = known_families();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const char* name :
       {"gemma",
        "gemma2",
        "gemma3",
        "gemma3_text",
        "granite",
        "llama",
        "mistral",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
}

TEST(Describe, SaysTheFactsOfAModelInWords) {
  const std::string llama = describe(read_config(golden_config("llama")));
  expect_has(llama, "3 layers of 64 dims, vocabulary of 256");
  expect_has(llama, "attention: 4 heads over 2 key-value heads of 16 dims");
  expect_has(llama, "norms: rms before each part, eps 1e-06");
  expect_has(llama, "positions: rope, theta 10000, half-split");
}

TEST(Describe, GroupsEqualLayers) {
  const std::string text = describe(read_config(golden_config("gemma3_text")));
  expect_has(text, "attention of layers 0-4, 6: ");
  expect_has(text, "attention of layer 5: ");
  expect_has(text, "feed-forward: 128 wide, gated gelu (tanh form)");
}

}  // namespace
}  // namespace roofline
