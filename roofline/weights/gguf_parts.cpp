// GGUF files in several parts, as llama-gguf-split makes them: each is a whole
// file with tensors of its own, and the first has the model's metadata.
#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/weights/gguf.h"

namespace roofline {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::int64_t kMostParts = 99999;  // five digits of their names

std::int64_t number_in(const json& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found != metadata.end() && found->is_number_integer()
             ? found->get<std::int64_t>()
             : 0;
}

std::string ending(std::int64_t part, std::int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", part + 1, count);
}

[[noreturn]] void fail_part(const fs::path& path, const std::string& why) {
  fail<CheckpointError>(
      fmt::format("{} doesn't belong there", path.string()),
      why,
      "Download or copy the parts again");
}

}  // namespace

void GgufFile::join_parts(const fs::path& path) {
  const std::int64_t count = number_in(metadata_, "split.count");
  const std::int64_t own = number_in(metadata_, "split.no");
  if (count == 0 || count == 1) {
    return;
  }
  if (count < 0 || count > kMostParts || own < 0 || own >= count) {
    fail<CheckpointError>(
        fmt::format("{} has a wrong number of parts", label_),
        fmt::format("split.no is {} and split.count {}", own, count),
        "Download or copy the file again");
  }
  const std::string name = path.filename().string();
  const std::string end = ending(own, count);
  if (!name.ends_with(end)) {
    fail<UserError>(
        fmt::format("Can't find the other parts of {}", label_),
        fmt::format(
            "It is part {} of {}, whose name ends in {}",
            own + 1,
            count,
            end),
        "Give the parts their own names again, in one folder");
  }
  const std::string stem = name.substr(0, name.size() - end.size());
  if (own != 0) {
    fail<UserError>(
        fmt::format("{} is part {} of {}", label_, own + 1, count),
        "The first one has what all of them need",
        fmt::format(
            "Name {}",
            (path.parent_path() / (stem + ending(0, count))).string()));
  }
  const auto tensors =
      static_cast<std::size_t>(number_in(metadata_, "split.tensors.count"));
  for (std::int64_t i = 1; i < count; ++i) {
    const fs::path file = path.parent_path() / (stem + ending(i, count));
    std::error_code error;
    if (!fs::exists(file, error)) {
      fail<UserError>(
          fmt::format("{} is missing", file.string()),
          fmt::format("It is part {} of the {} of {}", i + 1, count, label_),
          "Put all parts into one folder");
    }
    files_.push_back(file);
    parts_.push_back(
        std::unique_ptr<const GgufFile>(new GgufFile(file, OnePart{})));
    const GgufFile& part = *parts_.back();
    if (number_in(part.metadata(), "split.no") != i ||
        number_in(part.metadata(), "split.count") != count) {
      fail_part(file, "It says that it is another part");
    }
    for (const GgufTensor& tensor : part.tensors()) {
      if (!by_name_.emplace(tensor.name, tensors_.size()).second) {
        fail_part(file, fmt::format("{} is in two parts", tensor.name));
      }
      tensors_.push_back(tensor);
    }
  }
  if (tensors != 0 && tensors != tensors_.size()) {
    fail_part(
        path,
        fmt::format(
            "Its parts have {} tensors, and it says {}",
            tensors_.size(),
            tensors));
  }
  for (const char* key : {"split.count", "split.no", "split.tensors.count"}) {
    metadata_.erase(key);
  }
}

}  // namespace roofline
