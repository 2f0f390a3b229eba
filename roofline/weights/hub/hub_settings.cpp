#include "roofline/weights/hub/hub_settings.h"

#include <algorithm>
#include <cctype>
#include <fstream>

#include "roofline/base/paths.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

fs::path hub_home() {
  if (auto home = environment("HF_HOME")) {
    return *home;
  }
  if (auto xdg = environment("XDG_CACHE_HOME")) {
    return fs::path(*xdg) / "huggingface";
  }
  return home_dir() / ".cache" / "huggingface";
}

std::string trimmed(std::string text) {
  const auto space = [](unsigned char c) { return std::isspace(c) != 0; };
  text.erase(
      std::find_if_not(text.rbegin(), text.rend(), space).base(),
      text.end());
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), space));
  return text;
}

std::string read_token() {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (auto token = environment(name)) {
      return trimmed(*token);
    }
  }
  const auto named = environment("HF_TOKEN_PATH");
  std::ifstream file(named ? fs::path(*named) : hub_home() / "token");
  std::string line;
  std::getline(file, line);
  return trimmed(line);
}

bool is_on(const char* name) {
  std::string value = environment(name).value_or("");
  std::transform(value.begin(), value.end(), value.begin(), [](char c) {
    return static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  });
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

}  // namespace

fs::path hub_cache_dir() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (auto hub = environment(name)) {
      return *hub;
    }
  }
  return hub_home() / "hub";
}

HubSettings read_hub_settings() {
  HubSettings out;
  out.endpoint = environment("HF_ENDPOINT").value_or("https://huggingface.co");
  while (out.endpoint.ends_with('/')) {
    out.endpoint.pop_back();
  }
  out.token = read_token();
  out.cache = hub_cache_dir();
  out.offline = is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE");
  return out;
}

}  // namespace roofline
