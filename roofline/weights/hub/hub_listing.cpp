#include "roofline/weights/hub/hub_listing.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/clock.h"
#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/printable.h"

namespace roofline {

using nlohmann::json;

namespace {

constexpr std::size_t kLargestListing = std::size_t{64} << 20;
constexpr int kMostRetries = 5;
constexpr std::chrono::milliseconds kFirstWait(200);

/// What a language model needs beside its weights.
constexpr std::array kTexts = {
    "*.json",
    "*.jinja",
    "*.txt",
    "*.model",
    "*.tiktoken",
    "README.md",
    "LICENSE*",
};

bool fits(const std::string& file, const char* pattern) {
  return ::fnmatch(pattern, file.c_str(), 0) == 0;
}

bool in_a_folder(const std::string& file) {
  return file.find('/') != std::string::npos;
}

/// A path that stays inside the snapshot.
bool is_sound_path(const std::string& file) {
  if (file.empty() || file.front() == '/' ||
      file.find_first_of(std::string_view("\\\0", 2)) != std::string::npos) {
    return false;
  }
  std::size_t at = 0;
  while (at <= file.size()) {
    const std::size_t slash = std::min(file.find('/', at), file.size());
    const std::string_view part(file.data() + at, slash - at);
    if (part.empty() || part == "." || part == "..") {
      return false;
    }
    at = slash + 1;
  }
  return true;
}

bool is_plain(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) != 0;
         });
}

/// Percent-encodes what has a meaning in an address; keeps "/" where told.
std::string escaped(std::string_view text, bool keep_slash) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' ||
        c == '~' || (keep_slash && c == '/')) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

[[noreturn]] void fail_listing(
    const HubSettings& hub,
    std::string_view name,
    const std::string& why) {
  fail<CheckpointError>(
      fmt::format("{} gives no usable answer about {}", hub.endpoint, name),
      why,
      "Check HF_ENDPOINT, or try again later");
}

std::vector<std::string> with_ending(
    const std::vector<std::string>& files,
    std::string_view ending) {
  std::vector<std::string> out;
  std::copy_if(
      files.begin(),
      files.end(),
      std::back_inserter(out),
      [&](const std::string& file) { return file.ends_with(ending); });
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return out;
}

std::vector<std::string> choose_gguf(
    std::string_view name,
    std::vector<std::string> files,
    std::string_view quant) {
  std::vector<std::string> found;
  for (const std::string& file : files) {
    if (lower(file).find(lower(quant)) != std::string::npos) {
      found.push_back(file);
    }
  }
  if (found.size() == 1) {
    return found;
  }
  constexpr std::size_t kShown = 12;
  const bool none = found.empty();
  std::vector<std::string>& shown = none ? files : found;
  shown.resize(std::min(shown.size(), kShown));
  fail<UserError>(
      none ? fmt::format("{} has no GGUF file {}", name, quant)
           : fmt::format("{} has several GGUF files", name),
      fmt::format("There are {}", fmt::join(shown, ", ")),
      "Name one with --quant, such as --quant q4_k_m, or with --include");
}

}  // namespace

bool wait_before_retry(const HubSettings& hub, int retry) {
  constexpr std::chrono::milliseconds kGlance(100);
  if (retry > kMostRetries) {
    return false;
  }
  const auto end = Clock::now() + kFirstWait * (1 << (retry - 1));
  while (Clock::now() < end) {
    if (hub.while_waiting) {
      hub.while_waiting();
    }
    std::this_thread::sleep_for(kGlance);
  }
  return true;
}

bool is_worth_a_retry(const HttpResponse& response) {
  return !response.complete() || response.status == 429 ||
         response.status >= 500;
}

void fail_response(
    const HubSettings& hub,
    const HttpResponse& response,
    std::string_view what) {
  const std::string code = response.header("x-error-code");
  const std::string can = fmt::format("Can't get {}", what);
  if (response.status == 0 || !response.error.empty()) {
    fail<UserError>(
        can,
        fmt::format(
            "The connection to {} failed: {}",
            hub.endpoint,
            printable(response.error)),
        "Check the network and HF_ENDPOINT; what has come is kept, and the "
        "same command goes on from there");
  }
  if (code == "GatedRepo") {
    fail<UserError>(
        can,
        "Its owner asks for an agreement first",
        fmt::format(
            "Accept it on {}, then set HF_TOKEN to a token of your account",
            hub.endpoint));
  }
  if (response.status == 401 || response.status == 403) {
    fail<UserError>(
        can,
        fmt::format(
            "{} answers {}: {}",
            hub.endpoint,
            response.status,
            hub.token.empty() ? "there is no such model, or it is private"
                              : "the token gives no access to it"),
        hub.token.empty()
            ? "Check the name, or set HF_TOKEN to a token that may read it"
            : "Check the name and the token in HF_TOKEN");
  }
  if (response.status == 404) {
    const bool revision = code == "RevisionNotFound";
    fail<UserError>(
        can,
        fmt::format(
            "{} knows no such {}",
            hub.endpoint,
            revision ? "revision" : "model or file"),
        revision ? "Check --revision" : "Check the name");
  }
  fail<UserError>(
      can,
      fmt::format("{} answers {}", hub.endpoint, response.status),
      "Try again later");
}

HubListing list_hub_model(
    const HubSettings& hub,
    std::string_view name,
    std::string_view revision) {
  const std::string url = fmt::format(
      "{}/api/models/{}/revision/{}",
      hub.endpoint,
      escaped(name, true),
      escaped(revision, false));
  const HttpRequest request{url, hub.token, 0, false, hub.while_waiting};
  HttpText answer = http_text(request, kLargestListing);
  for (int retry = 1;
       is_worth_a_retry(answer.response) && wait_before_retry(hub, retry);
       ++retry) {
    answer = http_text(request, kLargestListing);
  }
  if (!answer.response.complete() || answer.response.status != 200) {
    fail_response(hub, answer.response, name);
  }
  const json root = parse_json(answer.body, hub.endpoint);
  HubListing out;
  if (root.is_object() && root.contains("sha") && root["sha"].is_string()) {
    out.commit = root["sha"].get<std::string>();
  }
  if (!is_plain(out.commit)) {
    fail_listing(hub, name, "It names no commit");
  }
  for (const json& file : root.value("siblings", json::array())) {
    const std::string path =
        file.is_object() ? file.value("rfilename", std::string()) : "";
    if (!is_sound_path(path)) {
      fail_listing(
          hub,
          name,
          fmt::format("It lists the file \"{}\"", printable(path)));
    }
    out.files.push_back(path);
  }
  std::sort(out.files.begin(), out.files.end());
  return out;
}

std::vector<std::string> choose_hub_files(
    std::string_view name,
    const std::vector<std::string>& files,
    const std::vector<std::string>& include,
    std::string_view gguf_quant) {
  std::vector<std::string> out;
  if (!include.empty()) {
    for (const std::string& file : files) {
      if (std::any_of(include.begin(), include.end(), [&](const auto& pattern) {
            return fits(file, pattern.c_str());
          })) {
        out.push_back(file);
      }
    }
    if (out.empty()) {
      fail<UserError>(
          fmt::format("{} has no file like {}", name, fmt::join(include, ", ")),
          did_you_mean(include.front(), files),
          "Check --include");
    }
    return out;
  }
  const auto gguf = with_ending(files, ".gguf");
  const auto safetensors = with_ending(files, ".safetensors");
  if (!gguf_quant.empty() || (safetensors.empty() && !gguf.empty())) {
    return choose_gguf(name, gguf, gguf_quant);
  }
  if (safetensors.empty()) {
    const auto pickles = with_ending(files, ".bin");
    if (!pickles.empty() || !with_ending(files, ".pt").empty()) {
      fail<UnsupportedError>(
          fmt::format("{} has its weights as pickles only", name),
          "PyTorch's pickle format can run any code when it is read",
          "Look for a safetensors or GGUF version of the model");
    }
    fail<UserError>(
        fmt::format("{} has no weights", name),
        "There is no safetensors and no GGUF file",
        "Check the name, or choose files with --include");
  }
  // Some repositories hold the weights twice, under their authors' names too.
  const bool usual = std::any_of(
      safetensors.begin(),
      safetensors.end(),
      [](const std::string& file) { return file.starts_with("model"); });
  for (const std::string& file : files) {
    const bool text = std::any_of(kTexts.begin(), kTexts.end(), [&](auto p) {
      return fits(file, p);
    });
    const bool weights =
        file.ends_with(".safetensors") && (!usual || file.starts_with("model"));
    if (!in_a_folder(file) && (text || weights)) {
      out.push_back(file);
    }
  }
  return out;
}

std::string hub_file_url(
    const HubSettings& hub,
    std::string_view name,
    std::string_view commit,
    std::string_view file) {
  return fmt::format(
      "{}/{}/resolve/{}/{}",
      hub.endpoint,
      escaped(name, true),
      escaped(commit, false),
      escaped(file, true));
}

}  // namespace roofline
