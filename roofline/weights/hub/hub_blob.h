// One file of a hub on its way into the cache: fetched in as many pieces as
// the connection needs, checked, and only then named.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "roofline/weights/hub/hub_settings.h"

namespace roofline {

/// What the hub says about a file before it is fetched.
struct HubFile {
  std::string name;  ///< for messages
  std::string url;
  /// The content's name: SHA-256 of large files, git's SHA-1 of small ones.
  std::string etag;
  std::uint64_t bytes = 0;
};

/// Asks for a file's etag and size. Throws what pull_model() throws.
HubFile ask_hub_file(
    const HubSettings& hub,
    const std::string& name,
    const std::string& url);

/// Fetches the file to `blobs`/etag unless it is there; what an earlier try
/// left in etag.incomplete is gone on with. arrived: called with the number of
/// bytes that came. Returns the bytes fetched. Throws what pull_model()
/// throws.
std::uint64_t fetch_hub_blob(
    const HubSettings& hub,
    const HubFile& file,
    const std::filesystem::path& blobs,
    const std::function<void(std::uint64_t)>& arrived);

}  // namespace roofline
