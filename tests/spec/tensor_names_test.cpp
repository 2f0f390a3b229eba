#include "roofline/spec/tensor_names.h"

#include "spec/spec_testing.h"

namespace roofline {
namespace {

ModelSpec spec_of(const std::string& golden) {
  return read_config(golden_config(golden));
}

ModelSpec gguf_spec(const std::string& architecture) {
  const std::string at = architecture + ".";
  return read_gguf_metadata(
      {{"general.architecture", architecture},
       {at + "block_count", 2},
       {at + "embedding_length", 64},
       {at + "feed_forward_length", 96},
       {at + "attention.head_count", 4},
       {at + "attention.head_count_kv", 2},
       {at + "attention.layer_norm_rms_epsilon", 1e-5}},
      {});
}

std::string mapped(
    std::string_view name,
    NameStyle style,
    const ModelSpec& spec) {
  std::string out;
  for (const NamedRows& part : map_tensor_name(name, style, spec)) {
    out += out.empty() ? "" : " ";
    out += part.name;
    if (part.rows != 0) {
      out += "[" + std::to_string(part.row_begin) + "+" +
             std::to_string(part.rows) + "]";
    }
  }
  return out;
}

std::string hf(std::string_view name, const std::string& golden = "llama") {
  return mapped(name, NameStyle::hugging_face, spec_of(golden));
}

std::string gguf(std::string_view name, const std::string& architecture) {
  return mapped(name, NameStyle::gguf, gguf_spec(architecture));
}

TEST(TensorNames, EveryPrefixInUseIsUnderstood) {
  for (const char* prefix :
       {"", "model.", "language_model.model.", "model.language_model."}) {
    const std::string at = prefix;
    EXPECT_EQ(hf(at + "embed_tokens"), "embed");
    EXPECT_EQ(hf(at + "norm"), "final_norm");
    EXPECT_EQ(hf(at + "layers.2.self_attn.q_proj"), "layers.2.attention.q");
  }
  EXPECT_EQ(hf("lm_head"), "head");
  EXPECT_EQ(hf("language_model.lm_head"), "head");
}

TEST(TensorNames, BiasesFollowTheirMatrix) {
  EXPECT_EQ(
      hf("model.layers.0.mlp.down_proj.bias"),
      "layers.0.feed_forward.down.bias");
  EXPECT_EQ(gguf("blk.1.attn_q.bias", "qwen2"), "layers.1.attention.q.bias");
}

TEST(TensorNames, NormAfterAttentionDependsOnWhereNormsStand) {
  const char* name = "model.layers.1.post_attention_layernorm";
  EXPECT_EQ(hf(name, "llama"), "layers.1.feed_forward_norm");
  EXPECT_EQ(hf(name, "gemma2"), "layers.1.attention_post_norm");
  EXPECT_EQ(hf(name, "olmo2"), "layers.1.attention_post_norm");
}

TEST(TensorNames, PackedMatricesAreSplitByRows) {
  EXPECT_EQ(
      hf("model.layers.0.self_attn.qkv_proj", "phi3"),
      "layers.0.attention.q[0+64] layers.0.attention.k[64+32] "
      "layers.0.attention.v[96+32]");
  EXPECT_EQ(
      hf("model.layers.0.mlp.gate_up_proj", "phi3"),
      "layers.0.feed_forward.gate[0+128] layers.0.feed_forward.up[128+128]");
  EXPECT_EQ(
      gguf("blk.0.attn_qkv", "phi3"),
      "layers.0.attention.q[0+64] layers.0.attention.k[64+32] "
      "layers.0.attention.v[96+32]");
}

TEST(TensorNames, OnlyPhisGgufPacksTheGateIntoUp) {
  EXPECT_EQ(
      gguf("blk.0.ffn_up", "phi3"),
      "layers.0.feed_forward.gate[0+96] layers.0.feed_forward.up[96+96]");
  EXPECT_EQ(gguf("blk.0.ffn_up", "llama"), "layers.0.feed_forward.up");
}

TEST(TensorNames, GgufNamesReachOurs) {
  EXPECT_EQ(gguf("token_embd", "gemma3"), "embed");
  EXPECT_EQ(gguf("output_norm", "gemma3"), "final_norm");
  EXPECT_EQ(gguf("output", "llama"), "head");
  EXPECT_EQ(gguf("blk.0.attn_norm", "gemma3"), "layers.0.attention_norm");
  EXPECT_EQ(gguf("blk.0.ffn_norm", "gemma3"), "layers.0.feed_forward_norm");
  EXPECT_EQ(
      gguf("blk.0.post_attention_norm", "gemma3"),
      "layers.0.attention_post_norm");
  EXPECT_EQ(
      gguf("blk.0.post_ffw_norm", "gemma3"),
      "layers.0.feed_forward_post_norm");
  EXPECT_EQ(gguf("blk.0.attn_q_norm", "qwen3"), "layers.0.attention.q_norm");
  EXPECT_EQ(gguf("blk.0.attn_output", "llama"), "layers.0.attention.o");
}

TEST(TensorNames, BuffersAndOtherPartsAreDropped) {
  EXPECT_EQ(hf("model.layers.0.self_attn.rotary_emb.inv_freq"), "");
  EXPECT_EQ(hf("model.rotary_emb.inv_freq"), "");
  EXPECT_EQ(hf("vision_tower.vision_model.encoder.layers.0.x"), "");
  EXPECT_EQ(hf("model.vision_tower.patch"), "");
  EXPECT_EQ(hf("multi_modal_projector.mm_soft_emb_norm"), "");
  EXPECT_EQ(gguf("rope_freqs", "llama"), "");
  EXPECT_EQ(gguf("rope_factors_long", "phi3"), "");
}

TEST(TensorNames, UnknownNamesAreRefused) {
  for (const char* name :
       {"model.layers.3.self_attn.q_proj",
        "model.layers.99999999999999999999.self_attn.q_proj",
        "model.layers.-1.self_attn.q_proj",
        "model.layers..self_attn.q_proj",
        "model.layers.0",
        "model.layers.0.",
        "model.layers.0.mlp.experts.0.up_proj",
        "model.foo",
        "",
        ".bias"}) {
    EXPECT_THROW(hf(name), CheckpointError) << name;
  }
  EXPECT_THROW(gguf("blk.2.attn_q", "llama"), CheckpointError);
  EXPECT_THROW(gguf("model.embed_tokens", "llama"), CheckpointError);
  expect_has(
      message_of<CheckpointError>([] { hf("model.layers.0.mlp.up_prj"); }),
      "Did you mean mlp.up_proj");
}

TEST(TensorNames, ExpectedTensorsFollowTheSpec) {
  ModelSpec spec = spec_of("llama_bias_tied");
  const auto count = [&](const std::string& name) {
    const auto all = expected_tensors(spec);
    return std::count_if(all.begin(), all.end(), [&](const auto& tensor) {
      return tensor.name == name;
    });
  };
  EXPECT_EQ(count("head"), 0);
  EXPECT_EQ(count("layers.0.attention.o.bias"), 1);
  spec.tied_embeddings = false;
  EXPECT_EQ(count("head"), 1);
  spec.layers[0].attention->output_bias = false;
  EXPECT_EQ(count("layers.0.attention.o.bias"), 0);
}

TEST(TensorNames, TensorsSettleTyingAndBiases) {
  ModelSpec spec = spec_of("llama");
  settle_by_tensors(spec, {"embed", "head", "layers.1.attention.q.bias"});
  EXPECT_FALSE(spec.tied_embeddings);
  EXPECT_FALSE(spec.layers[0].attention->qkv_bias);
  EXPECT_TRUE(spec.layers[1].attention->qkv_bias);
  settle_by_tensors(spec, {"embed"});
  EXPECT_TRUE(spec.tied_embeddings);
}

}  // namespace
}  // namespace roofline
