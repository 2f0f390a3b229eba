// Every activation but xielu and its slope, once for all instruction sets:
// a specialization of ActivationOf each. The slopes are what training
// differentiates with. Included only by the files that instantiate them.
#pragma once

#include "roofline/kernels/simd/vec_math.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// act(x) and act'(x).
template <class V>
struct Slope {
  V value;
  V slope;
};

template <Activation kActivation>
struct ActivationOf;

template <>
struct ActivationOf<Activation::silu> {
  template <class V>
  static V value(V x) {
    return vec_silu(x);
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V one = V::all(1.0f);
    const V s = vec_sigmoid(x);
    return {x * s, s * fma(x, one - s, one)};
  }
};

template <>
struct ActivationOf<Activation::gelu> {
  template <class V>
  static V value(V x) {
    return vec_gelu(x);
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V cdf = vec_normal_cdf(x);
    return {x * cdf, fma(x, vec_normal_density(x), cdf)};
  }
};

template <>
struct ActivationOf<Activation::gelu_tanh> {
  template <class V>
  static V value(V x) {
    return vec_gelu_tanh(x);
  }
  /// x·σ(2u) with 2u = c·(x + 0.044715·x³)
  template <class V>
  static Slope<V> slope(V x) {
    const V one = V::all(1.0f);
    const V c = V::all(1.5957691216f);
    const V s = vec_sigmoid(c * fma(x * x * x, V::all(0.044715f), x));
    const V inner = c * fma(x * x, V::all(3 * 0.044715f), one);
    return {x * s, fma(x * s * (one - s), inner, s)};
  }
};

template <>
struct ActivationOf<Activation::relu> {
  template <class V>
  static V value(V x) {
    return max(V::all(0.0f), x);
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V zero = V::all(0.0f);
    return {value(x), where_less(zero, x, V::all(1.0f), zero)};
  }
};

template <>
struct ActivationOf<Activation::relu_squared> {
  template <class V>
  static V value(V x) {
    const V y = max(V::all(0.0f), x);
    return y * y;
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V y = max(V::all(0.0f), x);
    return {y * y, y + y};
  }
};

template <>
struct ActivationOf<Activation::quick_gelu> {
  static constexpr float kRate = 1.702f;
  template <class V>
  static V value(V x) {
    return x / (V::all(1.0f) + vec_exp(x * V::all(-kRate)));
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V s = vec_sigmoid(x * V::all(kRate));
    const V y = x * s;
    return {y, fma(y * V::all(kRate), V::all(1.0f) - s, s)};
  }
};

template <>
struct ActivationOf<Activation::clipped_gelu> {
  static constexpr float kBound = 10.0f;  // gelu is never below -0.2
  template <class V>
  static V value(V x) {
    return min(V::all(kBound), vec_gelu(x));
  }
  template <class V>
  static Slope<V> slope(V x) {
    const auto plain = ActivationOf<Activation::gelu>::slope(x);
    const V bound = V::all(kBound);
    const V slope = where_less(plain.value, bound, plain.slope, V::all(0.0f));
    return {min(bound, plain.value), slope};
  }
};

/// tanh(ln(1 + e)) = n/(n + 2) with e = exp(x), n = e·(e + 2); one in float
/// well before e² overflows.
template <>
struct ActivationOf<Activation::mish> {
  template <class V>
  static V exp_below(V x) {
    return vec_exp(min(V::all(20.0f), x));
  }
  template <class V>
  static V value(V x) {
    const V two = V::all(2.0f);
    const V e = exp_below(x);
    const V n = e * (e + two);
    return x * (n / (n + two));
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V two = V::all(2.0f);
    const V e = exp_below(x);
    const V n = e * (e + two);
    const V t = n / (n + two);
    const V rate =
        V::all(4.0f) * e * (e + V::all(1.0f)) / (n + two) / (n + two);
    return {x * t, fma(x, rate, t)};
  }
};

template <>
struct ActivationOf<Activation::hard_swish> {
  template <class V>
  static V gate(V x) {
    const V six = V::all(6.0f);
    return min(six, max(V::all(0.0f), x + V::all(3.0f)));
  }
  template <class V>
  static V value(V x) {
    return x * gate(x) * V::all(1.0f / 6.0f);
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V zero = V::all(0.0f);
    const V one = V::all(1.0f);
    const V between = fma(x, V::all(1.0f / 3.0f), V::all(0.5f));
    const V below = where_less(x, V::all(3.0f), between, one);
    return {value(x), where_less(V::all(-3.0f), x, below, zero)};
  }
};

template <>
struct ActivationOf<Activation::leaky_relu> {
  static constexpr float kBelow = 0.01f;
  template <class V>
  static V value(V x) {
    return where_less(x, V::all(0.0f), x * V::all(kBelow), x);
  }
  template <class V>
  static Slope<V> slope(V x) {
    return {
        value(x),
        where_less(V::all(0.0f), x, V::all(1.0f), V::all(kBelow))};
  }
};

template <>
struct ActivationOf<Activation::relu6> {
  template <class V>
  static V value(V x) {
    return min(V::all(6.0f), max(V::all(0.0f), x));
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V zero = V::all(0.0f);
    const V below = where_less(x, V::all(6.0f), V::all(1.0f), zero);
    return {value(x), where_less(zero, x, below, zero)};
  }
};

template <>
struct ActivationOf<Activation::tanh> {
  template <class V>
  static V value(V x) {
    return vec_tanh(x);
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V t = vec_tanh(x);
    return {t, V::all(1.0f) - t * t};
  }
};

template <>
struct ActivationOf<Activation::sigmoid> {
  template <class V>
  static V value(V x) {
    return vec_sigmoid(x);
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V s = vec_sigmoid(x);
    return {s, s * (V::all(1.0f) - s)};
  }
};

template <>
struct ActivationOf<Activation::laplace> {
  static constexpr float kMean = 0.707107f;
  static constexpr float kDeviation = 0.282095f;
  template <class V>
  static V normal(V x) {
    return (x - V::all(kMean)) / V::all(kDeviation);
  }
  template <class V>
  static V value(V x) {
    return vec_normal_cdf(normal(x));
  }
  template <class V>
  static Slope<V> slope(V x) {
    const V u = normal(x);
    const V density = vec_normal_density(u);
    return {vec_normal_cdf(u), density / V::all(kDeviation)};
  }
};

template <>
struct ActivationOf<Activation::identity> {
  template <class V>
  static V value(V x) {
    return x;
  }
  template <class V>
  static Slope<V> slope(V x) {
    return {x, V::all(1.0f)};
  }
};

/// Calls f(ActivationOf<…>()) with the one that is meant; xielu, whose scalars
/// are tensors that only the graph of MLX ops reads, calls nothing.
template <class F>
inline void with_activation(Activation activation, F f) {
  switch (activation) {
    case Activation::silu:
      return f(ActivationOf<Activation::silu>());
    case Activation::gelu:
      return f(ActivationOf<Activation::gelu>());
    case Activation::gelu_tanh:
      return f(ActivationOf<Activation::gelu_tanh>());
    case Activation::relu:
      return f(ActivationOf<Activation::relu>());
    case Activation::relu_squared:
      return f(ActivationOf<Activation::relu_squared>());
    case Activation::quick_gelu:
      return f(ActivationOf<Activation::quick_gelu>());
    case Activation::clipped_gelu:
      return f(ActivationOf<Activation::clipped_gelu>());
    case Activation::mish:
      return f(ActivationOf<Activation::mish>());
    case Activation::hard_swish:
      return f(ActivationOf<Activation::hard_swish>());
    case Activation::leaky_relu:
      return f(ActivationOf<Activation::leaky_relu>());
    case Activation::relu6:
      return f(ActivationOf<Activation::relu6>());
    case Activation::tanh:
      return f(ActivationOf<Activation::tanh>());
    case Activation::sigmoid:
      return f(ActivationOf<Activation::sigmoid>());
    case Activation::laplace:
      return f(ActivationOf<Activation::laplace>());
    case Activation::identity:
      return f(ActivationOf<Activation::identity>());
    case Activation::xielu:
      return;
  }
}

}  // namespace roofline
