// Downloads a model from a hub with Hugging Face's HTTP interface into the
// cache that its tools share: blobs named by their content, snapshots of links
// to them, refs. What broke off goes on where it stopped; what arrives is
// checked against the hub's checksum before it gets its name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/weights/hub/hub_settings.h"

namespace roofline {

struct PullOptions {
  std::string revision = "main";  ///< a branch, a tag or a commit
  /// Shell patterns of the files wanted, e.g. "*.json". Empty: what a language
  /// model needs.
  std::vector<std::string> include;
  /// Of several GGUF files the one whose name has this ("Q4_K_M"); empty: the
  /// only one there is.
  std::string gguf_quant;
  /// Called as bytes arrive. What it throws ends the download; what has come
  /// is kept.
  std::function<void(double share, std::string_view file)> progress;
};

struct PulledModel {
  std::filesystem::path folder;  ///< the snapshot
  std::string commit;
  std::size_t files = 0;
  std::uint64_t bytes = 0;          ///< of all files
  std::uint64_t fetched_bytes = 0;  ///< that weren't here yet
};

/// name: "org/name". Throws UserError for a name or a revision that the hub
/// doesn't know, a missing token, offline mode, a full disk or a connection
/// that stays broken; UnsupportedError for a model that has its weights as
/// pickles only; CheckpointError when what arrives isn't what the hub lists.
PulledModel pull_model(
    const HubSettings& hub,
    std::string_view name,
    const PullOptions& options);

}  // namespace roofline
