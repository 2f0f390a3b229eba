// Attention for many rows with both products in bfloat16: twice the
// multiply-adds of float32 where the processor has vdpbf16ps, many times as
// many on AMX's tiles. Queries, keys, values and weights are rounded to 8 bits
// of mantissa, sums stay float32. KL 4e-5 nats a token on SmolLM2. For caches
// in f16, and codes beside it, whose values are made first: who wants exact
// results keeps f32.
#pragma once

#include "roofline/kernels/attention/task.h"

namespace roofline {

using ManyRows = void (*)(const AttentionTask&);

/// As AttentionKernels::many_rows, for calls that fits_bf16_rows() accepts;
/// nullptr unless AVX-512 or AMX is the active instruction set and the
/// processor has them.
ManyRows bf16_rows();

/// Whether a call is of the kind that bf16_rows() computes.
bool fits_bf16_rows(const AttentionArgs& args);

/// For bf16_rows() only.
void bf16_rows_avx512(const AttentionTask& task);
void bf16_rows_amx(const AttentionTask& task);
void bf16_rows_emulated_amx(const AttentionTask& task);

}  // namespace roofline
