// The door for outside checks of a model: lists of token ids in, all their
// logits out. Works a chunk at a time, so that a long sequence over a large
// vocabulary needs no more memory than a short one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/decoder.h"

namespace roofline {

using TokenIds = std::vector<std::int32_t>;

/// Reads a JSON file: a list of lists of ids, all of one length. Throws
/// UserError when it is something else, has lists of different lengths or is
/// empty.
std::vector<TokenIds> read_token_ids(const std::filesystem::path& path);

/// Runs one sequence from its start in chunks of at most `chunk` tokens and
/// hands out the logits, rows [count, vocab] from token `first` on, in order.
void for_each_logits(
    Decoder& decoder,
    std::span<const std::int32_t> ids,
    int chunk,
    const std::function<void(std::int64_t first, std::span<const float> rows)>&
        take);

/// All logits [tokens, vocab] of one sequence, evaluated.
mx::array run_logits(
    Decoder& decoder,
    std::span<const std::int32_t> ids,
    int chunk = 512);

/// Writes a safetensors file with one tensor `logits`, float32 [batch, tokens,
/// vocab]. It appears whole or not at all. Throws UserError for ids outside the
/// vocabulary and when the file can't be written.
void write_logits(
    Decoder& decoder,
    const std::vector<TokenIds>& batch,
    const std::filesystem::path& path);

}  // namespace roofline
