#include "roofline/model/step_memory.h"

#include <algorithm>

namespace roofline {

double graph_layer_bytes(
    const ModelSpec& spec,
    const LayerSpec& layer,
    double tokens,
    bool decodes) {
  constexpr double kHalf = 2;
  const double dim = spec.dim;
  double results = 4 * dim;
  double matrices = 0;
  if (const auto& a = layer.attention) {
    const double q = 1.0 * a->heads * a->head_dim;
    const double qkv = q + 2.0 * a->kv_heads * a->head_dim;
    results += 2 * qkv;
    matrices += dim * (q + qkv);
  }
  if (const auto& r = layer.recurrent) {
    const double inner = 1.0 * r->heads * r->head_dim;
    results += 2.0 * r->conv_channels + 3 * inner;
    matrices += dim * (r->conv_channels + 2 * inner);
  }
  if (const auto& f = layer.feed_forward) {
    double hidden = f->hidden;
    double chosen = 0;
    if (const auto& mixture = f->mixture) {
      hidden += mixture->shared_hidden;
      // Products of experts decode none of their weights.
      chosen = 1.0 * mixture->top_k * mixture->expert_hidden;
    }
    results += 3 * (hidden + chosen);
    matrices += (f->gated ? 3 : 2) * dim * hidden;
  }
  return kHalf * (tokens * results + (decodes ? matrices : 0));
}

bool in_lots(const ModelSpec& spec, double tokens, bool decodes) {
  double whole = 0;
  for (const auto& layer : spec.layers) {
    whole += graph_layer_bytes(spec, layer, kLotTokens, decodes);
  }
  return tokens >= kFewestBounded && whole > kWholeBytes;
}

double graph_step_bytes(const ModelSpec& spec, double tokens, bool decodes) {
  const bool lots = in_lots(spec, tokens, decodes);
  double most = 0;
  double before = 0;
  double lot = 0;
  double full = 0;
  for (const auto& layer : spec.layers) {
    lot += graph_layer_bytes(spec, layer, tokens, decodes);
    full += graph_layer_bytes(spec, layer, kLotTokens, decodes);
    most = std::max(most, before + lot);
    if (lots && full >= kLotBytes) {
      before = lot;
      lot = 0;
      full = 0;
    }
  }
  return most;
}

}  // namespace roofline
