#include "roofline/plan/graph_memory.h"

#include <algorithm>

#include "roofline/kernels/block/step.h"

namespace roofline {

namespace {

/// A product's output and its bias, a norm's output and so on, as floats a
/// token. An elementwise op writes over its input where nobody else wants it.
double of_heads(const AttentionSpec& a, double dim) {
  const double q = 1.0 * a.heads * a.head_dim;
  const double kv = 1.0 * a.kv_heads * a.head_dim;
  double sum = 2 * dim + q + 2 * kv;
  sum += 2 * q + a.heads * a.value_dim.value_or(a.head_dim);  // turned, y
  if (a.rope) {
    sum += q + kv;
  }
  if (a.qk_norm != QkNorm::none) {
    sum += 2 * (q + kv);
  }
  if (a.output_gate) {
    sum += 4 * q;
  }
  return sum;
}

double of_latent(const AttentionSpec& a, double dim) {
  const LatentSpec& latent = *a.latent;
  const double own = latent.nope_dim + latent.rope_dim;
  const double seen = latent.kv_rank + latent.rope_dim;
  const double q = latent.q_rank.value_or(0);
  const double value = a.value_dim.value_or(a.head_dim);
  // q, what the latents see of it, joined; y, and out of the latent.
  const double by_head =
      2 * own + latent.kv_rank + seen + latent.kv_rank + value;
  return 2 * dim + 2 * q + 4 * seen + a.heads * by_head;
}

double of_dense(const FeedForwardSpec& f, double hidden, double dim) {
  double sum = 2 * dim + hidden * (f.gated ? 3 : 2);
  if (f.gate_sparsity || f.activation == Activation::xielu) {
    sum += 2 * hidden;
  }
  return sum;
}

/// Chosen experts, whose rows are copied: two products one after the other, of
/// which each waits until the one before it is done (kernels/op_memory.h).
double of_mixture(const FeedForwardSpec& f, double dim) {
  const MixtureSpec& m = *f.mixture;
  const double inner = m.top_k * (m.latent_dim ? *m.latent_dim : dim);
  const double hidden = 1.0 * m.top_k * m.expert_hidden;
  const double up = f.gated ? 2 * hidden : hidden;
  const auto codes = [](double cols) {
    return static_cast<double>(coded_bytes(cols)) / sizeof(float);
  };
  const double bias = m.expert_bias ? 1 : 0;
  const double first = std::max(
      inner + (1 + bias) * up + codes(inner),
      up + (f.clamped_glu ? 4 : 1) * hidden);
  // The second's output is put in order of the tokens.
  const double second =
      std::max(hidden + (1 + bias) * inner + codes(hidden), 2 * inner);
  double sum = 2 * dim + 4.0 * m.experts + std::max(first, second);
  if (m.shared_hidden > 0) {
    sum += of_dense(f, m.shared_hidden, dim) + dim;
  }
  return sum;
}

double of_recurrent(const RecurrentSpec& r, double dim) {
  const double conv = r.conv_channels;
  if (r.kind == RecurrentKind::short_conv) {
    // In, gated, joined to those before, a term for each of the width, out, and
    // all sequences' joined; there is no large op between them to wait at.
    return 2 * dim + conv * (3 + 5 + r.conv_width);
  }
  const double inner = 1.0 * r.heads * r.head_dim;
  const double shared = 1.0 * r.key_heads * r.state_dim;
  const double in = inner + conv + 2.0 * r.heads;
  if (r.kind == RecurrentKind::gated_delta) {
    // Keys and queries are copied, and made unit long, when the convolution's
    // terms are gone.
    const double convolved = conv * (1 + r.conv_width);
    return 2 * dim + in + std::max(convolved, conv + 4 * shared + 5 * inner);
  }
  return 2 * dim + in + conv * r.conv_width + 2 * shared + 5 * inner;
}

/// Parts of a layer run one after the other. What a part frees stays in the
/// heap, cut into its sizes: about half of it serves the others.
constexpr double kLeftByOthers = 0.45;

double of_layer(const LayerSpec& layer, double dim) {
  double sum = 0;
  double most = 0;
  const auto add = [&](double part) {
    sum += part;
    most = std::max(most, part);
  };
  if (const auto& a = layer.attention) {
    add(a->latent ? of_latent(*a, dim) : of_heads(*a, dim));
  }
  if (layer.recurrent) {
    add(of_recurrent(*layer.recurrent, dim));
  }
  if (const auto& f = layer.feed_forward) {
    if (f->mixture) {
      add(of_mixture(*f, dim));
    }
    if (!f->mixture || f->mixture_beside_dense) {
      add(of_dense(*f, f->hidden, dim));
    }
  }
  return most + kLeftByOthers * (sum - most);
}

/// The widest input of a product in codes, about.
double widest(const ModelSpec& spec) {
  double most = spec.dim;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.feed_forward && !layer.feed_forward->mixture) {
      most = std::max<double>(most, layer.feed_forward->hidden);
    }
  }
  return most;
}

}  // namespace

bool runs_as_graph_on_cpu(const ModelSpec& spec) {
  return !missing_mechanism(spec) && missing_in_cpu_step(spec);
}

double cpu_graph_step_bytes(const ModelSpec& spec, double rows) {
  double floats = 0;
  for (const LayerSpec& layer : spec.layers) {
    floats = std::max(floats, of_layer(layer, spec.dim));
  }
  if (spec.streams) {
    // They are predicted, corrected and scaled.
    floats += 3.0 * spec.streams->count * spec.dim;
  }
  if (spec.per_layer_embedding) {
    floats += 2.0 * *spec.per_layer_embedding *
              static_cast<double>(spec.layers.size());
  }
  return rows * (floats * sizeof(float) + coded_bytes(widest(spec)));
}

bool held_as_float32(const ModelTensor& tensor) {
  const auto ends = [&](std::string_view end) {
    return tensor.name.ends_with(end);
  };
  return ends(".attention.kv_b") || ends(".attention.k_b") ||
         ends(".attention.v_b");
}

}  // namespace roofline
