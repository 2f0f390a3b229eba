// Where models come from and go to, as the Hugging Face tools read it from the
// environment: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace roofline {

struct HubSettings {
  std::string endpoint;  ///< without a slash at its end
  std::string token;     ///< empty: none
  std::filesystem::path cache;
  bool offline = false;
  /// Called a few times a second while the hub, another process or a retry is
  /// waited for. What it throws ends that.
  std::function<void()> while_waiting = nullptr;
};

/// HF_HUB_CACHE, else HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else
/// ~/.cache/huggingface/hub.
std::filesystem::path hub_cache_dir();

/// The token is HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or the first line of the
/// file HF_TOKEN_PATH or HF_HOME/token.
HubSettings read_hub_settings();

}  // namespace roofline
