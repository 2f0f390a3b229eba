// One piece of attention work: some queries of one key-value head against some
// of the keys. The plan cuts calls into tasks; an instruction set's kernel runs
// one. Internal to kernels/attention.
#pragma once

#include <cstddef>

#include "roofline/kernels/attention/attention.h"

namespace roofline {

/// Keys that lie in successive slots and hold successive positions: all in
/// codes, where there are some, or all as floats.
struct KeyRun {
  std::int64_t position = 0;
  int slot = 0;
  int count = 0;
};

struct AttentionTask {
  const AttentionArgs* args = nullptr;
  int kv_head = 0;
  int token_begin = 0;
  int token_end = 0;
  /// In order of position.
  const KeyRun* runs = nullptr;
  int run_count = 0;
  /// The worker's own memory: attention_scratch_floats(), on AMX's tiles
  /// tiled_scratch_floats() of it.
  float* scratch = nullptr;
  /// nullptr: write the finished rows to args->out. Otherwise the task sees
  /// only a part of the keys and leaves, for each row (token, then head within
  /// the group), value_dim weighted sums, the largest score and the total
  /// weight: [rows, value_dim + 2].
  float* partial = nullptr;

  int group() const { return args->heads / args->kv.kv_heads; }
  int rows() const { return (token_end - token_begin) * group(); }
};

/// Rows of a tile of queries: enough that converting a tile of keys is a small
/// part of the work, few enough that their sums stay in the second cache.
constexpr int kTargetRows = 96;
/// Keys that are scored at a time; a multiple of every vector width.
constexpr int kKeyTile = 64;
/// The same in bfloat16: with heads of 64 dims keys and values fit the first
/// cache.
constexpr int kBfloat16Keys = 128;
/// Rows that meet them at a time.
constexpr int kBfloat16Group = 6;
/// The same on AMX's tiles: sums are loaded and stored once a block.
constexpr int kTiledKeys = 256;
/// Most rows of a task there.
constexpr int kMostTiledRows = 768;

struct AttentionKernels {
  const char* name;
  /// Up to so many rows few_rows is the quicker: a key is read once and met by
  /// all rows. many_rows converts keys and values to float32 tiles first.
  int most_few_rows;
  void (*few_rows)(const AttentionTask& task);
  void (*many_rows)(const AttentionTask& task);
  /// many_rows with queries, keys, values and weights rounded to integers of
  /// 12 bits or so; nullptr where nothing is gained by it.
  void (*whole_rows)(const AttentionTask& task) = nullptr;
};

const AttentionKernels& attention_kernels();
const AttentionKernels* attention_kernels(Isa isa);

const AttentionKernels& attention_kernels_generic();
const AttentionKernels& attention_kernels_avx2();
const AttentionKernels& attention_kernels_avx512();
const AttentionKernels& attention_kernels_neon();

/// Floats of scratch that a task of so many rows needs.
std::size_t attention_scratch_floats(int rows, const KvView& kv);
/// The same in bfloat16 on vectors, and on AMX's tiles.
std::size_t bf16_scratch_floats(int rows, const KvView& kv);
std::size_t tiled_scratch_floats(int rows, const KvView& kv);

/// Dims of a row in scratch, zeros after the last: whole vectors of every
/// instruction set, and whole groups of codes.
inline int padded_dims(int dims, const KvCodes& codes) {
  const int pad = codes.bits > 0 ? codes.group : 16;
  return (dims + pad - 1) / pad * pad;
}

}  // namespace roofline
