#include "roofline/spec/tensor_name_rows.h"

#include <array>

namespace roofline {

namespace {

using enum NameAction;

constexpr std::array kHfModel = {
    NameRow{"embed_tokens", rename, "embed"},
    NameRow{"norm", rename, "final_norm"},
    NameRow{"lm_head", rename, "head"},
    NameRow{"embeddings", rename, "embed"},
    NameRow{"embedding", rename, "embed"},
    NameRow{"norm_f", rename, "final_norm"},
    NameRow{"embedding_norm", rename, "final_norm"},
    NameRow{"final_layernorm", rename, "final_norm"},
    NameRow{"rotary_emb.inv_freq", drop, ""},
};

constexpr std::array kHfLayer = {
    NameRow{"input_layernorm", rename, "attention_norm"},
    NameRow{"post_attention_layernorm", norm_after_attention, ""},
    NameRow{"pre_feedforward_layernorm", rename, "feed_forward_norm"},
    NameRow{"post_feedforward_layernorm", rename, "feed_forward_post_norm"},
    NameRow{"self_attn.q_proj", rename, "attention.q"},
    NameRow{"self_attn.k_proj", rename, "attention.k"},
    NameRow{"self_attn.v_proj", rename, "attention.v"},
    NameRow{"self_attn.o_proj", rename, "attention.o"},
    NameRow{"self_attn.qkv_proj", split_qkv, ""},
    NameRow{"self_attn.q_norm", rename, "attention.q_norm"},
    NameRow{"self_attn.k_norm", rename, "attention.k_norm"},
    NameRow{"self_attn.rotary_emb.inv_freq", drop, ""},
    NameRow{"self_attn.q_a_proj", rename, "attention.q_a"},
    NameRow{"self_attn.q_a_layernorm", rename, "attention.q_a_norm"},
    NameRow{"self_attn.q_b_proj", rename, "attention.q_b"},
    NameRow{"self_attn.kv_a_proj_with_mqa", rename, "attention.kv_a"},
    NameRow{"self_attn.kv_a_layernorm", rename, "attention.kv_a_norm"},
    NameRow{"self_attn.kv_b_proj", rename, "attention.kv_b"},
    NameRow{"self_attn.embed_q", rename, "attention.k_b"},
    NameRow{"self_attn.unembed_out", rename, "attention.v_b"},
    NameRow{"self_attn.sinks", rename, "attention.sinks"},
    NameRow{"mlp.gate_proj", rename, "feed_forward.gate"},
    NameRow{"mlp.up_proj", rename, "feed_forward.up"},
    NameRow{"mlp.down_proj", rename, "feed_forward.down"},
    NameRow{"mlp.gate_up_proj", split_gate_up, ""},
};

constexpr std::array kGgufModel = {
    NameRow{"token_embd", rename, "embed"},
    NameRow{"position_embd", rename, "positions"},
    NameRow{"output_norm", rename, "final_norm"},
    NameRow{"output", rename, "head"},
    // Read with the metadata, as part of the spec.
    NameRow{"rope_freqs", drop, ""},
    NameRow{"rope_factors_long", drop, ""},
    NameRow{"rope_factors_short", drop, ""},
};

constexpr std::array kGgufLayer = {
    NameRow{"attn_norm", rename, "attention_norm"},
    NameRow{"post_attention_norm", norm_after_attention, ""},
    NameRow{"ffn_norm", rename, "feed_forward_norm"},
    NameRow{"post_ffw_norm", rename, "feed_forward_post_norm"},
    NameRow{"attn_q", rename, "attention.q"},
    NameRow{"attn_k", rename, "attention.k"},
    NameRow{"attn_v", rename, "attention.v"},
    NameRow{"attn_output", rename, "attention.o"},
    NameRow{"attn_qkv", split_qkv, ""},
    NameRow{"attn_q_norm", rename, "attention.q_norm"},
    NameRow{"attn_k_norm", rename, "attention.k_norm"},
    NameRow{"attn_sub_norm", rename, "attention.output_norm"},
    NameRow{"attn_rot_embd", drop, ""},
    NameRow{"attn_q_a", rename, "attention.q_a"},
    NameRow{"attn_q_a_norm", rename, "attention.q_a_norm"},
    NameRow{"attn_q_b", rename, "attention.q_b"},
    NameRow{"attn_kv_a_mqa", rename, "attention.kv_a"},
    NameRow{"attn_kv_a_norm", rename, "attention.kv_a_norm"},
    NameRow{"attn_kv_b", rename, "attention.kv_b"},
    NameRow{"attn_k_b", rename, "attention.k_b"},
    NameRow{"attn_v_b", rename, "attention.v_b"},
    NameRow{"attn_sinks", rename, "attention.sinks"},
    NameRow{"rope_freqs", drop, ""},
    NameRow{"ffn_gate", rename, "feed_forward.gate"},
    NameRow{"ffn_up", rename, "feed_forward.up"},
    NameRow{"ffn_down", rename, "feed_forward.down"},
    NameRow{"ffn_sub_norm", rename, "feed_forward.hidden_norm"},
};

constexpr std::array kPackedGateUp = {
    NameRow{"ffn_up", split_gate_up, ""},
};

constexpr std::array kApertusLayer = {
    NameRow{"attention_layernorm", rename, "attention_norm"},
    NameRow{"feedforward_layernorm", rename, "feed_forward_norm"},
    NameRow{"mlp.act_fn.alpha_p", rename, "feed_forward.xielu.alpha_p"},
    NameRow{"mlp.act_fn.alpha_n", rename, "feed_forward.xielu.alpha_n"},
    NameRow{"mlp.act_fn.beta", rename, "feed_forward.xielu.beta"},
    NameRow{"mlp.act_fn.eps", rename, "feed_forward.xielu.eps"},
};

constexpr std::array kBitnetLayer = {
    NameRow{"self_attn.attn_sub_norm", rename, "attention.output_norm"},
    NameRow{"mlp.ffn_sub_norm", rename, "feed_forward.hidden_norm"},
};

constexpr std::array kPerLayerModel = {
    NameRow{"embed_tokens_per_layer", rename, "per_layer.embed"},
    NameRow{"per_layer_model_projection", rename, "per_layer.project"},
    NameRow{"per_layer_projection_norm", rename, "per_layer.norm"},
    NameRow{"altup_projections.*", numbered, "streams.in"},
    NameRow{"altup_unembed_projections.*", numbered, "streams.out"},
};

constexpr std::array kPerLayerLayer = {
    NameRow{"per_layer_input_gate", rename, "per_layer.gate"},
    NameRow{"per_layer_projection", rename, "per_layer.out"},
    NameRow{"post_per_layer_input_norm", rename, "per_layer.norm"},
    NameRow{"layer_scalar", rename, "output_scalar"},
    NameRow{"laurel.linear_left", rename, "twin.down"},
    NameRow{"laurel.linear_right", rename, "twin.up"},
    NameRow{"laurel.post_laurel_norm", rename, "twin.norm"},
    NameRow{"altup.correct_output_scale", rename, "streams.output_scale"},
    NameRow{"altup.correction_coefs", rename, "streams.correct"},
    NameRow{"altup.prediction_coefs", rename, "streams.predict"},
    NameRow{"altup.modality_router", rename, "streams.route"},
    NameRow{"altup.router_norm", rename, "streams.route_norm"},
    NameRow{"self_attn.v_norm", drop, ""},
};

constexpr std::array kGgufPerLayerModel = {
    NameRow{"per_layer_token_embd", rename, "per_layer.embed"},
    NameRow{"per_layer_model_proj", rename, "per_layer.project"},
    NameRow{"per_layer_proj_norm", rename, "per_layer.norm"},
    NameRow{"altup_proj", split_streams, "streams.in"},
    NameRow{"altup_unembd_proj", split_streams, "streams.out"},
};

constexpr std::array kGgufPerLayerLayer = {
    NameRow{"inp_gate", rename, "per_layer.gate"},
    NameRow{"proj", rename, "per_layer.out"},
    NameRow{"post_norm", rename, "per_layer.norm"},
    NameRow{"layer_output_scale", rename, "output_scalar"},
    NameRow{"laurel_l", rename, "twin.down"},
    NameRow{"laurel_r", rename, "twin.up"},
    NameRow{"laurel_post_norm", rename, "twin.norm"},
    NameRow{"altup_correct_scale", rename, "streams.output_scale"},
    NameRow{"altup_correct_coef", rename, "streams.correct"},
    NameRow{"altup_predict_coef", rename, "streams.predict"},
    NameRow{"altup_router", rename, "streams.route"},
    NameRow{"altup_router_norm", rename, "streams.route_norm"},
};

constexpr std::array kGlm4Layer = {
    NameRow{"post_self_attn_layernorm", rename, "attention_post_norm"},
    NameRow{"post_attention_layernorm", rename, "feed_forward_norm"},
    NameRow{"post_mlp_layernorm", rename, "feed_forward_post_norm"},
};

constexpr std::array kGpt2Model = {
    NameRow{"wte", rename, "embed"},
    NameRow{"wpe", rename, "positions"},
    NameRow{"ln_f", rename, "final_norm"},
};

constexpr std::array kGpt2Layer = {
    NameRow{"ln_1", rename, "attention_norm"},
    NameRow{"ln_2", rename, "feed_forward_norm"},
    NameRow{"attn.c_attn", turned_qkv, ""},
    NameRow{"attn.c_proj", turned, "attention.o"},
    NameRow{"mlp.c_fc", turned, "feed_forward.up"},
    NameRow{"mlp.c_proj", turned, "feed_forward.down"},
    // Masks: ".bias" is a name here.
    NameRow{"attn", drop, ""},
    NameRow{"attn.masked_bias", drop, ""},
};

constexpr std::array kGptNeoxModel = {
    NameRow{"embed_in", rename, "embed"},
    NameRow{"final_layer_norm", rename, "final_norm"},
    NameRow{"embed_out", rename, "head"},
};

constexpr std::array kGptNeoxLayer = {
    NameRow{"attention.query_key_value", qkv_by_head, ""},
    NameRow{"attention.dense", rename, "attention.o"},
    NameRow{"mlp.dense_h_to_4h", rename, "feed_forward.up"},
    NameRow{"mlp.dense_4h_to_h", rename, "feed_forward.down"},
    NameRow{"attention.rotary_emb.inv_freq", drop, ""},
    NameRow{"attention", drop, ""},
    NameRow{"attention.masked_bias", drop, ""},
};

constexpr std::array kHunyuanLayer = {
    NameRow{"self_attn.query_layernorm", rename, "attention.q_norm"},
    NameRow{"self_attn.key_layernorm", rename, "attention.k_norm"},
};

constexpr std::array kPhiModel = {
    NameRow{"final_layernorm", rename, "final_norm"},
};

constexpr std::array kPhiLayer = {
    NameRow{"self_attn.dense", rename, "attention.o"},
    NameRow{"self_attn.q_layernorm", rename, "attention.q_norm"},
    NameRow{"self_attn.k_layernorm", rename, "attention.k_norm"},
    NameRow{"mlp.fc1", rename, "feed_forward.up"},
    NameRow{"mlp.fc2", rename, "feed_forward.down"},
};

constexpr std::array kStablelmLayer = {
    NameRow{"self_attn.q_layernorm.norms.*", query_head, "attention.q_norm"},
    NameRow{"self_attn.k_layernorm.norms.*", key_head, "attention.k_norm"},
};

constexpr std::array kStarcoder2Layer = {
    NameRow{"mlp.c_fc", rename, "feed_forward.up"},
    NameRow{"mlp.c_proj", rename, "feed_forward.down"},
};

// That norm has the name of one that follows the embeddings there.
constexpr std::array kLfm2Gguf = {
    NameRow{"token_embd_norm", rename, "final_norm"},
};

struct OwnRows {
  NameStyle style;
  std::string_view family;
  std::span<const NameRow> model, layer;
};

constexpr std::array kOwn = {
    OwnRows{NameStyle::hugging_face, "apertus", {}, kApertusLayer},
    OwnRows{NameStyle::hugging_face, "bitnet", {}, kBitnetLayer},
    OwnRows{NameStyle::hugging_face, "gemma3n", kPerLayerModel, kPerLayerLayer},
    OwnRows{
        NameStyle::hugging_face,
        "gemma3n_text",
        kPerLayerModel,
        kPerLayerLayer},
    OwnRows{NameStyle::hugging_face, "gemma4", kPerLayerModel, kPerLayerLayer},
    OwnRows{
        NameStyle::hugging_face,
        "gemma4_text",
        kPerLayerModel,
        kPerLayerLayer},
    OwnRows{NameStyle::hugging_face, "glm4", {}, kGlm4Layer},
    OwnRows{NameStyle::hugging_face, "gpt2", kGpt2Model, kGpt2Layer},
    OwnRows{NameStyle::hugging_face, "gpt_neox", kGptNeoxModel, kGptNeoxLayer},
    OwnRows{NameStyle::hugging_face, "hunyuan_v1_dense", {}, kHunyuanLayer},
    OwnRows{NameStyle::hugging_face, "phi", kPhiModel, kPhiLayer},
    OwnRows{NameStyle::hugging_face, "stablelm", {}, kStablelmLayer},
    OwnRows{NameStyle::hugging_face, "starcoder2", {}, kStarcoder2Layer},
    OwnRows{NameStyle::gguf, "chatglm", {}, kPackedGateUp},
    OwnRows{NameStyle::gguf, "gemma3n", kGgufPerLayerModel, kGgufPerLayerLayer},
    OwnRows{NameStyle::gguf, "gemma4", kGgufPerLayerModel, kGgufPerLayerLayer},
    OwnRows{NameStyle::gguf, "glm4", {}, kPackedGateUp},
    OwnRows{NameStyle::gguf, "lfm2", kLfm2Gguf, {}},
    OwnRows{NameStyle::gguf, "lfm2moe", kLfm2Gguf, {}},
    OwnRows{NameStyle::gguf, "phi3", {}, kPackedGateUp},
};

}  // namespace

NameTable name_table(NameStyle style, std::string_view family) {
  NameTable table;
  if (style == NameStyle::gguf) {
    table.model = kGgufModel;
    table.layer = kGgufLayer;
  } else {
    table.model = kHfModel;
    table.layer = kHfLayer;
  }
  for (const OwnRows& own : kOwn) {
    if (own.style == style && own.family == family) {
      table.own_model = own.model;
      table.own_layer = own.layer;
    }
  }
  return table;
}

}  // namespace roofline
