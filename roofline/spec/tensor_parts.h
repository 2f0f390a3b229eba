// Parts of a model by which a quantization may be told to hold some matrices
// at more bits than the rest: what quantizing at load, planning and the search
// for settings mean by the same words.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roofline {

/// embed (with the head), q, k, v, o, gate, up, down, and ends: the first and
/// last eighth of the layers.
std::vector<std::string> matrix_part_names();

/// "embed,down,0-3" → {"embed", "down", "0-3"}. Besides the names, a part is a
/// layer (5), several (0-3), or one kind of matrix in them (0-3.down). `option`
/// names the text in messages. Throws UserError for what isn't a part, with the
/// nearest name.
std::vector<std::string> parse_matrix_parts(
    std::string_view text,
    std::string_view option);

/// Whether the matrix of this name (ours, see tensor_names.h) belongs to one of
/// `parts`. layers: how many the model has.
bool belongs_to_parts(
    std::string_view name,
    int layers,
    std::span<const std::string> parts);

/// Throws UserError when a part names layers that a model of `layers` hasn't.
void check_matrix_parts(std::span<const std::string> parts, int layers);

}  // namespace roofline
