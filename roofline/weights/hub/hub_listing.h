// What a hub says about a model at a revision: the commit and its files; and
// which of them a download needs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/weights/hub/http.h"
#include "roofline/weights/hub/hub_settings.h"

namespace roofline {

struct HubListing {
  std::string commit;
  std::vector<std::string> files;  ///< paths inside the repository, sorted
};

/// Asks the hub, several times where the connection breaks. Throws what
/// pull_model() throws.
HubListing list_hub_model(
    const HubSettings& hub,
    std::string_view name,
    std::string_view revision);

/// The files to fetch; see PullOptions. Throws UserError when nothing fits or
/// the choice among GGUF files is open, UnsupportedError for pickles only.
std::vector<std::string> choose_hub_files(
    std::string_view name,
    const std::vector<std::string>& files,
    const std::vector<std::string>& include,
    std::string_view gguf_quant);

/// The address of a file.
std::string hub_file_url(
    const HubSettings& hub,
    std::string_view name,
    std::string_view commit,
    std::string_view file);

/// Waits before try number `retry` (1, 2, …): longer each time. False when it
/// is time to give up.
bool wait_before_retry(const HubSettings& hub, int retry);

/// A broken connection, or an answer that another try may change.
bool is_worth_a_retry(const HttpResponse& response);

/// Throws UserError for an answer that isn't a success. what: "org/name", or a
/// file of it.
[[noreturn]] void fail_response(
    const HubSettings& hub,
    const HttpResponse& response,
    std::string_view what);

}  // namespace roofline
