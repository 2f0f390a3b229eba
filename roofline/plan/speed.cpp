#include "roofline/plan/speed.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

namespace roofline {

namespace {

// Of a state and of the convolution's inputs: float32 and 16-bit values.
constexpr double kStateBytes = 4;
constexpr double kConvolutionBytes = 2;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// A table that is looked up: one row of it a token.
bool is_lookup(const ModelTensor& tensor, const ModelSpec& spec) {
  if (tensor.name == "embed") {
    return !spec.tied_embeddings;
  }
  if (tensor.name.rfind("layers.", 0) == 0 ||
      tensor.name.rfind("head", 0) == 0) {
    return false;
  }
  const std::int64_t positions = spec.learned_positions.value_or(0);
  return tensor.rows > 1 &&
         (tensor.rows == spec.vocab || tensor.rows == positions);
}

/// The matrix that makes the logits.
bool is_head(const ModelTensor& tensor, const ModelSpec& spec) {
  return tensor.name.rfind("head", 0) == 0 ||
         (tensor.name == "embed" && spec.tied_embeddings);
}

const MixtureSpec* mixture_of(
    const ModelTensor& tensor,
    const ModelSpec& spec) {
  constexpr std::string_view kLayers = "layers.";
  if (tensor.name.rfind(kLayers, 0) != 0 ||
      !contains(tensor.name, ".experts") || contains(tensor.name, "shared")) {
    return nullptr;
  }
  const std::size_t layer =
      std::strtoul(tensor.name.c_str() + kLayers.size(), nullptr, 10);
  if (layer >= spec.layers.size() || !spec.layers[layer].feed_forward) {
    return nullptr;
  }
  const auto& mixture = spec.layers[layer].feed_forward->mixture;
  return mixture ? &*mixture : nullptr;
}

/// Distinct experts that `tokens` tokens are expected to touch, as a share of
/// all, were each token's choice independent and even: 1 − (1 − k/E)^tokens.
double touched_share(const MixtureSpec& mixture, double tokens) {
  if (mixture.experts <= 0) {
    return 1;
  }
  const double one =
      std::min(1.0, static_cast<double>(mixture.top_k) / mixture.experts);
  return 1 - std::pow(1 - one, tokens);
}

/// Weights that one step of `tokens` tokens reads, and the operations on them.
/// The head makes logits of `logit_tokens` tokens only.
PhaseWork weight_work(
    const PlannedModel& model,
    double tokens,
    double logit_tokens) {
  PhaseWork work;
  for (const ModelTensor& tensor : model.tensors) {
    const auto bytes = static_cast<double>(tensor.bytes);
    const auto count = static_cast<double>(tensor.count());
    if (is_lookup(tensor, model.spec)) {
      const auto rows = static_cast<double>(tensor.rows);
      work.bytes += bytes / rows * std::min(rows, tokens);
    } else if (is_head(tensor, model.spec)) {
      work.bytes += logit_tokens > 0 ? bytes : 0;
      work.operations += 2 * count * logit_tokens;
    } else if (const MixtureSpec* mixture = mixture_of(tensor, model.spec)) {
      work.bytes += bytes * touched_share(*mixture, tokens);
      work.operations += 2 * count * touched_share(*mixture, 1) * tokens;
    } else {
      work.bytes += bytes;
      work.operations += 2 * count * tokens;
    }
  }
  return work;
}

double seen_tokens(const AttentionSpec& attention, double depth) {
  return attention.window_tokens
             ? std::min<double>(depth, *attention.window_tokens)
             : depth;
}

/// Operations of one query against one key and value, all heads: in a latent's
/// own space where there is one, as a decode step does it.
double score_operations(const AttentionSpec& attention) {
  double dims = 0;
  if (attention.latent) {
    dims = 2.0 * attention.latent->kv_rank + attention.latent->rope_dim;
  } else {
    dims =
        attention.head_dim + attention.value_dim.value_or(attention.head_dim);
  }
  return 2.0 * attention.heads * dims;
}

/// A state is read and written; each value of it takes a decay, an update and
/// a read-out.
PhaseWork state_work(const RecurrentSpec& recurrent, double tokens) {
  const double state = recurrent.kind == RecurrentKind::short_conv
                           ? 0
                           : static_cast<double>(recurrent.heads) *
                                 recurrent.head_dim * recurrent.state_dim;
  const double convolution = std::max(0, recurrent.conv_width - 1) *
                             static_cast<double>(recurrent.conv_channels);
  PhaseWork work;
  work.bytes = 2 * (state * kStateBytes + convolution * kConvolutionBytes);
  work.operations = 6 * state * tokens;
  return work;
}

/// Of one sequence: `tokens` new ones after `depth` that are in the cache.
PhaseWork mixer_work(
    const ModelSpec& spec,
    double depth,
    double tokens,
    const KvFormat& kv,
    int float_bits) {
  PhaseWork work;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention) {
      const AttentionSpec& attention = *layer.attention;
      // The first new token sees one more than depth, the last one all.
      const double mean = seen_tokens(attention, depth + (tokens + 1) / 2);
      work.bytes += static_cast<double>(kv_read_bytes(
          attention,
          kv,
          static_cast<std::int64_t>(depth),
          std::nullopt,
          static_cast<std::size_t>(float_bits / 8)));
      work.operations += mean * tokens * score_operations(attention);
    }
    if (layer.recurrent) {
      const PhaseWork state = state_work(*layer.recurrent, tokens);
      work.bytes += state.bytes;
      work.operations += state.operations;
    }
  }
  return work;
}

void add(PhaseWork& work, const PhaseWork& mixers, int batch) {
  work.bytes += mixers.bytes * batch;
  work.kv_bytes += mixers.bytes * batch;
  work.operations += mixers.operations * batch;
}

/// 0 where a rate isn't known: then it doesn't bound anything.
double seconds_of(
    const PhaseWork& work,
    double bytes_per_second,
    double operations_per_second) {
  const double moving =
      bytes_per_second > 0 ? work.bytes / bytes_per_second : 0;
  const double computing =
      operations_per_second > 0 ? work.operations / operations_per_second : 0;
  return std::max(moving, computing);
}

double per_second(double count, double seconds) {
  return seconds > 0 ? count / seconds : 0;
}

}  // namespace

PhaseWork decode_work(
    const PlannedModel& model,
    std::int64_t depth,
    int batch,
    const KvFormat& kv,
    int kv_float_bits) {
  PhaseWork work = weight_work(model, batch, batch);
  const PhaseWork mixers =
      mixer_work(model.spec, static_cast<double>(depth), 1, kv, kv_float_bits);
  add(work, mixers, batch);
  return work;
}

PhaseWork prefill_work(
    const PlannedModel& model,
    std::int64_t tokens,
    int prefill_step,
    std::int64_t depth,
    int batch,
    const KvFormat& kv) {
  PhaseWork work;
  const std::int64_t step = std::max(1, prefill_step);
  for (std::int64_t begin = 0; begin < tokens; begin += step) {
    const std::int64_t count = std::min(step, tokens - begin);
    const bool last = begin + count == tokens;
    const PhaseWork weights = weight_work(
        model,
        static_cast<double>(count * batch),
        last ? batch : 0);
    const PhaseWork mixers = mixer_work(
        model.spec,
        static_cast<double>(depth + begin),
        static_cast<double>(count),
        kv,
        16);
    work.bytes += weights.bytes;
    work.operations += weights.operations;
    add(work, mixers, batch);
  }
  return work;
}

SpeedPrediction predict_speed(
    const PlannedModel& model,
    const InferenceQuestion& question,
    std::int64_t prompt_tokens,
    const MachineRates& rates) {
  const PlannedModel planned =
      question.quantize ? quantized(model, *question.quantize) : model;
  const PhaseWork decode = decode_work(
      planned,
      prompt_tokens,
      question.batch,
      question.kv,
      question.kv_float_bits);
  const PhaseWork prefill = prefill_work(
      planned,
      prompt_tokens,
      question.prefill_step,
      0,
      1,
      question.kv);
  const double bytes = rates.bytes_per_second;
  const double operations = rates.operations_per_second;
  const auto prompt = static_cast<double>(prompt_tokens);
  SpeedPrediction out;
  out.decode_roof =
      per_second(question.batch, seconds_of(decode, bytes, operations));
  out.decode = per_second(
      question.batch,
      seconds_of(
          decode,
          bytes * rates.decode_efficiency,
          operations * rates.prefill_efficiency));
  if (operations <= 0) {
    return out;
  }
  out.prefill_roof = per_second(prompt, seconds_of(prefill, bytes, operations));
  out.prefill = per_second(
      prompt,
      seconds_of(
          prefill,
          bytes * rates.decode_efficiency,
          operations * rates.prefill_efficiency));
  return out;
}

}  // namespace roofline
