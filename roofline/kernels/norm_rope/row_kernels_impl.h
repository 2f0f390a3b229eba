// The row kernels, written once over the vector type of an instruction set.
// Included only by the files that instantiate them.
#pragma once

#include "roofline/kernels/norm_rope/activations_impl.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/simd/vec_math.h"

namespace roofline {

/// Calls f(offset, count) for the vectors of n floats; count == V::kWidth but
/// for the last.
template <class V, class F>
inline void each_vector(int n, F f) {
  int i = 0;
  for (; i + V::kWidth <= n; i += V::kWidth) {
    f(i, V::kWidth);
  }
  if (i < n) {
    f(i, n - i);
  }
}

template <class V>
inline V load_some(const float* from, int count) {
  return count == V::kWidth ? V::load(from) : V::load(from, count);
}

template <class V>
inline void store_some(V v, float* to, int count) {
  if (count == V::kWidth) {
    v.store(to);
  } else {
    v.store(to, count);
  }
}

template <class V>
float inverse_root(float x) {
  return 1.0f / __builtin_sqrtf(x);
}

template <class V>
void rms_norm(
    const float* x,
    const float* weight,
    float eps,
    int n,
    float* out) {
  V total = V::all(0.0f);
  each_vector<V>(n, [&](int i, int count) {
    const V v = load_some<V>(x + i, count);
    total = fma(v, v, total);
  });
  const float mean = sum_of(total) / static_cast<float>(n);
  const V factor = V::all(inverse_root<V>(mean + eps));
  each_vector<V>(n, [&](int i, int count) {
    V v = load_some<V>(x + i, count) * factor;
    if (weight) {
      v = v * load_some<V>(weight + i, count);
    }
    store_some(v, out + i, count);
  });
}

template <class V>
void layer_norm(
    const float* x,
    const float* weight,
    const float* bias,
    float eps,
    int n,
    float* out) {
  V total = V::all(0.0f);
  each_vector<V>(n, [&](int i, int count) {
    total = total + load_some<V>(x + i, count);
  });
  const float mean = sum_of(total) / static_cast<float>(n);
  const V means = V::all(mean);
  V squares = V::all(0.0f);
  each_vector<V>(n, [&](int i, int count) {
    // Lanes past the end hold the mean, so that they add nothing.
    const V v = load_some<V>(x + i, count) - means;
    if (count == V::kWidth) {
      squares = fma(v, v, squares);
    } else {
      float kept[V::kWidth] = {};
      v.store(kept, count);
      const V masked = V::load(kept);
      squares = fma(masked, masked, squares);
    }
  });
  const float variance = sum_of(squares) / static_cast<float>(n);
  const V factor = V::all(inverse_root<V>(variance + eps));
  each_vector<V>(n, [&](int i, int count) {
    V v = (load_some<V>(x + i, count) - means) * factor;
    if (weight) {
      v = v * load_some<V>(weight + i, count);
    }
    if (bias) {
      v = v + load_some<V>(bias + i, count);
    }
    store_some(v, out + i, count);
  });
}

template <class V>
void rope_half_split(float* x, int half, const float* cos, const float* sin) {
  each_vector<V>(half, [&](int i, int count) {
    const V a = load_some<V>(x + i, count);
    const V b = load_some<V>(x + half + i, count);
    const V c = load_some<V>(cos + i, count);
    const V s = load_some<V>(sin + i, count);
    store_some(a * c - b * s, x + i, count);
    store_some(fma(b, c, a * s), x + half + i, count);
  });
}

template <class V>
void rope_interleaved(float* x, int dims, const float* cos, const float* sin) {
  each_vector<V>(dims, [&](int i, int count) {
    const V a = load_some<V>(x + i, count);
    const V c = load_some<V>(cos + i, count);
    const V s = load_some<V>(sin + i, count);
    store_some(fma(swap_pairs(a), s, a * c), x + i, count);
  });
}

template <class V>
void rope(
    float* x,
    int heads,
    int head_dim,
    int rotated_dims,
    RopeLayout layout,
    const float* cos,
    const float* sin) {
  for (int h = 0; h < heads; ++h) {
    float* head = x + static_cast<std::int64_t>(h) * head_dim;
    if (layout == RopeLayout::half_split) {
      rope_half_split<V>(head, rotated_dims / 2, cos, sin);
    } else {
      rope_interleaved<V>(head, rotated_dims, cos, sin);
    }
  }
}

template <class V>
void activate(
    Activation activation,
    const float* gate,
    const float* up,
    int n,
    float* out) {
  with_activation(activation, [&](auto act) {
    each_vector<V>(n, [&](int i, int count) {
      V v = decltype(act)::value(load_some<V>(gate + i, count));
      if (up) {
        v = v * load_some<V>(up + i, count);
      }
      store_some(v, out + i, count);
    });
  });
}

template <class V>
void add(float* x, const float* y, float scale, int n) {
  const V factor = V::all(scale);
  each_vector<V>(n, [&](int i, int count) {
    const V sum =
        fma(factor, load_some<V>(y + i, count), load_some<V>(x + i, count));
    store_some(sum, x + i, count);
  });
}

template <class V>
void scale_and_cap(float* x, float scale, float cap, int n) {
  const V factor = V::all(scale);
  const V top = V::all(cap);
  each_vector<V>(n, [&](int i, int count) {
    V v = load_some<V>(x + i, count) * factor;
    if (cap != 0.0f) {
      v = top * vec_tanh(v / top);
    }
    store_some(v, x + i, count);
  });
}

template <class V>
void to_half(const float* x, int n, Half* out) {
  each_vector<V>(n, [&](int i, int count) {
    const V v = load_some<V>(x + i, count);
    if (count == V::kWidth) {
      v.store(out + i);
    } else {
      v.store(out + i, count);
    }
  });
}

template <class V>
constexpr RowKernels row_kernels_of(const char* name) {
  return {
      name,
      rms_norm<V>,
      layer_norm<V>,
      rope<V>,
      activate<V>,
      add<V>,
      scale_and_cap<V>,
      to_half<V>};
}

}  // namespace roofline
