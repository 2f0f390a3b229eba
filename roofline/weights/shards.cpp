#include "roofline/weights/shards.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <system_error>

#include "roofline/base/errors.h"
#include "roofline/base/paths.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/printable.h"

namespace roofline {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::string_view kIndexName = "model.safetensors.index.json";

std::vector<fs::path> files_in(
    const fs::path& folder,
    std::string_view prefix,
    std::string_view extension) {
  std::vector<fs::path> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(prefix, 0) == 0 && entry.path().extension() == extension &&
        is_file(entry.path())) {
      out.push_back(entry.path());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

[[noreturn]] void fail_without_weights(const fs::path& folder) {
  for (const char* extension : {".bin", ".pt", ".pth"}) {
    const auto found = files_in(folder, "", extension);
    if (!found.empty()) {
      fail<UnsupportedError>(
          fmt::format(
              "{} has its weights only as {}",
              folder.string(),
              found[0].filename().string()),
          "PyTorch's pickle format can run any code when it is read",
          "Take the safetensors version of the model, or convert it to that");
    }
  }
  fail<CheckpointError>(
      folder.string() + " has no weights",
      "No model*.safetensors is there",
      "Check that the download is complete");
}

/// A shard lies in the folder or below it: an index must not reach out.
void check_shard_name(const std::string& name, const fs::path& index) {
  const fs::path path(name);
  const bool strange =
      name.find_first_of(std::string_view("\\\0", 2)) != std::string::npos;
  const bool outside =
      std::any_of(path.begin(), path.end(), [](const auto& part) {
        return part.empty() || part == "." || part == "..";
      });
  if (path.empty() || path.is_absolute() || strange || outside) {
    fail<CheckpointError>(
        index.string() + " can't be right",
        fmt::format(
            "It names the shard \"{}\", which is no file of this folder",
            printable(name)),
        "Download the checkpoint again from a source you trust");
  }
}

}  // namespace

Shards::Shards(const fs::path& folder) : folder_(folder) {
  const fs::path index = folder / kIndexName;
  if (is_file(folder / "model.safetensors")) {
    open_all({folder / "model.safetensors"});
  } else if (is_file(index)) {
    open_index(index);
  } else {
    auto found = files_in(folder, "model", ".safetensors");
    if (found.empty()) {
      found = files_in(folder, "weights", ".safetensors");
    }
    if (found.empty()) {
      fail_without_weights(folder);
    }
    open_all(std::move(found));
  }
  sort_entries();
}

void Shards::open_all(std::vector<fs::path> paths) {
  paths_ = std::move(paths);
  for (const fs::path& path : paths_) {
    files_.emplace_back(path);
  }
  for (const SafetensorsFile& file : files_) {
    for (const SafetensorsEntry& entry : file.entries()) {
      entries_.push_back(&entry);
    }
  }
}

void Shards::open_index(const fs::path& index) {
  const json root = read_json_file(index);
  const auto map = root.is_object() ? root.find("weight_map") : root.end();
  if (map == root.end() || !map->is_object() || map->empty()) {
    fail<CheckpointError>(
        index.string() + " can't be right",
        "It has no \"weight_map\" of tensor names to files",
        "Download or copy the file again");
  }
  std::map<std::string, std::size_t> shards;
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    check_shard_name(name, index);
    shards.emplace(name, 0);
  }
  for (auto& [name, position] : shards) {
    if (!is_file(folder_ / name)) {
      fail<CheckpointError>(
          fmt::format(
              "{} lacks the shard {}",
              folder_.string(),
              printable(name)),
          std::string(kIndexName) + " lists it",
          "Download the missing file");
    }
    position = files_.size();
    paths_.push_back(folder_ / name);
    files_.emplace_back(paths_.back());
  }
  for (const auto& [tensor, file] : map->items()) {
    const auto& shard = files_[shards.at(file.get<std::string>())];
    const SafetensorsEntry* entry = shard.find(tensor);
    if (entry == nullptr) {
      fail<CheckpointError>(
          fmt::format(
              "{} lacks the tensor {}",
              shard.label(),
              printable(tensor)),
          std::string(kIndexName) + " says that it is there",
          "Download the shard and the index again; they don't belong together");
    }
    entries_.push_back(entry);
  }
  // What the index leaves out is part of the checkpoint all the same.
  for (const SafetensorsFile& file : files_) {
    for (const SafetensorsEntry& entry : file.entries()) {
      if (!map->contains(entry.name)) {
        entries_.push_back(&entry);
      }
    }
  }
}

void Shards::sort_entries() {
  std::sort(entries_.begin(), entries_.end(), [](auto* a, auto* b) {
    return a->name < b->name;
  });
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    if (entries_[i]->name == entries_[i - 1]->name) {
      fail<CheckpointError>(
          fmt::format(
              "{} has the tensor {} in two shards",
              folder_.string(),
              printable(entries_[i]->name)),
          "Without an index it can't be known which one counts",
          fmt::format("Add {}, or remove what is superfluous", kIndexName));
    }
  }
}

const SafetensorsEntry* Shards::find(std::string_view name) const {
  const auto at = std::lower_bound(
      entries_.begin(),
      entries_.end(),
      name,
      [](auto* entry, auto wanted) { return entry->name < wanted; });
  return at == entries_.end() || (*at)->name != name ? nullptr : *at;
}

}  // namespace roofline
