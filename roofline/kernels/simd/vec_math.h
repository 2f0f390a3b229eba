// exp, tanh and the activations on vectors of floats. Relative errors stay
// within a few units in the last place, so exact runs use them too.
// V is one of the types in vec_*.h. Coefficients: exp and tanh from Cephes
// (S. Moshier), erfc from Numerical Recipes, section 6.2.
#pragma once

namespace roofline {

/// e^x; 0 below -87.3, and e^88.3 above it. Not a number stays so.
template <class V>
inline V vec_exp(V x) {
  const V low = V::all(-87.33654f);
  const V clamped = min(V::all(88.3f), max(low, x));
  const V n = round(clamped * V::all(1.44269504f));
  // ln 2 in two parts: the first has few bits, so that n·part is exact.
  V r = fma(n, V::all(-0.693359375f), clamped);
  r = fma(n, V::all(2.12194440e-4f), r);
  V p = V::all(1.9875691500e-4f);
  p = fma(p, r, V::all(1.3981999507e-3f));
  p = fma(p, r, V::all(8.3334519073e-3f));
  p = fma(p, r, V::all(4.1665795894e-2f));
  p = fma(p, r, V::all(1.6666665459e-1f));
  p = fma(p, r, V::all(5.0000001201e-1f));
  p = fma(p * r, r, r) + V::all(1.0f);
  return where_less(x, low, V::all(0.0f), p * pow2(n));
}

template <class V>
inline V vec_abs(V x) {
  return max(V::all(0.0f) - x, x);
}

/// tanh: an odd polynomial below 0.625, through exp above.
template <class V>
inline V vec_tanh(V x) {
  const V z = vec_abs(x);
  const V s = x * x;
  V p = V::all(-5.70498872745e-3f);
  p = fma(p, s, V::all(2.06390887954e-2f));
  p = fma(p, s, V::all(-5.37397155531e-2f));
  p = fma(p, s, V::all(1.33314422036e-1f));
  p = fma(p, s, V::all(-3.33332819422e-1f));
  const V small = fma(p * s, x, x);
  const V one = V::all(1.0f);
  const V e = vec_exp(z + z);
  const V large = one - V::all(2.0f) / (e + one);
  const V zero = V::all(0.0f);
  const V with_sign = where_less(x, zero, zero - large, large);
  return where_less(z, V::all(0.625f), small, with_sign);
}

template <class V>
inline V vec_sigmoid(V x) {
  const V one = V::all(1.0f);
  return one / (one + vec_exp(V::all(0.0f) - x));
}

template <class V>
inline V vec_silu(V x) {
  return x / (V::all(1.0f) + vec_exp(V::all(0.0f) - x));
}

/// Φ(x). erfc(z) = t·exp(-z² + P(t)), t = 1/(1 + z/2); error below 1.2e-7.
template <class V>
inline V vec_normal_cdf(V x) {
  const V one = V::all(1.0f);
  const V z = vec_abs(x) * V::all(0.70710678f);
  const V t = one / fma(z, V::all(0.5f), one);
  V p = V::all(0.17087277f);
  p = fma(p, t, V::all(-0.82215223f));
  p = fma(p, t, V::all(1.48851587f));
  p = fma(p, t, V::all(-1.13520398f));
  p = fma(p, t, V::all(0.27886807f));
  p = fma(p, t, V::all(-0.18628806f));
  p = fma(p, t, V::all(0.09678418f));
  p = fma(p, t, V::all(0.37409196f));
  p = fma(p, t, V::all(1.00002368f));
  p = fma(p, t, V::all(-1.26551223f));
  const V half_erfc = V::all(0.5f) * t * vec_exp(p - z * z);
  return where_less(x, V::all(0.0f), half_erfc, one - half_erfc);
}

/// exp(−x²/2)/√(2π)
template <class V>
inline V vec_normal_density(V x) {
  return V::all(0.39894228f) * vec_exp(x * x * V::all(-0.5f));
}

/// x·Φ(x)
template <class V>
inline V vec_gelu(V x) {
  return x * vec_normal_cdf(x);
}

/// 0.5·x·(1 + tanh(u)) = x / (1 + exp(-2u)), u = √(2/π)·(x + 0.044715·x³).
template <class V>
inline V vec_gelu_tanh(V x) {
  const V cubic = fma(x * x * x, V::all(0.044715f), x);
  const V u2 = cubic * V::all(-1.5957691216f);
  return x / (V::all(1.0f) + vec_exp(u2));
}

}  // namespace roofline
