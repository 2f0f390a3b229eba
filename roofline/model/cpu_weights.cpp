#include "roofline/model/cpu_weights.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/model/cpu_ropes.h"
#include "roofline/model/matrix_store.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

/// Names of the spec's tensors that are matrices, not norms or biases.
std::vector<std::string> matrix_names(const ModelSpec& spec) {
  std::vector<std::string> names{"embed"};
  if (!spec.tied_embeddings) {
    names.push_back("head");
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string layer = fmt::format("layers.{}.", i);
    for (const char* name : {"q", "k", "v", "o"}) {
      names.push_back(layer + "attention." + name);
    }
    if (spec.layers[i].feed_forward->gated) {
      names.push_back(layer + "feed_forward.gate");
    }
    names.push_back(layer + "feed_forward.up");
    names.push_back(layer + "feed_forward.down");
  }
  return names;
}

/// The head, unless it adds a bias.
std::string_view screened(const Checkpoint& checkpoint) {
  const std::string_view name =
      checkpoint.spec().tied_embeddings ? "embed" : "head";
  const bool biased = checkpoint.spec().head_bias ||
                      checkpoint.find(std::string(name) + ".bias") != nullptr;
  return biased ? "" : name;
}

void check_shapes(const Checkpoint& checkpoint) {
  for (const ExpectedTensor& expected : expected_tensors(checkpoint.spec())) {
    const Tensor& tensor = checkpoint.at(expected.name);
    if (tensor.rows != expected.rows || tensor.cols != expected.cols) {
      fail<CheckpointError>(
          fmt::format(
              "{} has shape [{}, {}]",
              tensor.name,
              tensor.rows,
              tensor.cols),
          fmt::format(
              "the config asks for [{}, {}]",
              expected.rows,
              expected.cols),
          "Check that the config belongs to these weights.");
    }
  }
}

/// Builds the model from a store of matrices.
class Builder : public CpuWeights {
 public:
  Builder(
      const Checkpoint& checkpoint,
      const ModelOptions& options,
      ThreadPool& pool)
      : checkpoint_(checkpoint),
        ropes_(checkpoint.spec()),
        store_(
            checkpoint,
            options,
            matrix_names(checkpoint.spec()),
            screened(checkpoint),
            pool) {
    const ModelSpec& spec = checkpoint.spec();
    note_ = store_.note();
    model_.dim = spec.dim;
    model_.vocab = spec.vocab;
    model_.exact = options.exact;
    model_.embed = store_.at("embed");
    model_.embedding_scale = spec.embedding_scale;
    model_.final_norm = norm("final_norm", spec.final_norm);
    model_.head = linear({spec.tied_embeddings ? "embed" : "head"});
    if (const PackedMatrix* coarse = store_.screen()) {
      model_.screen.coarse.parts = {*coarse};
      model_.screen.errors = store_.screen_errors();
    }
    model_.logit_scale = spec.logit_scale;
    model_.logit_softcap = spec.logit_softcap;
    for (const RopeSpec& rope : ropes_.all()) {
      model_.ropes.push_back({rope.layout, rope.rotated_dims});
    }
    for (std::size_t i = 0; i < spec.layers.size(); ++i) {
      model_.layers.push_back(layer(spec.layers[i], i));
    }
  }

 private:
  std::vector<float> floats(const std::string& name) const {
    const Tensor* tensor = checkpoint_.find(name);
    if (!tensor) {
      return {};
    }
    std::vector<float> values(static_cast<std::size_t>(tensor->cols));
    decode_row(*tensor, 0, values);
    return values;
  }

  StepNorm norm(const std::string& name, const NormSpec& spec) const {
    StepNorm norm{spec.kind, spec.eps, floats(name), {}};
    if (spec.plus_one) {
      for (float& weight : norm.weight) {
        weight += 1.0f;
      }
    }
    if (spec.bias) {
      norm.bias = floats(name + ".bias");
    }
    return norm;
  }

  StepLinear linear(const std::vector<std::string>& names) const {
    StepLinear linear;
    std::vector<float> bias;
    bool any_bias = false;
    for (const std::string& name : names) {
      const PackedMatrix& matrix = store_.at(name);
      linear.parts.push_back(matrix);
      std::vector<float> own = floats(name + ".bias");
      any_bias = any_bias || !own.empty();
      own.resize(static_cast<std::size_t>(matrix.rows));
      bias.insert(bias.end(), own.begin(), own.end());
    }
    if (any_bias) {
      linear.bias = std::move(bias);
    }
    return linear;
  }

  StepAttention attention(const LayerSpec& layer, const std::string& at);
  StepLayer layer(const LayerSpec& layer, std::size_t index);

  const Checkpoint& checkpoint_;
  CpuRopes ropes_;
  MatrixStore store_;
};

StepAttention Builder::attention(
    const LayerSpec& layer,
    const std::string& at) {
  const AttentionSpec& spec = *layer.attention;
  StepAttention attention;
  attention.heads = spec.heads;
  attention.kv_heads = spec.kv_heads;
  attention.head_dim = spec.head_dim;
  attention.scale = spec.scale;
  attention.window_tokens = spec.window_tokens;
  attention.softcap = spec.softcap;
  attention.qk_norm = spec.qk_norm;
  if (spec.qk_norm != QkNorm::none) {
    attention.q_norm = norm(at + "q_norm", layer.norm);
    attention.k_norm = norm(at + "k_norm", layer.norm);
  }
  if (spec.rope) {
    attention.rope = ropes_.index_of(*spec.rope);
  }
  attention.qkv = linear({at + "q", at + "k", at + "v"});
  attention.out = linear({at + "o"});
  return attention;
}

StepLayer Builder::layer(const LayerSpec& spec, std::size_t index) {
  const std::string at = fmt::format("layers.{}.", index);
  const auto place = spec.norm_placement;
  StepLayer layer;
  layer.placement = place;
  layer.residual_scale = spec.residual_scale;
  if (place != NormPlacement::post) {
    layer.attention_norm = norm(at + "attention_norm", spec.norm);
  }
  if (place == NormPlacement::pre || place == NormPlacement::sandwich) {
    layer.feed_forward_norm = norm(at + "feed_forward_norm", spec.norm);
  }
  if (place == NormPlacement::post || place == NormPlacement::sandwich) {
    layer.attention_post_norm = norm(at + "attention_post_norm", spec.norm);
    layer.feed_forward_post_norm =
        norm(at + "feed_forward_post_norm", spec.norm);
  }
  layer.attention = attention(spec, at + "attention.");
  const std::string ff = at + "feed_forward.";
  layer.feed_forward.activation = spec.feed_forward->activation;
  if (spec.feed_forward->gated) {
    layer.feed_forward.gate = linear({ff + "gate"});
  }
  layer.feed_forward.up = linear({ff + "up"});
  layer.feed_forward.down = linear({ff + "down"});
  return layer;
}

std::size_t norm_bytes(const StepNorm& norm) {
  return (norm.weight.size() + norm.bias.size()) * sizeof(float);
}

std::size_t norm_bytes(const std::optional<StepNorm>& norm) {
  return norm ? norm_bytes(*norm) : 0;
}

std::size_t linear_bytes(const StepLinear& linear) {
  std::size_t sum = linear.bias.size() * sizeof(float);
  for (const PackedMatrix& part : linear.parts) {
    sum += part.bytes();
  }
  return sum;
}

}  // namespace

std::shared_ptr<const CpuWeights> CpuWeights::load(
    const Checkpoint& checkpoint,
    const ModelOptions& options,
    ThreadPool& pool) {
  check_shapes(checkpoint);
  auto weights = std::make_shared<const Builder>(checkpoint, options, pool);
  // Reading the norms brought in much around them.
  for (const Tensor& tensor : checkpoint.tensors()) {
    checkpoint.release(tensor);
  }
  return weights;
}

std::size_t CpuWeights::step_bytes(bool all_logits, double screened_share)
    const {
  std::size_t sum = linear_bytes(model_.head);
  const StepLinear& coarse = model_.screen.coarse;
  if (!all_logits && !coarse.parts.empty() && screened_share < 1) {
    sum = linear_bytes(coarse) +
          static_cast<std::size_t>(screened_share * static_cast<double>(sum));
  }
  sum += norm_bytes(model_.final_norm);
  for (const StepLayer& layer : model_.layers) {
    sum += norm_bytes(layer.attention_norm) +
           norm_bytes(layer.attention_post_norm) +
           norm_bytes(layer.feed_forward_norm) +
           norm_bytes(layer.feed_forward_post_norm) +
           norm_bytes(layer.attention.q_norm) +
           norm_bytes(layer.attention.k_norm);
    sum += linear_bytes(layer.attention.qkv) +
           linear_bytes(layer.attention.out) +
           linear_bytes(layer.feed_forward.gate) +
           linear_bytes(layer.feed_forward.up) +
           linear_bytes(layer.feed_forward.down);
  }
  return sum;
}

}  // namespace roofline
