// What every writer of a GGUF file shares: a target that nothing is lost in,
// rows that are encoded piece by piece, and a file that appears whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "roofline/base/atomic_file.h"
#include "roofline/weights/convert/gguf_writer.h"

namespace roofline {

/// Throws UserError when the target is a folder, or is there and force isn't.
void require_gguf_target(const std::filesystem::path& target, bool force);

/// Opens it, without a name yet. Throws UserError.
AtomicFile open_gguf_target(const std::filesystem::path& target);

/// Gives the file its name, readable by whom the umask lets. Throws UserError.
void publish_gguf(AtomicFile& file, const std::filesystem::path& target);

/// Writes all rows of a planned tensor, made on all threads a few megabytes at
/// a time. fill: makes a row's bytes; from several threads at once.
void write_gguf_blocks(
    GgufWriter& writer,
    const PlannedGgufTensor& tensor,
    std::int64_t rows,
    std::int64_t cols,
    const std::function<void(std::int64_t row, std::span<std::byte> out)>&
        fill);

/// The same of floats, encoded as planned. read: fills a row.
void write_gguf_rows(
    GgufWriter& writer,
    const PlannedGgufTensor& tensor,
    std::int64_t rows,
    std::int64_t cols,
    const std::function<void(std::int64_t row, std::span<float> out)>& read);

}  // namespace roofline
