// The functions over the vector type of an instruction set. Included only by
// the files that instantiate them.
#pragma once

#include "roofline/kernels/norm_rope/row_kernels_impl.h"
#include "roofline/kernels/row_grads/row_grads.h"

namespace roofline {
namespace {

/// Loads count values; the lanes past them hold `fill`.
template <class V>
inline V load_filled(const float* from, int count, float fill) {
  if (count == V::kWidth) {
    return V::load(from);
  }
  float lanes[V::kWidth];
  for (int i = 0; i < V::kWidth; ++i) {
    lanes[i] = i < count ? from[i] : fill;
  }
  return V::load(lanes);
}

template <class V>
float softmax_row(float* x, int n) {
  constexpr float kLowest = -3.0e38f;
  V most = V::all(kLowest);
  each_vector<V>(n, [&](int i, int count) {
    most = max(most, load_filled<V>(x + i, count, kLowest));
  });
  const float largest = max_of(most);
  const V shift = V::all(largest);
  V total = V::all(0.0f);
  each_vector<V>(n, [&](int i, int count) {
    const V e = vec_exp(load_filled<V>(x + i, count, kLowest) - shift);
    total = total + e;
    store_some(e, x + i, count);
  });
  const float sum = sum_of(total);
  const V factor = V::all(1.0f / sum);
  each_vector<V>(n, [&](int i, int count) {
    store_some(load_some<V>(x + i, count) * factor, x + i, count);
  });
  return largest + __builtin_logf(sum);
}

template <class V>
void exp_minus_row(float* x, float shift, int n) {
  const V shifts = V::all(shift);
  each_vector<V>(n, [&](int i, int count) {
    store_some(vec_exp(load_some<V>(x + i, count) - shifts), x + i, count);
  });
}

template <class V>
float dot_rows(const float* a, const float* b, int n) {
  V total = V::all(0.0f);
  each_vector<V>(n, [&](int i, int count) {
    total = fma(load_some<V>(a + i, count), load_some<V>(b + i, count), total);
  });
  return sum_of(total);
}

template <class V>
void softmax_grad_row(const float* p, float mean, int n, float* d) {
  const V means = V::all(mean);
  each_vector<V>(n, [&](int i, int count) {
    const V v = load_some<V>(d + i, count) - means;
    store_some(load_some<V>(p + i, count) * v, d + i, count);
  });
}

template <class V>
void rms_norm_grad_row(
    const float* x,
    const float* w,
    const float* dy,
    float eps,
    int n,
    float* dx,
    float* dw) {
  V squares = V::all(0.0f);
  V products = V::all(0.0f);
  const auto weighted = [&](int i, int count) {
    const V d = load_some<V>(dy + i, count);
    return w ? d * load_some<V>(w + i, count) : d;
  };
  each_vector<V>(n, [&](int i, int count) {
    const V v = load_some<V>(x + i, count);
    squares = fma(v, v, squares);
    products = fma(v, weighted(i, count), products);
  });
  const float size = static_cast<float>(n);
  const float r = inverse_root<V>(sum_of(squares) / size + eps);
  const V factor = V::all(r);
  const V pull = V::all(-r * r * r * (sum_of(products) / size));
  each_vector<V>(n, [&](int i, int count) {
    const V v = load_some<V>(x + i, count);
    const V d = weighted(i, count);
    if (dw) {
      const V plain = load_some<V>(dy + i, count);
      const V sum = fma(plain, v * factor, load_some<V>(dw + i, count));
      store_some(sum, dw + i, count);
    }
    store_some(fma(v, pull, d * factor), dx + i, count);
  });
}

template <class V>
void activate_grad_row(
    Activation activation,
    const float* gate,
    const float* up,
    const float* dh,
    int n,
    float* d_gate,
    float* d_up) {
  with_activation(activation, [&](auto act) {
    each_vector<V>(n, [&](int i, int count) {
      const Slope<V> s = decltype(act)::slope(load_some<V>(gate + i, count));
      V d = load_some<V>(dh + i, count);
      if (up) {
        store_some(d * s.value, d_up + i, count);
        d = d * load_some<V>(up + i, count);
      }
      store_some(d * s.slope, d_gate + i, count);
    });
  });
}

template <class V>
constexpr RowGradKernels row_grads_of(const char* name) {
  return {
      name,
      softmax_row<V>,
      exp_minus_row<V>,
      dot_rows<V>,
      softmax_grad_row<V>,
      rms_norm_grad_row<V>,
      activate_grad_row<V>};
}

}  // namespace
}  // namespace roofline
