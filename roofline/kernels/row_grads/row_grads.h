// What training needs beside norm_rope/'s element-wise work, one row at a time
// in float32: softmax with what its gradient asks for, and the gradients of
// norms and activations. Nothing here allocates or uses threads.
#pragma once

#include "roofline/base/cpu_features.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// One instruction set's functions. Sizes are in elements; n may be anything.
struct RowGradKernels {
  const char* name;
  /// x := softmax(x); returns log Σ e^x of what was there.
  float (*softmax)(float* x, int n);
  /// x := e^(x − shift)
  void (*exp_minus)(float* x, float shift, int n);
  float (*dot)(const float* a, const float* b, int n);
  /// d := p ∘ (d − mean): the gradient of softmax, mean = Σ p·d.
  void (*softmax_grad)(const float* p, float mean, int n, float* d);
  /// y = x·r ∘ w with r = 1/√(mean(x²) + eps). Given dy:
  ///   dx = r·(w∘dy) − x·r³·mean(x ∘ w ∘ dy);  dw += dy ∘ x·r, unless null.
  /// w may be null (ones). dx may be dy.
  void (*rms_norm_grad)(
      const float* x,
      const float* w,
      const float* dy,
      float eps,
      int n,
      float* dx,
      float* dw);
  /// h = act(gate) ∘ up, or act(gate) without up. Given dh: d_gate and d_up.
  /// For every activation but xielu.
  void (*activate_grad)(
      Activation activation,
      const float* gate,
      const float* up,
      const float* dh,
      int n,
      float* d_gate,
      float* d_up);
};

const RowGradKernels& row_grad_kernels();
/// A given variant; nullptr when this build has none.
const RowGradKernels* row_grad_kernels(Isa isa);

}  // namespace roofline
