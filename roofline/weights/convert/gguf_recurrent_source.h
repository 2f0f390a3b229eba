// Recurrent layers of a GGUF file as Hugging Face's folders have them: value
// heads key head by key head, decays as logarithms, convolutions with their
// axis of one.
#pragma once

#include <string_view>

#include "roofline/spec/families.h"
#include "roofline/spec/model_spec.h"
#include "roofline/weights/convert/file_rows.h"

namespace roofline {

/// What undoes the file's order and values. rest: behind "recurrent.", without
/// ".bias".
Undo undo_recurrent(
    std::string_view rest,
    const RecurrentSpec& recurrent,
    const RecurrentRule& rule);

/// Queries, keys, values and gates of each key head in turn, from the matrices
/// of the first three and of the gates, which lie part by part.
RowTensor joined_by_key_head(
    const FileRows& inputs,
    const FileRows& gates,
    const RecurrentSpec& recurrent);

/// The same of rates and steps.
RowTensor joined_rates(
    const FileRows& rates,
    const FileRows& steps,
    const RecurrentSpec& recurrent);

}  // namespace roofline
