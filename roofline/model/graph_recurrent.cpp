#include "roofline/model/graph_recurrent.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <mlx/fast.h>
#include <mlx/ops.h>

#include "roofline/model/graph_activation.h"
#include "roofline/model/graph_scans.h"

namespace roofline {

namespace {

/// Keeps a key of zeros from being divided by zero.
constexpr float kKeyEps = 1e-6f;

mx::array silu(const mx::array& x) {
  return mx::multiply(x, mx::sigmoid(x));
}

int inner_dim(const RecurrentSpec& spec) {
  return spec.heads * spec.head_dim;
}

std::vector<std::string> input_names(
    const RecurrentSpec& spec,
    const std::string& prefix) {
  if (spec.kind != RecurrentKind::gated_delta) {
    return {prefix + "in"};
  }
  if (spec.rows_by_key_head) {
    return {prefix + "in", prefix + "in_gates"};
  }
  if (spec.gates_together) {
    return {prefix + "in", prefix + "in_gate", prefix + "in_gates"};
  }
  return {
      prefix + "in",
      prefix + "in_gate",
      prefix + "in_rate",
      prefix + "in_step"};
}

/// The parts' factors, one a column; nullopt when they are all 1.
std::optional<mx::array> column_scales(const RecurrentSpec& spec) {
  if (spec.part_scales.size() < 5) {
    return std::nullopt;
  }
  const int shared = spec.key_heads * spec.state_dim;
  const int inner = inner_dim(spec);
  const int sizes[] = {inner, inner, shared, shared, spec.heads};
  std::vector<mx::array> parts;
  for (std::size_t i = 0; i < 5; ++i) {
    parts.push_back(mx::full({sizes[i]}, spec.part_scales[i]));
  }
  return mx::concatenate(parts);
}

mx::array floats(const mx::array& x) {
  return mx::astype(x, mx::float32);
}

/// x / √(Σx² + ε) over the last axis.
mx::array unit(const mx::array& x) {
  const auto squares = mx::sum(mx::square(x), -1, /* keepdims = */ true);
  return mx::multiply(x, mx::rsqrt(mx::add(squares, mx::array(kKeyEps))));
}

/// Columns [begin, begin + count) of each of `blocks` blocks of x.
mx::array block_columns(const mx::array& x, int blocks, int begin, int count) {
  const int tokens = x.shape(0);
  const auto taken = mx::slice(
      mx::reshape(x, {tokens, blocks, -1}),
      {0, 0, begin},
      {tokens, blocks, begin + count});
  return mx::reshape(taken, {tokens, blocks * count});
}

/// Keys [tokens, key heads, dims] as the scan wants them: where value heads
/// take turns, one for each of them.
mx::array own_keys(const mx::array& x, const RecurrentSpec& spec) {
  if (!spec.key_heads_tiled) {
    return x;
  }
  const std::vector<mx::array> copies(
      static_cast<std::size_t>(spec.heads / spec.key_heads),
      x);
  return mx::concatenate(copies, 1);
}

}  // namespace

/// What the input projection gives for one sequence, in float32.
struct GraphRecurrent::Parts {
  mx::array z;     ///< gate [tokens, heads·head_dim]
  mx::array conv;  ///< inputs of the convolution [tokens, conv_channels]
  mx::array step;  ///< [tokens, heads]
  mx::array rate;  ///< gated_delta: [tokens, heads]
};

GraphRecurrent::GraphRecurrent(
    const RecurrentSpec& spec,
    float eps,
    int index,
    const GraphWeights& weights)
    : spec_(spec),
      eps_(eps),
      index_(index),
      activate_(make_activate(spec.conv_activation, /* fuse = */ false)),
      conv_(mx::array(0.0f)) {
  const auto prefix = fmt::format("layers.{}.recurrent.", index);
  in_ = weights.matrix(input_names(spec, prefix));
  out_ = weights.matrix(prefix + "out");
  conv_ = mx::transpose(*weights.values(prefix + "conv"));
  conv_bias_ = weights.vector(prefix + "conv.bias");
  scales_ = column_scales(spec);
  decay_ = weights.vector(prefix + "decay");
  step_bias_ = weights.vector(prefix + "step.bias");
  skip_ = weights.vector(prefix + "skip");
  norm_ = weights.vector(prefix + "norm");
  if (decay_ && spec.log_decay) {
    decay_ = mx::negative(mx::exp(*decay_));
  }
  if (skip_) {
    skip_ = mx::reshape(*skip_, {spec.heads, 1});
  }
}

/// inputs [tokens, conv_channels] → the convolution with those before them.
mx::array GraphRecurrent::convolve(
    const mx::array& inputs,
    RecurrentState& state) const {
  const int tokens = inputs.shape(0);
  const int channels = inputs.shape(1);
  const int width = spec_.conv_width;
  const auto all = mx::concatenate({state.conv_inputs, inputs}, 0);
  state.conv_inputs =
      mx::slice(all, {tokens, 0}, {tokens + width - 1, channels});
  if (tokens > 1) {
    // A copy of its own: a view would hold all of a long step's inputs.
    state.conv_inputs = mx::contiguous(state.conv_inputs);
  }
  std::optional<mx::array> y;
  if (tokens == 1) {
    y = mx::sum(mx::multiply(all, conv_), 0, /* keepdims = */ true);
  } else {
    for (int k = 0; k < width; ++k) {
      const auto term = mx::multiply(
          mx::slice(all, {k, 0}, {k + tokens, channels}),
          mx::slice(conv_, {k, 0}, {k + 1, channels}));
      y = y ? mx::add(*y, term) : term;
    }
  }
  return conv_bias_ ? mx::add(*y, *conv_bias_) : *y;
}

GraphRecurrent::Parts GraphRecurrent::split_mamba2(
    const mx::array& projected) const {
  const int inner = inner_dim(spec_);
  const auto step =
      columns(projected, inner + spec_.conv_channels, spec_.heads);
  return {
      columns(projected, 0, inner),
      columns(projected, inner, spec_.conv_channels),
      step,
      step};
}

GraphRecurrent::Parts GraphRecurrent::split_gated_delta(
    const mx::array& projected) const {
  const int inner = inner_dim(spec_);
  const int channels = spec_.conv_channels;
  const int heads = spec_.heads;
  const int groups = spec_.key_heads;
  const auto wide = columns(projected, 0, channels + inner);
  const auto narrow = columns(projected, channels + inner, 2 * heads);
  const bool by_group = spec_.rows_by_key_head || spec_.gates_together;
  const int blocks = by_group ? groups : 1;
  const auto rate = block_columns(narrow, blocks, 0, heads / blocks);
  const auto step =
      block_columns(narrow, blocks, heads / blocks, heads / blocks);
  if (!spec_.rows_by_key_head) {
    return {
        columns(wide, channels, inner),
        columns(wide, 0, channels),
        step,
        rate};
  }
  const int key = spec_.state_dim;
  const int value = inner / groups;
  const auto conv = mx::concatenate(
      {block_columns(wide, groups, 0, key),
       block_columns(wide, groups, key, key),
       block_columns(wide, groups, 2 * key, value)},
      1);
  return {
      block_columns(wide, groups, 2 * key + value, value),
      conv,
      step,
      rate};
}

/// y, z: [tokens, heads·head_dim]
mx::array GraphRecurrent::gated(const mx::array& y, const mx::array& z) const {
  if (!norm_) {
    return mx::multiply(y, silu(z));
  }
  const auto in = spec_.gate_before_norm ? mx::multiply(y, silu(z)) : y;
  const int inner = y.shape(1);
  const int normed = spec_.kind == RecurrentKind::gated_delta ? spec_.head_dim
                     : spec_.output_norm_by_group ? inner / spec_.key_heads
                                                  : inner;
  auto out = mx::fast::rms_norm(
      mx::reshape(in, {y.shape(0), inner / normed, normed}),
      std::nullopt,
      eps_);
  const auto weight = mx::reshape(*norm_, {-1, normed});
  out = mx::reshape(mx::multiply(out, weight), y.shape());
  return spec_.gate_before_norm ? out : mx::multiply(out, silu(z));
}

mx::array GraphRecurrent::run_mamba2(const Parts& parts, RecurrentState& state)
    const {
  const int tokens = parts.conv.shape(0);
  const int inner = inner_dim(spec_);
  const int shared = spec_.key_heads * spec_.state_dim;
  const auto mixed = activate_({convolve(parts.conv, state)})[0];
  const auto x = mx::reshape(
      columns(mixed, 0, inner),
      {tokens, spec_.heads, spec_.head_dim});
  const auto by_key_head = [&](int begin) {
    return mx::reshape(
        columns(mixed, begin, shared),
        {tokens, spec_.key_heads, spec_.state_dim});
  };
  auto steps = softplus(mx::add(parts.step, *step_bias_));
  if (spec_.step_min > 0.0f || std::isfinite(spec_.step_max)) {
    steps =
        mx::clip(steps, mx::array(spec_.step_min), mx::array(spec_.step_max));
  }
  auto scanned = mamba2_scan(
      x,
      steps,
      *decay_,
      by_key_head(inner),
      by_key_head(inner + shared),
      state.memory);
  state.memory = std::move(scanned.memory);
  const auto y = mx::add(scanned.y, mx::multiply(x, *skip_));
  return gated(mx::reshape(y, {tokens, inner}), parts.z);
}

mx::array GraphRecurrent::run_gated_delta(
    const Parts& parts,
    RecurrentState& state) const {
  const int tokens = parts.conv.shape(0);
  const int inner = inner_dim(spec_);
  const int shared = spec_.key_heads * spec_.state_dim;
  const auto mixed = activate_({convolve(parts.conv, state)})[0];
  const auto by_key_head = [&](int begin) {
    return unit(mx::reshape(
        columns(mixed, begin, shared),
        {tokens, spec_.key_heads, spec_.state_dim}));
  };
  const mx::array scale(1.0f / std::sqrt(static_cast<float>(spec_.state_dim)));
  const auto steps = softplus(mx::add(parts.step, *step_bias_));
  auto scanned = gated_delta_scan(
      own_keys(mx::multiply(by_key_head(0), scale), spec_),
      own_keys(by_key_head(shared), spec_),
      mx::reshape(
          columns(mixed, 2 * shared, inner),
          {tokens, spec_.heads, spec_.head_dim}),
      mx::multiply(steps, *decay_),
      mx::sigmoid(parts.rate),
      state.memory);
  state.memory = std::move(scanned.memory);
  return gated(mx::reshape(scanned.y, {tokens, inner}), parts.z);
}

mx::array GraphRecurrent::run_short_conv(
    const mx::array& projected,
    RecurrentState& state) const {
  const int channels = spec_.conv_channels;
  const auto inputs = mx::multiply(
      columns(projected, 0, channels),
      columns(projected, 2 * channels, channels));
  return mx::multiply(
      columns(projected, channels, channels),
      convolve(inputs, state));
}

mx::array GraphRecurrent::run(const mx::array& projected, RecurrentState& state)
    const {
  switch (spec_.kind) {
    case RecurrentKind::mamba2:
      return run_mamba2(split_mamba2(projected), state);
    case RecurrentKind::gated_delta:
      return run_gated_delta(split_gated_delta(projected), state);
    case RecurrentKind::short_conv:
      break;
  }
  return run_short_conv(projected, state);
}

mx::array GraphRecurrent::forward(
    const mx::array& x,
    const std::vector<GraphSequence>& sequences) const {
  const auto input =
      spec_.input_scale == 1.0f
          ? x
          : mx::multiply(x, mx::array(spec_.input_scale, x.dtype()));
  auto projected = floats(linear(input, in_));
  if (scales_) {
    projected = mx::multiply(projected, *scales_);
  }
  std::vector<mx::array> outputs;
  for (const auto& sequence : sequences) {
    const auto own = mx::slice(
        projected,
        {sequence.begin, 0},
        {sequence.begin + sequence.tokens, projected.shape(1)});
    outputs.push_back(run(own, sequence.cache->recurrent(index_)));
  }
  const auto y = outputs.size() == 1 ? outputs[0] : mx::concatenate(outputs, 0);
  const auto out = linear(mx::astype(y, x.dtype()), out_);
  return spec_.output_scale == 1.0f
             ? out
             : mx::multiply(out, mx::array(spec_.output_scale, out.dtype()));
}

std::size_t GraphRecurrent::weight_bytes() const {
  std::size_t sum = in_.bytes() + out_.bytes() + conv_.nbytes();
  for (const auto* vector :
       {&conv_bias_, &decay_, &step_bias_, &skip_, &norm_}) {
    sum += *vector ? (*vector)->nbytes() : 0;
  }
  return sum;
}

}  // namespace roofline
