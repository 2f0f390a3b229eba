// JSON from files that nobody vouches for: size and depth are bounded, and an
// error names the file and the place.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace roofline {

/// Parses text; `label` names its source in errors. Throws CheckpointError
/// when it isn't JSON, nests deeper than max_depth, or names a key of its
/// outermost object twice.
nlohmann::json parse_json(
    std::string_view text,
    const std::string& label,
    int max_depth = 64);

/// Reads and parses a file of at most 256 MiB (tokenizer.json of the largest
/// vocabularies has 35 MB). A bare word Infinity, as Python writes it, becomes
/// {"__float__": "Infinity"}. Throws CheckpointError also when it can't be
/// read.
nlohmann::json read_json_file(const std::filesystem::path& path);

/// The same with keys in the file's order.
nlohmann::ordered_json read_ordered_json_file(
    const std::filesystem::path& path);

/// Reads a file of at most max_bytes. Throws CheckpointError.
std::string read_text_file(
    const std::filesystem::path& path,
    std::size_t max_bytes = std::size_t{256} << 20);

}  // namespace roofline
