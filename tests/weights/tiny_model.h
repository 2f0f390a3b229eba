// A llama of one small layer, as the three kinds of checkpoint.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "weights/file_builders.h"
#include "weights/temp_folder.h"

namespace roofline::testing {

constexpr int kDim = 32, kHidden = 64, kVocab = 40, kKvDim = 16;

inline nlohmann::json tiny_config() {
  return {
      {"model_type", "llama"},
      {"hidden_size", kDim},
      {"intermediate_size", kHidden},
      {"num_hidden_layers", 1},
      {"num_attention_heads", 2},
      {"num_key_value_heads", 1},
      {"head_dim", kKvDim},
      {"hidden_act", "silu"},
      {"rms_norm_eps", 1e-6},
      {"rope_theta", 10000.0},
      {"max_position_embeddings", 128},
      {"vocab_size", kVocab},
      {"eos_token_id", 2},
      {"tie_word_embeddings", false}};
}

/// Name (without ".weight") → shape.
using Shapes = std::map<std::string, std::vector<std::int64_t>>;

inline Shapes tiny_shapes() {
  const std::string layer = "model.layers.0.";
  return {
      {"model.embed_tokens", {kVocab, kDim}},
      {"model.norm", {kDim}},
      {"lm_head", {kVocab, kDim}},
      {layer + "input_layernorm", {kDim}},
      {layer + "post_attention_layernorm", {kDim}},
      {layer + "self_attn.q_proj", {kDim, kDim}},
      {layer + "self_attn.k_proj", {kKvDim, kDim}},
      {layer + "self_attn.v_proj", {kKvDim, kDim}},
      {layer + "self_attn.o_proj", {kDim, kDim}},
      {layer + "mlp.gate_proj", {kHidden, kDim}},
      {layer + "mlp.up_proj", {kHidden, kDim}},
      {layer + "mlp.down_proj", {kDim, kHidden}}};
}

/// Every element is the row's number plus a hundredth of the column's.
inline std::string ramp(std::int64_t rows, std::int64_t cols) {
  std::string out;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      put(out, static_cast<float>(r) + 0.01f * static_cast<float>(c));
    }
  }
  return out;
}

inline void add_tensors(SafetensorsBuilder& out, const Shapes& shapes) {
  for (const auto& [name, shape] : shapes) {
    const bool vector = shape.size() == 1;
    out.add(
        name + ".weight",
        "F32",
        shape,
        ramp(vector ? 1 : shape[0], vector ? shape[0] : shape[1]));
  }
}

inline void write_folder(
    const TempFolder& folder,
    const nlohmann::json& config,
    const Shapes& shapes) {
  SafetensorsBuilder tensors;
  add_tensors(tensors, shapes);
  folder.write("config.json", config.dump());
  folder.write("model.safetensors", tensors.build());
}

/// The same model as GGUF metadata; tensors with add_gguf_tensors.
inline GgufBuilder tiny_gguf_metadata() {
  GgufBuilder out;
  out.text("general.architecture", "llama")
      .u32("llama.block_count", 1)
      .u32("llama.context_length", 128)
      .u32("llama.embedding_length", kDim)
      .u32("llama.feed_forward_length", kHidden)
      .u32("llama.attention.head_count", 2)
      .u32("llama.attention.head_count_kv", 1)
      .u32("llama.rope.dimension_count", kKvDim)
      .f32("llama.attention.layer_norm_rms_epsilon", 1e-6f);
  return out;
}

inline Shapes tiny_gguf_shapes() {
  return {
      {"token_embd", {kVocab, kDim}},
      {"output_norm", {kDim}},
      {"blk.0.attn_norm", {kDim}},
      {"blk.0.ffn_norm", {kDim}},
      {"blk.0.attn_q", {kDim, kDim}},
      {"blk.0.attn_k", {kKvDim, kDim}},
      {"blk.0.attn_v", {kKvDim, kDim}},
      {"blk.0.attn_output", {kDim, kDim}},
      {"blk.0.ffn_gate", {kHidden, kDim}},
      {"blk.0.ffn_up", {kHidden, kDim}},
      {"blk.0.ffn_down", {kDim, kHidden}}};
}

inline void add_gguf_tensors(GgufBuilder& out, const Shapes& shapes) {
  for (const auto& [name, shape] : shapes) {
    const bool vector = shape.size() == 1;
    const std::int64_t rows = vector ? 1 : shape[0];
    const std::int64_t cols = vector ? shape[0] : shape[1];
    std::vector<std::uint64_t> reversed = {static_cast<std::uint64_t>(cols)};
    if (!vector) {
      reversed.push_back(static_cast<std::uint64_t>(rows));
    }
    out.tensor(name + ".weight", reversed, 0, ramp(rows, cols));
  }
}

}  // namespace roofline::testing
