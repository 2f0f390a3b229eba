#include "roofline/spec/nearest_family.h"

#include "spec/spec_testing.h"

namespace roofline {
namespace {

using Json = nlohmann::json;
using Names = std::vector<std::string>;

const Names kLlamaNames = {
    "model.embed_tokens.weight",
    "model.norm.weight",
    "lm_head.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.0.post_attention_layernorm.weight",
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.0.self_attn.k_proj.weight",
    "model.layers.0.self_attn.v_proj.weight",
    "model.layers.0.self_attn.o_proj.weight",
    "model.layers.0.mlp.gate_proj.weight",
    "model.layers.0.mlp.up_proj.weight",
    "model.layers.0.mlp.down_proj.weight"};

std::string refusal(
    const std::string& golden,
    const Json& changes,
    const Names& names = {}) {
  Json config = golden_config(golden);
  config["model_type"] = "unheard_of";
  config.update(changes);
  return message_of<UnsupportedError>([&] { read_config(config, names); });
}

Names with(Names names, const Names& more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

Names without(Names names, const std::string& name) {
  std::erase(names, name);
  return names;
}

TEST(NearestFamily, OneThatFitsWhollyIsNamedAsTheModelTypeToGive) {
  const std::string text = refusal("llama", Json::object(), kLlamaNames);
  expect_has(text, "model_type is \"unheard_of\", which isn't a known family");
  expect_has(text, "The nearest is llama (as near: ");
  expect_has(text, "give that as the model_type");
}

TEST(NearestFamily, FieldsThatItDoesNotExplainAreShownWithTheirValues) {
  const std::string text = refusal(
      "llama",
      {{"attention_sponge", 0.25}, {"mlp_twist", true}},
      kLlamaNames);
  expect_has(text, "The nearest is llama");
  expect_has(
      text,
      "Fields that it doesn't explain: attention_sponge = 0.25, mlp_twist = "
      "true");
}

TEST(NearestFamily, AValueThatNoFamilyKnowsIsAFieldThatIsNotExplained) {
  expect_has(
      refusal("llama", {{"hidden_act", "snake"}}, kLlamaNames),
      "hidden_act = \"snake\"");
}

TEST(NearestFamily, AValueInsideAnObjectIsShownWithItsPlace) {
  expect_has(
      refusal(
          "llama",
          {{"rope_parameters", {{"rope_type", "spiral"}, {"factor", 2.0}}}},
          kLlamaNames),
      "rope_parameters.rope_type = \"spiral\"");
}

TEST(NearestFamily, TensorsThatItDoesNotExplainAreNamedOnceForAllLayers) {
  const std::string text = refusal(
      "llama",
      {{"num_hidden_layers", 2}},
      with(
          kLlamaNames,
          {"model.layers.0.self_attn.sponge.weight",
           "model.layers.1.self_attn.sponge.weight"}));
  expect_has(
      text,
      "Tensors that it doesn't explain: model.layers.*.self_attn.sponge.weight"
      ". ");
}

TEST(NearestFamily, TensorsThatItNeedsAreNamedAsItsFoldersNameThem) {
  const std::string text = refusal(
      "llama",
      Json::object(),
      with(
          without(kLlamaNames, "model.layers.0.self_attn.o_proj.weight"),
          {"model.layers.0.mlp.sponge.weight"}));
  expect_has(
      text,
      "tensors that it needs and that aren't there: "
      "model.layers.*.self_attn.o_proj.weight");
}

TEST(NearestFamily, NamesOfTensorsTellFamiliesApart) {
  const Names qk_norms = {
      "model.layers.0.self_attn.q_norm.weight",
      "model.layers.0.self_attn.k_norm.weight"};
  expect_has(
      refusal("llama", Json::object(), with(kLlamaNames, qk_norms)),
      "The nearest is qwen3 (as near: hunyuan_v1_dense)");
}

TEST(NearestFamily, ANameThatIsNearDecidesAmongThoseThatFitAlike) {
  expect_has(
      refusal("llama", {{"model_type", "mistral9"}}, kLlamaNames),
      "The nearest is mistral");
}

TEST(NearestFamily, SizesUnderOtherNamesAreNoObstacle) {
  const std::string text = message_of<UnsupportedError>([] {
    read_config(
        {{"model_type", "unheard_of"},
         {"d_model", 32},
         {"n_heads", 2},
         {"n_layers", 2},
         {"vocab_size", 40}},
        kLlamaNames);
  });
  expect_has(text, "The nearest is ");
  expect_has(text, "d_model = 32");
}

TEST(NearestFamily, AnUnknownWrapperOfAKnownFamilySaysWhichPartIsKnown) {
  Json text_config = golden_config("qwen3");
  const std::string text = message_of<UnsupportedError>([&] {
    read_config({{"model_type", "sees_too"}, {"text_config", text_config}}, {});
  });
  expect_has(text, "Of its text_config the nearest is qwen3");
}

}  // namespace
}  // namespace roofline
