// Roofline's own tensor names, and the tables that lead to them from the names
// in checkpoints: Hugging Face's, MLX's, GGUF's.
//
//   embed    positions    head [.bias]       final_norm [.bias]
//   layers.N.attention_norm             layers.N.attention_post_norm
//   layers.N.attention.{q,k,v,o} [.bias]
//   layers.N.attention.{q_norm,k_norm,output_norm}
//   layers.N.feed_forward_norm          layers.N.feed_forward_post_norm
//   layers.N.feed_forward.{gate,up,down} [.bias]
//   layers.N.feed_forward.hidden_norm
//   layers.N.feed_forward.xielu.{alpha_p,alpha_n,beta,eps}
//
//   per_layer.{embed,project,norm}      layers.N.per_layer.{gate,out,norm}
//   streams.{in,out}.K                  layers.N.twin.{down,up,norm}
//   layers.N.streams.{route,route_norm,predict,correct,output_scale}
//   layers.N.output_scalar
//
//   layers.N.feed_forward.router [.bias, .selection]
//   layers.N.feed_forward.experts.{gate,up,down} [.bias]
//   layers.N.feed_forward.shared.{gate,up,down,weigh}
//   layers.N.attention.{q_a,q_a_norm,q_b,kv_a,kv_a_norm,kv_b,sinks}
//
// Matrices of experts are stacked, rows of one after those of another; where a
// checkpoint has them one by one, they are ….experts.E.{gate,up,down}; see
// ExpertLayout for ….experts.gate_up and ….experts.transposed.{gate_up,down}.
// kv_b may lie as k_b [heads·kv_rank, nope_dim] and v_b [heads·value_dim,
// kv_rank].
//
// Models that are planned and not run have these too:
//   layers.N.attention.gate
//   layers.N.recurrent.{in,in_gates,conv,out,norm,decay,skip,step_bias}
//
// Norms stand before (…_norm) or after (…_post_norm) their sub-layer. A
// matrix is [out, in]. "X.bias" belongs to matrix or norm X.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// Rows [row_begin, row_begin + rows) of a source tensor under a new name;
/// rows == 0: all of it. A packed qkv or gate-up matrix gives several.
struct NamedRows {
  std::string name;
  std::int64_t row_begin = 0;
  std::int64_t rows = 0;
  /// There are so many runs of `rows` rows, their begins run_stride apart.
  std::int64_t runs = 1;
  std::int64_t run_stride = 0;
  /// The source is stored [in, out]; its rows are those of [out, in].
  bool transposed = false;
  /// The source is one of several that make up the tensor, by rows.
  struct Stacked {
    std::int64_t index = 0;
    std::int64_t count = 1;
  };
  std::optional<Stacked> stacked = std::nullopt;
};

enum class NameStyle { hugging_face, gguf };

/// Maps one checkpoint name, without ".weight" (kept for ".bias"), to ours.
/// Empty: the tensor is known and not needed (e.g. rotary buffers).
/// Throws CheckpointError for a name that no rule knows.
std::vector<NamedRows> map_tensor_name(
    std::string_view name,
    NameStyle style,
    const ModelSpec& spec);

/// A tensor that a spec needs, with the shape it must have.
struct ExpectedTensor {
  std::string name;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  /// The decoder knows what it is where it is absent.
  bool optional = false;
  /// It can also be so many tensors of equal size, named as `piece` says.
  int pieces = 0;

  /// "….experts.gate.bias", 3 → "….experts.3.gate.bias"
  std::string piece(int index) const;
};

/// Every tensor the spec asks for; "head" only when it isn't tied.
std::vector<ExpectedTensor> expected_tensors(const ModelSpec& spec);

/// Settles what a config may leave to the tensors: names are all of the
/// checkpoint's, under our names. Embeddings are tied where there is no
/// "head"; a bias is used where it is there (GGUF metadata never tells).
void settle_by_tensors(ModelSpec& spec, const std::vector<std::string>& names);

/// Settles how matrices lie that checkpoints store in several ways: those of
/// experts, and those between a latent and the heads.
void settle_layouts(ModelSpec& spec, const std::vector<std::string>& names);

}  // namespace roofline
