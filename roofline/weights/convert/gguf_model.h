// What a GGUF file says about a model: metadata of its architecture from a
// spec, its names for our tensors, and its rope factors. In: a checkpoint in
// Hugging Face or MLX layout. What the architecture can't say is refused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/spec/families.h"
#include "roofline/spec/model_spec.h"
#include "roofline/weights/convert/gguf_writer.h"

namespace roofline {

/// How the values of one tensor change on the way into the file.
enum class GgufChange {
  none,
  add_one,       ///< norm weights are stored as they are used
  negative_exp,  ///< w becomes −exp(w)
  /// Of a matrix with rows of keys, then of values, head by head: the keys',
  /// turned within their head.
  latent_keys,
};

/// A tensor of the file, made of tensors of ours, one after another.
struct GgufSource {
  std::string name;               ///< as in the file
  std::vector<std::string> ours;  ///< e.g. q, k and v of a packed qkv
  GgufChange change = GgufChange::none;
  /// The file's row i (of a vector, its value i) is row rows[i] of ours; empty:
  /// all of them, as they come. The same of columns.
  std::vector<std::int64_t> rows = {};
  std::vector<std::int64_t> cols = {};
  /// On the values: one for all, or one for each row of the file.
  std::vector<float> factors = {};
  int experts = 0;   ///< the rows are those of so many matrices
  int planes = 0;    ///< the same of one matrix of ours
  int key_dims = 0;  ///< rows of a head's keys, for latent_keys
  /// Of a vector that the file has as a matrix, cols first.
  std::vector<std::int64_t> sizes = {};
};

struct GgufModel {
  GgufMetadata metadata;
  std::vector<GgufSource> tensors;
  /// Small tensors that the spec stands for: names and floats.
  std::vector<std::pair<std::string, std::vector<float>>> factors;
  /// Tensors that readers ask for and don't use: names and sizes, cols first.
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> zeros;
  std::string warning;  ///< what readers compute otherwise; may be empty
};

/// config: the checkpoint's config.json. Throws UnsupportedError for a family
/// without GGUF files, and where the file couldn't say what the model is.
GgufModel describe_gguf_model(
    const ModelSpec& spec,
    const nlohmann::json& config);

}  // namespace roofline
