#include "roofline/weights/convert/gguf_recurrent_source.h"

#include <utility>
#include <vector>

#include "roofline/weights/convert/gguf_recurrent.h"

namespace roofline {

namespace {

/// The file's rows for heads that take turns there.
std::vector<std::int64_t> back(
    const RecurrentSpec& r,
    std::int64_t before,
    std::int64_t dims) {
  return inverse_of(heads_in_turns(r, before, dims));
}

void turn_back(Undo& undo, std::string_view rest, const RecurrentSpec& r) {
  const std::int64_t keys = 2 * std::int64_t{r.key_heads} * r.state_dim;
  if (rest == "in" || rest == "conv") {
    undo.rows = back(r, keys, r.head_dim);
  } else if (rest == "in_gate") {
    undo.rows = back(r, 0, r.head_dim);
  } else if (rest == "out") {
    undo.cols = back(r, 0, r.head_dim);
  } else if (rest != "norm") {
    undo.rows = back(r, 0, 1);
  }
}

/// Matrices of whole blocks of rows, taken in turns: so many of each.
struct Block {
  const FileRows* rows;
  std::int64_t begin = 0;  ///< of the first key head's
  std::int64_t count = 0;  ///< of each
};

RowTensor in_turns(const std::vector<Block>& blocks, int key_heads) {
  RowTensor out;
  out.rearranged = true;
  std::int64_t rows = 0;
  for (int head = 0; head < key_heads; ++head) {
    for (const Block& block : blocks) {
      out.pieces.push_back(
          block.rows->piece(block.begin + head * block.count, block.count));
      rows += block.count;
    }
  }
  out.shape = {rows, blocks.front().rows->cols()};
  std::vector<std::function<void()>> releases;
  for (const Block& block : blocks) {
    releases.push_back(block.rows->release());
  }
  out.release = [releases] {
    for (const auto& release : releases) {
      release();
    }
  };
  return out;
}

}  // namespace

Undo undo_recurrent(
    std::string_view rest,
    const RecurrentSpec& recurrent,
    const RecurrentRule& rule) {
  Undo undo;
  undo.log_negative = rest == "decay" && !recurrent.log_decay;
  const bool turned = recurrent.key_heads_tiled && rule.gguf_tiled &&
                      recurrent.heads != recurrent.key_heads;
  if (turned) {
    turn_back(undo, rest, recurrent);
  }
  return undo;
}

RowTensor joined_by_key_head(
    const FileRows& inputs,
    const FileRows& gates,
    const RecurrentSpec& r) {
  const std::int64_t key = r.state_dim;
  const std::int64_t keys = r.key_heads * key;
  const std::int64_t values = std::int64_t{r.heads} / r.key_heads * r.head_dim;
  return in_turns(
      {{&inputs, 0, key},
       {&inputs, keys, key},
       {&inputs, 2 * keys, values},
       {&gates, 0, values}},
      r.key_heads);
}

RowTensor joined_rates(
    const FileRows& rates,
    const FileRows& steps,
    const RecurrentSpec& r) {
  const std::int64_t each = r.heads / r.key_heads;
  return in_turns({{&rates, 0, each}, {&steps, 0, each}}, r.key_heads);
}

}  // namespace roofline
