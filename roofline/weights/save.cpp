#include "roofline/weights/save.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/base/mapped_file.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

/// A new file that is open for writing.
class OutputFile {
 public:
  OutputFile(const fs::path& path, const std::string& label)
      : fd_(::open(
            path.c_str(),
            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
            0666)) {
    if (fd_ < 0) {
      fail<UserError>(
          "Can't write " + label,
          std::strerror(errno),
          "Check the folder");
    }
  }
  ~OutputFile() { ::close(fd_); }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

std::uint64_t elements_of(const PlannedTensor& tensor) {
  std::uint64_t out = 1;
  for (const std::int64_t axis : tensor.shape) {
    out *= static_cast<std::uint64_t>(axis);
  }
  return out;
}

/// Takes tensors in order until a file is full.
std::vector<std::vector<PlannedTensor>> split_into_shards(
    const std::vector<PlannedTensor>& tensors,
    std::uint64_t most_bytes) {
  std::vector<std::vector<PlannedTensor>> shards;
  std::uint64_t used = 0;
  for (const PlannedTensor& tensor : tensors) {
    const std::uint64_t bytes = tensor.bytes();
    if (shards.empty() || (used > 0 && used + bytes > most_bytes)) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(tensor);
    used += bytes;
  }
  return shards;
}

std::string shard_name(std::size_t index, std::size_t count) {
  return count == 1 ? "model.safetensors"
                    : fmt::format(
                          "model-{:05}-of-{:05}.safetensors",
                          index + 1,
                          count);
}

}  // namespace

struct CheckpointWriter::Shard {
  Shard(
      const fs::path& path,
      const std::string& label,
      const std::vector<PlannedTensor>& tensors)
      : name(path.filename().string()),
        file(path, label),
        writer(file.fd(), label, tensors) {}

  std::string name;
  OutputFile file;
  SafetensorsWriter writer;
};

void require_replaceable(const fs::path& target, bool force) {
  std::error_code error;
  const auto kind = fs::symlink_status(target, error).type();
  if (kind == fs::file_type::not_found ||
      (fs::is_directory(target, error) && fs::is_empty(target, error))) {
    return;
  }
  if (!force) {
    fail<UserError>(
        target.string() + " exists already",
        "Nothing is overwritten unasked",
        "Choose another name, or add --force to replace it");
  }
  if (!fs::is_regular_file(target / "config.json", error)) {
    fail<UserError>(
        target.string() + " isn't replaced",
        "It is no model: it has no config.json",
        "Choose another name, or remove it yourself");
  }
}

void require_apart(const fs::path& source, const fs::path& target) {
  std::error_code error;
  const fs::path replaced = fs::canonical(target, error);
  if (error) {
    return;  // it isn't there yet
  }
  for (fs::path at = fs::canonical(source, error); !error;
       at = at.parent_path()) {
    if (at == replaced) {
      fail<UserError>(
          target.string() + " isn't replaced",
          "It is what is read, and would be lost",
          "Choose another name");
    }
    if (at == at.parent_path()) {
      return;
    }
  }
}

CheckpointWriter::CheckpointWriter(const fs::path& target, SaveOptions options)
    : options_(options), folder_([&] {
        require_replaceable(target, options.force);
        return target;
      }()) {}

CheckpointWriter::~CheckpointWriter() = default;

std::string CheckpointWriter::label_of(const std::string& name) const {
  return (folder_.target() / name).string();
}

void CheckpointWriter::plan(
    const std::vector<PlannedTensor>& tensors,
    std::optional<std::int64_t> parameters) {
  const auto shards = split_into_shards(tensors, options_.shard_bytes);
  auto map = nlohmann::json::object();
  std::uint64_t elements = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(i, shards.size());
    for (const PlannedTensor& tensor : shards[i]) {
      if (!shard_of_.emplace(tensor.name, i).second) {
        fail<BugError>(
            "CheckpointWriter: two tensors are named " + tensor.name,
            "",
            "Please report this");
      }
      map[tensor.name] = name;
      tensor_bytes_ += tensor.bytes();
      elements += elements_of(tensor);
    }
    shards_.push_back(std::make_unique<Shard>(
        folder_.path() / name,
        label_of(name),
        shards[i]));
  }
  const nlohmann::ordered_json index = {
      {"metadata",
       {{"total_size", tensor_bytes_},
        {"total_parameters",
         parameters.value_or(static_cast<std::int64_t>(elements))}}},
      {"weight_map", map}};
  write_text("model.safetensors.index.json", index.dump(4));
}

void CheckpointWriter::put(
    std::string_view name,
    std::span<const std::byte> bytes,
    std::size_t offset) {
  const auto found = shard_of_.find(name);
  if (found == shard_of_.end()) {
    fail<BugError>(
        fmt::format("CheckpointWriter: {} isn't planned", name),
        "",
        "Please report this");
  }
  shards_[found->second]->writer.put(name, bytes, offset);
}

void CheckpointWriter::write_text(
    const std::string& name,
    std::string_view text) {
  const std::string label = label_of(name);
  const OutputFile file(folder_.path() / name, label);
  write_at(
      file.fd(),
      0,
      std::as_bytes(std::span(text.data(), text.size())),
      label);
  sync_or_fail(file.fd(), label);
}

void CheckpointWriter::copy_file(const fs::path& source) {
  std::error_code error;
  if (fs::file_size(source, error) == 0) {
    write_text(source.filename().string(), "");
    return;
  }
  const MappedFile file(source);
  const auto bytes = file.bytes();
  write_text(
      source.filename().string(),
      {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void CheckpointWriter::publish() {
  for (const auto& shard : shards_) {
    shard->writer.finish();
  }
  shards_.clear();
  folder_.publish();
}

}  // namespace roofline
