// Causal attention for training, over a batch of samples that lie one after
// the other without padding: a token sees those of its own sample only.
//   out = softmax(mask(softcap(scale · rope(q) · rope(k)ᵀ))) · v
// Rotation is part of it, so that nothing but qkv, out and one float a query
// has to be kept for the gradient. A block of queries meets all its keys at
// once; scores exist for one block a thread.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <mlx/array.h>

#include "roofline/base/thread_pool.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

namespace mx = mlx::core;

/// Cosines and sines of every token of a batch, [tokens, width] each, as
/// fill_rope_row leaves them.
struct RopeTable {
  RopeLayout layout = RopeLayout::half_split;
  int rotated_dims = 0;
  int width = 0;
  std::vector<float> cos;
  std::vector<float> sin;
  std::vector<float> minus_sin;  ///< turns back
};

/// first[i] is the row of sample i's first token; the last entry is the number
/// of rows. Positions count from each sample's start.
RopeTable make_rope_table(const RopeSpec& spec, const std::vector<int>& first);

struct PackedAttention {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  float scale = 1.0f;
  std::optional<int> window_tokens;
  std::optional<float> softcap;
  std::shared_ptr<const std::vector<int>> first;  ///< as above
  std::shared_ptr<const RopeTable> rope;          ///< null: no positions

  int tokens() const { return first->back(); }
  int qkv_width() const { return (heads + 2 * kv_heads) * head_dim; }
  int out_width() const { return heads * head_dim; }
};

/// qkv [tokens, (heads + 2·kv_heads)·head_dim]; out [tokens, heads·head_dim];
/// lse [tokens, heads]: log Σ e^score of each query.
void attend_packed(
    const PackedAttention& args,
    const float* qkv,
    float* out,
    float* lse,
    ThreadPool& pool);

/// Given d_out: d_qkv, the shape of qkv.
void attend_packed_grad(
    const PackedAttention& args,
    const float* qkv,
    const float* out,
    const float* lse,
    const float* d_out,
    float* d_qkv,
    ThreadPool& pool);

/// The same as an MLX op on the CPU, differentiable in qkv.
mx::array packed_attention(const mx::array& qkv, const PackedAttention& args);

}  // namespace roofline
