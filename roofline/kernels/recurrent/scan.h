// The recurrences of recurrent layers over the tokens of one sequence, one head
// at a time, token after token: the head's state stays in the cache.
//
//   mamba2:       S := exp(step·decay)·S + step·x·bᵀ;            y = S·c
//   gated_delta:  S := g·S + k·w, w = beta·(v − kᵀ(g·S));        y = qᵀS
//
// All in float32. A token of a head reads and writes the head's state once:
// 6·head_dim·state_dim operations.
#pragma once

#include "roofline/base/cpu_features.h"

namespace roofline {

/// Head h belongs to group h / (heads / groups).
struct Mamba2Scan {
  int tokens = 0;
  int heads = 0;
  int groups = 0;
  int head_dim = 0;
  int state_dim = 0;
  const float* x = nullptr;       ///< [tokens, heads, head_dim]
  const float* steps = nullptr;   ///< [tokens, heads]
  const float* decay = nullptr;   ///< [heads]
  const float* b = nullptr;       ///< [tokens, groups, state_dim]
  const float* c = nullptr;       ///< as b
  const float* before = nullptr;  ///< [heads, head_dim, state_dim]
  float* after = nullptr;         ///< as before; not the same memory
  float* y = nullptr;             ///< as x
};

struct GatedDeltaScan {
  int tokens = 0;
  int heads = 0;
  int groups = 0;
  int head_dim = 0;
  int state_dim = 0;
  const float* q = nullptr;          ///< [tokens, groups, state_dim]
  const float* k = nullptr;          ///< as q
  const float* v = nullptr;          ///< [tokens, heads, head_dim]
  const float* log_decay = nullptr;  ///< [tokens, heads]
  const float* beta = nullptr;       ///< [tokens, heads]
  const float* before = nullptr;     ///< [heads, state_dim, head_dim]
  float* after = nullptr;            ///< as before; not the same memory
  float* y = nullptr;                ///< as v
};

struct ScanKernels {
  const char* name;
  void (*mamba2)(const Mamba2Scan& scan, int head);
  void (*gated_delta)(const GatedDeltaScan& scan, int head);
};

const ScanKernels& scan_kernels();
/// nullptr where this build has none.
const ScanKernels* scan_kernels(Isa isa);

}  // namespace roofline
